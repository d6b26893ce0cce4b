"""The steps about Docker: user namespaces, TLS, the daemon, modes of files."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256

from bootwright.core.board_names import STATE, UNITS
from bootwright.core.file_changes import Change, FileChange, text_file
from bootwright.hosts.dockerd_options import without_key
from bootwright.hosts.engine import Engine
from bootwright.hosts.file_modes import PathMode
from bootwright.hosts.profile import FileMode, Profile, version_key
from bootwright.provision.actions import (
    Action,
    AddSystemUser,
    Check,
    EnableUnit,
    ReloadDocker,
    ReloadSystemd,
    RestartDocker,
    StartDocker,
)
from bootwright.provision.audit_steps import AUDIT_RULES
from bootwright.provision.daemon_json import (
    CA_FILE,
    CERT_FILE,
    DAEMON_JSON,
    KEY_FILE,
    SECCOMP_PROFILE,
    DaemonJson,
    needs_restart,
)
from bootwright.provision.desired_state import DesiredState
from bootwright.provision.facts import HostFacts
from bootwright.provision.steps import ModeFix, Step, differing, kept_mode
from bootwright.provision.subids import REMAP_USER, SUBGID, SUBUID, with_range

OUR_KEYS = f"{STATE}/daemon-keys"
"""The keys of daemon.json that Bootwright set, one on a line; all others are the operator's."""

SERVICE_DROP_IN = f"{UNITS}/docker.service.d/60-bootwright.conf"

VALIDATES = (23, 0)
"""The first version of the engine whose ``dockerd`` can check a configuration only."""

DEFAULTS = "/etc/default/docker"
"""Where Debian's unit has the variable DOCKER_OPTS from: flags of the daemon."""

FILES = (
    *(SUBUID, SUBGID, DAEMON_JSON, OUR_KEYS, SERVICE_DROP_IN, AUDIT_RULES),
    *(SECCOMP_PROFILE, CA_FILE, CERT_FILE, DEFAULTS),
)
"""Files whose content these steps read; the script that collects facts reports them."""


def userns_step(daemon: DaemonJson, facts: HostFacts) -> Step:
    """Make the account that root of a container is mapped to, with a range of ids."""
    if daemon.values.get("userns-remap") != "default":
        return Step("userns")
    files = facts.files
    wanted = [
        text_file(path, with_range(files.text(path), REMAP_USER), kept_mode(files, path))
        for path in (SUBUID, SUBGID)
    ]
    step = Step("userns", ("2.9",), differing(files, wanted))
    if REMAP_USER in facts.accounts:
        return step
    return Step(
        "userns",
        ("2.9",),
        step.changes,
        actions=(
            AddSystemUser(REMAP_USER),
            # useradd may have written the files anew: our range has to be in them.
            *(Check(("grep", "-q", f"^{REMAP_USER}:", path)) for path in (SUBUID, SUBGID)),
        ),
        says=(
            f"make the account {REMAP_USER}, to which root of a container is mapped",
            "from now on a container cannot open devices of the board (--device) or write to root's"
            " folders (bind mounts); see docs/provision.md, What containers notice",
        ),
    )


