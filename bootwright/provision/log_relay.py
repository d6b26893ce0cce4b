"""The relay of logs on a board: syslog-ng with a queue on the encrypted volume.

Containers log to a socket that systemd opens, so that they start even if the relay or the
collector does not run. The relay reads the socket, keeps records in a queue of bounded size and
delivers them. It never stops reading to wait for the network: a full queue loses records,
containers go on running, and the records' numbers show how many are lost.

Sources: syslog-ng's ``lib/rcptid.c`` (numbers), ``modules/diskq``, ``modules/http``,
``modules/afsocket/systemd-syslog-source.c`` (the socket of systemd); moby's
``daemon/logger/syslog``; systemd.socket(5).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from bootwright.core.board_names import MOUNT, STATE, UNITS
from bootwright.core.config import Target
from bootwright.core.errors import InputError, RefusedError
from bootwright.core.file_changes import Change, FileChange, Removal, SymlinkChange, text_file
from bootwright.core.shell import render_program
from bootwright.core.units import MIB, format_size, parse_size
from bootwright.logs.delivery import TAG
from bootwright.logs.relay_names import SERVICE, SOCKET
from bootwright.provision.actions import Action, Check, Command, ReloadSystemd
from bootwright.provision.daemon_json import DAEMON_JSON
from bootwright.provision.desired_state import DesiredState
from bootwright.provision.facts import HostFacts
from bootwright.provision.steps import Step, differing

QUEUE = f"{MOUNT}/logs"
"""Folder of the records that wait to be delivered."""

# As systemd-escape(1) writes the path of MOUNT.
MOUNT_UNIT = MOUNT.strip("/").replace("-", r"\x2d").replace("/", "-") + ".mount"

RELAY_STATE = f"{STATE}/logs"
"""Where the relay keeps its position and its count of lost records, but no record. Not on the
volume, since the relay has to start when the volume is full."""

CONTROL = f"{RELAY_STATE}/control"

FIGURES_S = 60
"""Seconds between two reports of the relay about the records that it lost, if it lost any."""

SOCKET_UNIT = "bootwright-logs.socket"

LAST_WORDS = "bootwright-containers.service"
"""Has Docker end its containers when the board goes down: see ``shell/end_containers.sh``."""

_FOLDER = "/etc/bootwright/logs"
CONFIG = f"{_FOLDER}/syslog-ng.conf"
DRAIN, LAST_WORDS_SCRIPT = f"{_FOLDER}/drain", f"{_FOLDER}/last-words"
CA_FILE, CERT_FILE, KEY_FILE = f"{_FOLDER}/ca.pem", f"{_FOLDER}/cert.pem", f"{_FOLDER}/key.pem"
_DROP_IN = f"{UNITS}/docker.service.d/70-bootwright-logs.conf"

_TEMPLATES = {
    CONFIG: "logs/relay.conf.j2",
    f"{UNITS}/{SERVICE}": "logs/relay.service.j2",
    f"{UNITS}/{SOCKET_UNIT}": "logs/relay.socket.j2",
    f"{UNITS}/{LAST_WORDS}": "logs/containers.service.j2",
    _DROP_IN: "logs/docker.conf.j2",
}

LINKS = {
    f"{UNITS}/multi-user.target.wants/{SERVICE}": f"{UNITS}/{SERVICE}",
    f"{UNITS}/sockets.target.wants/{SOCKET_UNIT}": f"{UNITS}/{SOCKET_UNIT}",
    f"{UNITS}/multi-user.target.wants/{LAST_WORDS}": f"{UNITS}/{LAST_WORDS}",
}
"""By which the units are started at boot: what ``systemctl enable`` would make."""

FILES = (*_TEMPLATES, DRAIN, LAST_WORDS_SCRIPT, CA_FILE, CERT_FILE, *LINKS)
"""Files whose content this step compares; the script that collects facts reports them."""


def daemon_keys(target: Target) -> dict[str, Any]:
    """Return the keys of daemon.json by which containers log to the relay.

    None where the target names a log driver of its own.
    """
    if target.logs.server is None or "log-driver" in target.docker.daemon:
        return {}
    return {
        "log-driver": "syslog",
        "log-opts": {
            "syslog-address": f"unixgram://{SOCKET}",
            "syslog-format": "rfc5424micro",
            "tag": TAG,
            # What docker logs reads, on the volume: enough to look back.
            "cache-max-size": "10m",
            "cache-max-file": "2",
        },
    }


def relay_values(target: Target) -> dict[str, object]:
    """Return the values for the relay's templates.

    Raises:
        InputError: the queue is too small.
    """
    logs = target.logs
    queue = parse_size(logs.queue)
    if queue < _LEAST:
        raise InputError(f"targets.{target.name}.logs: queue: at least {format_size(_LEAST)}")
    return {
        "target": target,
        "logs": logs,
        "queue": QUEUE,
        "state": RELAY_STATE,
        "queues": {"collector": queue, "collector_system": _SYSTEM_QUEUE},
        "figures_s": FIGURES_S,
        "control": CONTROL,
        "socket": SOCKET,
        "mount": MOUNT,
        "mount_unit": MOUNT_UNIT,
        "config": CONFIG,
        "drain": DRAIN,
        "last_words": LAST_WORDS_SCRIPT,
        "service": SERVICE,
        "socket_unit": SOCKET_UNIT,
        "ca": CA_FILE,
        "certificate": CERT_FILE,
        "key": KEY_FILE,
    }


def drain_script(
    socket: str = SOCKET, control: str = CONTROL, state_folder: str = RELAY_STATE
) -> str:
    """Return the program that runs when the relay is to end; see ``shell/relay_drain.sh``."""
    return render_program(
        "provision/shell/relay_drain.sh",
        socket=socket,
        control=control,
        state_folder=state_folder,
    )


def end_containers_script() -> str:
    """Return the program that runs when the board shuts down, before Docker ends."""
    return render_program(
        "hosts/shell/root_docker.sh",
        "provision/shell/end_containers.sh",
        daemon_json=DAEMON_JSON,
        copy="/run/bootwright-daemon.json",
    )


RIVAL = "rsyslog"
"""Debian lets only one syslog daemon be installed."""


def check_rival(desired: DesiredState, facts: HostFacts) -> None:
    """Raise if the board has a syslog daemon beside which the relay cannot be installed.

    Raises:
        RefusedError: it has one.
    """
    if desired.logs and RIVAL in facts.packages and "syslog-ng-core" not in facts.packages:
        raise RefusedError(
            f"the board has {RIVAL}, and Debian does not allow syslog-ng, the relay of logs, beside"
            f" it: remove it there first (apt-get remove {RIVAL}); what it wrote to files is then"
            " shipped to the collector"
        )


def logs_step(desired: DesiredState, facts: HostFacts) -> Step:
    """Set up the relay, or remove it where the target no longer names a server."""
    if desired.logs is None:
        return _without(facts)
    logs = desired.target.logs
    values = relay_values(desired.target)
    wanted: list[Change] = [
        text_file(path, desired.renderer.render(template, values))
        for path, template in _TEMPLATES.items()
    ]
    wanted += [
        text_file(DRAIN, drain_script()),
        text_file(LAST_WORDS_SCRIPT, end_containers_script()),
        FileChange(CA_FILE, desired.logs.ca, 0o444),
        FileChange(CERT_FILE, desired.logs.certificate, 0o444),
        *(SymlinkChange(path, target) for path, target in LINKS.items()),
    ]
    changes = [*differing(facts.files, wanted)]
    if facts.digests.get(KEY_FILE) != sha256(desired.logs.key.reveal()).hexdigest():
        changes.append(FileChange(KEY_FILE, desired.logs.key, 0o400))
    paths = {change.path for change in changes}
    actions: list[Action] = []
    if CONFIG in paths:
        options = ("--syntax-only", "--no-caps", f"--cfgfile={CONFIG}")
        actions.append(Check(("/usr/sbin/syslog-ng", *options)))
    if any(path.startswith(UNITS) for path in paths):
        actions.append(ReloadSystemd())
    start = tuple(unit for unit in (SOCKET_UNIT, LAST_WORDS) if facts.unit(unit).active != "active")
    relay_files = {CONFIG, CA_FILE, CERT_FILE, KEY_FILE, f"{UNITS}/{SERVICE}"}
    restart = bool(paths & relay_files) or facts.unit(SERVICE).active != "active"
    if start or restart:
        actions.append(StartRelay(start, restart))
    says = [f"ship logs to {logs.server}:{logs.server_port} ({logs.transport})"]
    if CONFIG not in facts.files.files:
        says.append(
            "from now on a container with log options of another driver, such as max-size in a"
            " compose file, does not start; see docs/provision.md, What containers notice"
        )
    return Step(
        "logs",
        ("2.13",),
        tuple(changes),
        actions=tuple(actions),
        says=tuple(says) if restart else (),
    )


_ALL_UNITS = (SERVICE, SOCKET_UNIT, LAST_WORDS)


@dataclass(frozen=True)
class RelayAction(Action):
    """Something done to the units of the relay; its undo is the same whatever it was."""

    @property
    def undo(self) -> tuple[Command, ...]:
        """Have the units run with their former files; those that had no file stay stopped."""
        return (("attempt_unless_boot", "put_relay_back", f"{UNITS}/{SERVICE}", *_ALL_UNITS),)


@dataclass(frozen=True)
class StartRelay(RelayAction):
    """Have the relay run.

    Attributes:
        start: units beside the relay's service that do not run.
        restart: start the service, or have it run with its new files.
    """

    start: tuple[str, ...]
    restart: bool

    @property
    def command(self) -> Command:
        """Start the units."""
        return "start_relay", SERVICE if self.restart else "", *self.start


@dataclass(frozen=True)
class StopRelay(RelayAction):
    """Stop the relay, whose files are removed."""

    @property
    def command(self) -> Command:
        """Stop all of its units."""
        return "systemctl", "stop", *_ALL_UNITS


_SYSTEM_QUEUE = 16 * MIB
"""Bytes of the queue for records of the board's system, which the board keeps in files as well."""