def tls_step(desired: DesiredState, facts: HostFacts) -> Step:
    """Write the certificates of the remote API."""
    if desired.tls is None:
        return Step("tls")
    checks = ("2.7", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
    wanted = [
        FileChange(CA_FILE, desired.tls.ca, 0o444),
        FileChange(CERT_FILE, desired.tls.certificate, 0o444),
    ]
    changes: list[Change] = list(differing(facts.files, wanted))
    if facts.digests.get(KEY_FILE) != sha256(desired.tls.key.reveal()).hexdigest():
        changes.append(FileChange(KEY_FILE, desired.tls.key, 0o400))
    says = ("the remote API gets a new certificate",) if changes else ()
    return Step("tls", checks, tuple(changes), says=says)


def engine_version(facts: HostFacts) -> str:
    """Return the version of Docker that is installed; empty if none is."""
    if facts.engine is not None:
        return facts.engine.version
    if facts.proven:
        return facts.proven[-1]
    names = ("docker.io", "docker-ce", "docker")
    package = next((facts.packages[name] for name in names if name in facts.packages), "")
    return package.partition(":")[2] or package


@dataclass(frozen=True)
class SettingDifference:
    """A setting of the running engine that differs from daemon.json."""

    key: str
    wanted: str
    found: str

    def describe(self) -> str:
        """Return it as a line."""
        return f"{self.key} is {self.found}, not {self.wanted}"


def read_back(daemon: DaemonJson, engine: Engine) -> tuple[SettingDifference, ...]:
    """Return the settings of the running engine that differ, of those that it reports."""
    values = daemon.values
    seccomp = str(values.get("seccomp-profile", ""))
    expected: list[tuple[str, object, object]] = [
        ("userns-remap", bool(values.get("userns-remap")), engine.userns),
        ("live-restore", values.get("live-restore") or False, engine.live_restore),
        ("log-driver", values.get("log-driver") or "json-file", engine.log_driver),
        ("seccomp", seccomp != "unconfined", _seccomp_active(engine)),
    ]
    if values.get("storage-driver"):
        expected.append(("storage-driver", values["storage-driver"], engine.storage_driver))
    # Another value than a list is refused later.
    if isinstance(plugins := values.get("authorization-plugins"), list):
        wanted, found = sorted(map(str, plugins)), sorted(engine.authorization)
        expected.append(("authorization-plugins", wanted, found))
    return tuple(
        SettingDifference(key, str(wanted), str(found))
        for key, wanted, found in expected
        if wanted != found
    )


def _seccomp_active(engine: Engine) -> bool:
    return any(
        option.startswith("name=seccomp") and "unconfined" not in option
        for option in engine.security
    )


def service_command(daemon: DaemonJson, vendor: str) -> str:
    """Return the daemon's command line without the addresses that daemon.json names.

    ``dockerd`` refuses an address that both of them name. Empty if the command can stay as it is.
    """
    if "hosts" not in daemon.values:
        return ""
    return " ".join(_remaining_flags(daemon, vendor.split()))


def command_lines(daemon: DaemonJson, facts: HostFacts) -> tuple[tuple[str, ...], ...]:
    """Return the daemon's command lines: that of the one that runs, then that of its next start.

    It is one line unless somebody has changed the unit, or DOCKER_OPTS, since the last start. Both
    are as this step leaves them; one that is not known is left out.
    """
    unit = _remaining_flags(daemon, facts.unit("docker.service").command.split())
    options = _docker_opts(facts.files.text(DEFAULTS))
    starts = [
        part
        for word in unit
        for part in (options if word in ("$DOCKER_OPTS", "${DOCKER_OPTS}") else [word])
    ]
    lines = (_remaining_flags(daemon, facts.engine_flags), tuple(starts))
    return tuple(dict.fromkeys(line for line in lines if line))


def _remaining_flags(daemon: DaemonJson, words: Sequence[str]) -> tuple[str, ...]:
    return without_key(words, "hosts") if "hosts" in daemon.values else tuple(words)


def _docker_opts(text: str) -> list[str]:
    """Return the words of DOCKER_OPTS in a file that systemd reads: systemd.exec(5)."""
    # A backslash at its end continues a line.
    lines = (line.strip() for line in text.replace("\\\n", "").splitlines())
    values = [line.partition("=")[2] for line in lines if line.startswith("DOCKER_OPTS=")]
    return values[-1].strip().strip("\"'").split() if values else []


def daemon_step(
    desired: DesiredState, facts: HostFacts, daemon: DaemonJson, new_certificate: bool = False
) -> Step:
    """Configure the daemon, and have it run with that configuration.

    Args:
        desired: the target and the profile.
        facts: of the board.
        daemon: the content of daemon.json.
        new_certificate: the remote API gets another one, which the daemon reads only at its start.
    """
    unit = facts.unit("docker.service")
    drop_in = desired.renderer.render(
        "docker/service.conf.j2",
        {
            "command": service_command(daemon, unit.command),
            "audit": AUDIT_RULES if "auditctl" in facts.tools else "",
        },
    )
    wanted: list[Change] = [
        text_file(DAEMON_JSON, daemon.text, kept_mode(facts.files, DAEMON_JSON)),
        text_file(OUR_KEYS, "".join(f"{key}\n" for key in daemon.ours)),
        text_file(SERVICE_DROP_IN, drop_in),
    ]
    if desired.seccomp is not None:
        wanted.append(text_file(SECCOMP_PROFILE, desired.seccomp))
    changes = differing(facts.files, wanted)
    paths = {change.path for change in changes}
    actions: list[Action] = []
    says = []
    if SERVICE_DROP_IN in paths or unit.need_reload:
        actions.append(ReloadSystemd())
    if unit.enabled != "enabled":
        actions.append(EnableUnit("docker.service"))
        says.append("start Docker at every boot")
    if new_certificate:
        paths.add(CERT_FILE)
    action, why = _daemon_action(desired.profile, facts, daemon, paths)
    if DAEMON_JSON in paths and version_key(engine_version(facts)) >= VALIDATES:
        actions.append(Check(("dockerd", "--validate", f"--config-file={DAEMON_JSON}")))
    if action is not None:
        actions.append(action)
        says.append(why)
    return Step("daemon", daemon.checks, changes, actions=tuple(actions), says=tuple(says))


def _daemon_action(
    profile: Profile, facts: HostFacts, daemon: DaemonJson, paths: set[str]
) -> tuple[Action | None, str]:
    """Return what has to be done to the daemon, and why; ``None`` if nothing.

    Args:
        profile: says which keys of daemon.json take a restart.
        facts: of the board.
        daemon: what daemon.json is to hold.
        paths: files of the daemon that become different.
    """
    if not facts.engine_runs:
        return StartDocker(), "start the daemon"
    differences = read_back(daemon, facts.engine) if facts.engine is not None else ()
    if paths & {SERVICE_DROP_IN, SECCOMP_PROFILE, CERT_FILE}:
        return RestartDocker(), "restart the daemon; containers go on running"
    if DAEMON_JSON in paths:
        if needs_restart(profile, daemon):
            return RestartDocker(), "restart the daemon; containers go on running"
        return ReloadDocker(), "have the daemon read its configuration again"
    if facts.unread:
        why = "restart the daemon, which has not read daemon.json since it was changed"
        return RestartDocker(), why
    if differences:
        why = f"restart the daemon: {'; '.join(item.describe() for item in differences)}"
        return RestartDocker(), why
    return None, ""


def modes_step(profile: Profile, facts: HostFacts) -> Step:
    """Owners and permissions of Docker's files."""
    fixes: dict[str, ModeFix] = {}
    checks: list[str] = []
    for wanted in profile.files.file:
        found = [
            mode
            for mode in facts.modes.values()
            if any(fnmatchcase(mode.path, pattern) for pattern in wanted.paths)
            # chmod follows a link, and a masked unit is a link to /dev/null.
            and mode.kind != "symbolic link"
        ]
        if found:
            checks += wanted.checks
        fixes |= {mode.path: fix for mode in found if (fix := _fix(wanted, mode)) is not None}
    return Step(
        "modes",
        tuple(dict.fromkeys(checks)),
        fixes=tuple(fixes.values()),
        says=tuple(fix.describe() for fix in fixes.values()),
    )


def _fix(wanted: FileMode, found: PathMode) -> ModeFix | None:
    mode = wanted.bits if wanted.exact else found.mode & wanted.bits
    if found.mode == mode and found.owner == wanted.owner:
        return None
    return ModeFix(found, mode, wanted.owner)