_LEAST = MIB
"""Bytes of the smallest queue that syslog-ng makes."""


def _without(facts: HostFacts) -> Step:
    present = [path for path in FILES if path in facts.files.files or path in facts.files.links]
    if facts.digests.get(KEY_FILE):
        present.append(KEY_FILE)
    if not present:
        return Step("logs")
    return Step(
        "logs",
        changes=tuple(Removal(path) for path in present),
        actions=(StopRelay(), ReloadSystemd()),
        says=(
            f"ship logs no more; what was not delivered stays in {QUEUE}",
            *(
                ("create anew the containers that were created meanwhile: they log to the relay",)
                if facts.engine is not None and facts.engine.containers
                else ()
            ),
        ),
    )


def relay_warnings(relayed: Mapping[str, Any], facts: HostFacts) -> list[str]:
    """Return what an operator should do something about.

    Args:
        relayed: the keys that :func:`daemon_keys` returns.
        facts: of the board.
    """
    warnings = []
    engine, driver = facts.engine, relayed.get("log-driver")
    if engine is not None and engine.containers and driver and engine.log_driver != driver:
        warnings.append(
            f"{engine.containers} containers keep the log driver that they were created with"
            f" ({engine.log_driver}): create them anew, and their logs are shipped too"
        )
    if facts.relay_dropped:
        warnings.append(
            f"{facts.relay_dropped} log records were lost since the board's relay was started: its"
            " queue was full; see logs.queue"
        )
    if facts.relay_queued > _WAITING:
        warnings.append(
            f"{facts.relay_queued} log records wait on the board for the collector: does inv logs"
            " serve run, and can the board reach it?"
        )
    return warnings


_WAITING = 2_000
"""Records in the queue that are more than a busy moment: four deliveries of 500."""
