"""A board as a Docker host: what :mod:`bootwright.provision.facts_script` reports, parsed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bootwright.core.errors import FailedError
from bootwright.core.parsing import PARSE_ERRORS
from bootwright.core.tools import Family
from bootwright.hosts.audit_rules import WatchedPath, parse_audit_rules
from bootwright.hosts.board_files import BoardFiles, parse_board_files
from bootwright.hosts.engine import Engine, parse_engine
from bootwright.hosts.file_modes import PathMode, parse_mode
from bootwright.hosts.systemd_units import HostUnit, parse_units
from bootwright.provision.daemon_json import DAEMON_JSON
from bootwright.provision.facts_script import PID_FILE, SSHD_PID_FILE
from bootwright.provision.unread import (
    changed_since_read,
    parse_times,
    since_change,
    since_start,
)
from bootwright.remote.sections import Section


@dataclass(frozen=True)
class Mounted:
    """A mount: its options, and the device-mapper UUID of its device, if it has one."""

    options: tuple[str, ...]
    dm_uuid: str | None

    @property
    def encrypted(self) -> bool:
        """Whether its device is an open LUKS volume."""
        return self.dm_uuid is not None and self.dm_uuid.startswith("CRYPT-")


@dataclass(frozen=True)
class HostFacts:
    """What a board reports of itself as a Docker host.

    Attributes:
        hostname: the kernel's host name.
        kernel: the release of the running kernel.
        boot_id: the kernel's random id of this boot.
        os_name: the distribution's name.
        family: how it installs software; ``None`` if neither by apt nor by pacman.
        modules: kernel releases whose modules are installed.
        default_kernel: the release that Debian's boot loader starts; ``None`` if not known.
        kernel_options: ``y`` or ``m`` by option; ``None`` if they could not be read.
        max_user_namespaces: the limit; ``None`` if the kernel has no user namespaces.
        mounts: by mount point: the root and Docker's folders.
        tools: which of the programs that provisioning uses are installed.
        packages: installed packages with their versions, of those in question.
        units: by name.
        failed_units: names of the units that failed since the start.
        accounts: user ids by name, of /etc/passwd.
        groups: group ids by name, of /etc/group.
        docker_group: the members of the group ``docker``; ``None`` without it.
        plugins: files by which the engine finds plugins.
        modes: kind, owner and mode by path.
        files: the content of files, of those in question.
        digests: SHA-256 by path of files whose content is secret.
        audit: the watches that the kernel has; ``None`` if they could not be read.
        audit_error: what auditctl wrote then.
        audit_impossible: why the kernel cannot watch files, as far as the board reports it; empty
            if it can, or if that is not known.
        audit_recording: the kernel records what its rules watch; ``None`` if that is not known.
        audit_receiver: the program that the kernel gives its records to; empty if there is none,
            ``None`` if that is not known.
        same_folders: folders that are links, such as ``/lib``, and what they are links to.
        health_checks_s: seconds between two health checks, for each container that has them.
        audit_space_kib: KiB that are free where auditd writes, or used by its files; ``None`` if
            that is not known.
        audit_locked: the kernel takes no other rules until the next start (``-e 2``).
        sshd: the effective settings by directive; ``None`` if they could not be read.
        sshd_error: what ``sshd -T`` wrote then.
        sshd_matches: the Match lines of its configuration: for some connections, other settings
            apply.
        sshd_unread: its configuration was changed since the sshd that runs has read it.
        engine: the running engine; ``None`` if none answers.
        engine_error: what ``docker info`` wrote then.
        engine_runs: the daemon's process exists.
        iptables: which tables of the kernel iptables works with: ``nf_tables`` or ``legacy``;
            empty if that is not known.
        iptables_error: what iptables wrote if it does not work; asked only if no daemon runs.
        iptables_legacy: iptables-legacy works then.
        missing_modules: modules of the packet filter that the running kernel does not have;
            ``None`` if that is not known. It is asked only if iptables is not installed.
        proven: versions of client and server of the running daemon, if it was proven to do what
            daemon.json says and neither has changed since; the engine is not asked again then.
        proven_warnings: what the engine warned of when it was proven.
        stored_containers: folders of containers, where no daemon runs to list them.
        engine_flags: the daemon's command line.
        unread: daemon.json was changed since the running daemon has read it.
        relay_queued: log records that wait on the board to be delivered.
        relay_dropped: log records lost since the relay was started, because its queue was full.
        upgraded: the day when packages were last brought up to date, and the lists of packages
            that could not be fetched then.
        packages_begun: work on packages was begun, by Bootwright, and did not end well.
        rebooted_for: the kernel for which the board was restarted last.
        transaction: a change was begun and neither confirmed nor put back.
        clock: the board's time in seconds since 1970; ``None`` if it is not known.
    """

    hostname: str
    kernel: str
    boot_id: str
    os_name: str
    family: Family | None
    modules: tuple[str, ...]
    default_kernel: str | None
    kernel_options: Mapping[str, str] | None
    max_user_namespaces: int | None
    mounts: Mapping[str, Mounted]
    tools: frozenset[str]
    packages: Mapping[str, str]
    units: Mapping[str, HostUnit]
    failed_units: tuple[str, ...]
    accounts: Mapping[str, int]
    groups: Mapping[str, int]
    docker_group: tuple[str, ...] | None
    plugins: tuple[str, ...]
    modes: Mapping[str, PathMode]
    files: BoardFiles
    digests: Mapping[str, str]
    audit: tuple[WatchedPath, ...] | None
    audit_error: str
    audit_impossible: str
    audit_recording: bool | None
    audit_receiver: str | None
    same_folders: Mapping[str, str]
    health_checks_s: tuple[float, ...]
    audit_space_kib: int | None
    audit_locked: bool
    sshd: Mapping[str, str] | None
    sshd_error: str
    sshd_matches: tuple[str, ...]
    sshd_unread: bool
    engine: Engine | None
    engine_error: str
    engine_runs: bool
    iptables: str
    iptables_error: str
    iptables_legacy: bool
    missing_modules: frozenset[str] | None
    proven: tuple[str, ...]
    proven_warnings: tuple[str, ...]
    stored_containers: tuple[str, ...]
    engine_flags: tuple[str, ...]
    unread: bool
    relay_queued: int
    relay_dropped: int
    upgraded: str
    packages_begun: bool
    rebooted_for: str
    transaction: bool
    clock: int | None

    @property
    def engine_warnings(self) -> tuple[str, ...]:
        """What the engine warns of, or warned of when it was proven."""
        return self.engine.warnings if self.engine is not None else self.proven_warnings

    def unit(self, name: str) -> HostUnit:
        """Return a unit's state."""
        return self.units.get(name, HostUnit())

    def exists(self, path: str) -> bool:
        """Return whether a path exists, of those in question."""
        return path in self.modes or path in self.files.files or path in self.files.links


def host_facts(sections: Sequence[Section]) -> HostFacts:
    """Return the facts in ``sections``; sections with other names are ignored.

    Raises:
        FailedError: they cannot be parsed.
    """
    by_name = {section.name: section for section in sections}

    def get(name: str) -> Section:
        return by_name.get(name, Section(name, ()))

    facts = _Facts(get("host").lines)
    if not facts.one("kernel"):
        raise FailedError("the board's answer lacks its kernel: is /proc mounted there?")
    try:
        group = facts.one("docker-group")
        recording = _recording(get("audit").lines)
        units = parse_units(get("units").lines)
        clock = int(get("clock").line(0)) if get("clock").line(0).isdecimal() else None
        times = parse_times(get("file-times").lines)
        return HostFacts(
            hostname=facts.one("hostname"),
            kernel=facts.one("kernel"),
            boot_id=facts.one("boot"),
            os_name=facts.one("os-PRETTY_NAME") or facts.one("os-ID"),
            family=_family(facts),
            modules=tuple(name for name in facts.all("modules") if name != "*"),
            default_kernel=facts.one("default-kernel") or None,
            kernel_options=_options(get("kernel-config").lines)
            if "kernel-config" in by_name
            else None,
            max_user_namespaces=int(get("userns").line(0) or 0)
            if facts.one("has-userns")
            else None,
            mounts=dict(_mount(line) for line in facts.all("mount")),
            tools=frozenset(facts.all("tool")),
            packages=dict(_packages(get("packages").lines)),
            units=units,
            failed_units=tuple(line.split()[0] for line in get("failed").lines if line.strip()),
            accounts=_ids(facts.all("account")),
            groups=_ids(facts.all("group")),
            docker_group=_members(group) if group else None,
            plugins=facts.all("plugin"),
            modes={mode.path: mode for mode in map(parse_mode, get("modes").lines)},
            files=parse_board_files(get("files").text),
            digests=dict(_digest(line) for line in get("digests").lines),
            audit=parse_audit_rules(get("audit").lines) if recording is not None else None,
            audit_error=get("audit-error").text.strip(),
            audit_impossible=_audit_impossible(facts, get("no-audit-watch")),
            audit_recording=recording,
            audit_receiver=_receiver(get("audit").lines, get("audit-receiver").line(0)),
            same_folders=dict(map(str.split, facts.all("same"))),
            health_checks_s=_health_checks(get("health-checks").lines),
            audit_space_kib=_audit_space(get("audit-space").lines),
            audit_locked="enabled 2" in get("audit").lines,
            sshd=_directives(get("sshd").lines) if "sshd" in by_name else None,
            sshd_error=get("sshd-error").text.strip(),
            sshd_matches=tuple(line.strip() for line in get("sshd-matches").lines),
            sshd_unread=not get("sshd-read").lines and _sshd_unread(facts, units, clock, times),
            engine=parse_engine(get("engine").text),
            engine_error=get("engine-error").text.strip(),
            engine_runs=bool(facts.one("engine-runs")),
            iptables=facts.one("iptables"),
            iptables_error=get("iptables-error").text.strip(),
            iptables_legacy="iptables-legacy" in by_name,
            missing_modules=frozenset(get("missing-modules").lines[1:])
            if "missing-modules" in by_name
            else None,
            proven=tuple(facts.one("proven").split()[1:]),
            proven_warnings=facts.all("proven-warning"),
            stored_containers=facts.all("stored-container"),
            engine_flags=tuple(line for line in get("flags").lines if line),
            unread=bool(facts.one("unread")) and _daemon_unread(facts, units, clock, times),
            relay_queued=_relay(get("relay").lines, "queued"),
            relay_dropped=_relay(get("relay").lines, "dropped"),
            upgraded=facts.one("upgraded"),
            packages_begun=bool(facts.one("packages-begun")),
            rebooted_for=facts.one("rebooted-for"),
            transaction=bool(facts.one("transaction")),
            clock=clock,
        )
    except PARSE_ERRORS as error:
        raise FailedError(f"the board's answer cannot be understood: {error}") from None


class _Facts:
    """Facts of one line each, a name and a value; a name may occur more than once."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._values: dict[str, list[str]] = {}
        for line in lines:
            name, _, value = line.partition(" ")
            self._values.setdefault(name, []).append(value)

    def one(self, name: str) -> str:
        return self._values.get(name, [""])[0]

    def all(self, name: str) -> tuple[str, ...]:
        return tuple(self._values.get(name, ()))


def _family(facts: _Facts) -> Family | None:
    named = {facts.one("os-ID"), *facts.one("os-ID_LIKE").split()}
    tools = facts.all("tool")
    if named & {"arch", "archarm"} and "pacman" in tools:
        return "arch"
    if named & {"debian", "ubuntu"} and "apt-get" in tools:
        return "debian"
    return None


def _options(lines: Iterable[str]) -> dict[str, str]:
    pairs = (line.removeprefix("CONFIG_").partition("=") for line in lines)
    return {name: value for name, _, value in pairs if value in ("y", "m")}


def _mount(line: str) -> tuple[str, Mounted]:
    place, options, uuid = line.split()
    return place, Mounted(tuple(options.split(",")), None if uuid == "none" else uuid)


def _packages(lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    for line in lines:
        words = line.split()
        # Installed without trouble, wanted or on hold: "ii", "hi".
        if len(words) == 3 and words[0][1:] == "i":
            yield words[1], words[2]
        elif len(words) == 2:
            yield words[0], words[1]


def _ids(lines: Iterable[str]) -> dict[str, int]:
    return {name: int(number) for name, _, number in (line.rpartition(" ") for line in lines)}


def _members(group: str) -> tuple[str, ...]:
    _, _, members = group.partition(" ")
    return tuple(name for name in members.split(",") if name)


def _digest(line: str) -> tuple[str, str]:
    digest, path = line.split(maxsplit=1)
    return path.lstrip("*"), digest


def _relay(lines: Iterable[str], figure: str) -> int:
    """Return a figure of the relay's destination: ``dst.http;ID;INSTANCE;STATE;FIGURE;NUMBER``."""
    rows = (line.split(";") for line in lines)
    return sum(
        int(row[-1])
        for row in rows
        if len(row) == 6 and row[1].startswith("collector#") and row[4] == figure
    )


def _recording(lines: Iterable[str]) -> bool | None:
    """Return whether the kernel records, of the output of ``auditctl -s``; 2 is locked."""
    values = [words[1] for words in map(str.split, lines) if words[:1] == ["enabled"]]
    return values[0] != "0" if values else None


def _receiver(lines: Iterable[str], name: str) -> str | None:
    """Return the name of the process whose id ``auditctl -s`` printed."""
    pids = [words[1] for words in map(str.split, lines) if words[:1] == ["pid"]]
    if not pids:
        return None
    return "" if pids[0] == "0" else name or None


def _audit_impossible(facts: _Facts, no_watch: Section) -> str:
    if word := facts.one("audit-off"):
        return f"{word} is on its command line"
    return "it is built without CONFIG_AUDITSYSCALL" if no_watch.lines else ""


def _health_checks(lines: Iterable[str]) -> tuple[float, ...]:
    """Return seconds between two checks, of lines that begin a health check or give its interval.

    The interval is in nanoseconds; without one it is 30 s (``defaultProbeInterval`` of moby). One
    that is switched off (``NONE``) may have an interval all the same, of its image.
    """
    found: list[float] = []
    off = True
    for line in lines:
        _, interval, value = line.partition('"Interval":')
        if not interval:
            off = line.endswith("NONE")
            found += [] if off else [30.0]
        elif not off and value.isdecimal() and int(value):
            found[-1] = int(value) / 1e9
    return tuple(found)


def _audit_space(lines: Sequence[str]) -> int | None:
    """Return KiB: what is free, of the last line of ``df -P``, and then what ``du -s`` counts.

    The name of a file system may have blanks in it; one that does not know its free space has "-".
    """
    columns = lines[1].split() if len(lines) >= 3 else []
    used = lines[2].split()[:1] if columns else []
    if len(columns) < 6 or not columns[-3].isdecimal() or not used or not used[0].isdecimal():
        return None
    return int(columns[-3]) + int(used[0])


def _sshd_unread(
    facts: _Facts, units: Mapping[str, HostUnit], clock: int | None, times: Mapping[str, int]
) -> bool:
    """Return whether a file of sshd was changed since it has read them, as far as times tell."""
    since = since_change(units, ("ssh.service", "sshd.service"), facts.one("uptime"))
    if clock is None or since is None:
        return False
    changed = [time for path, time in times.items() if path.startswith("/etc/ssh/")]
    return changed_since_read(changed, times.get(SSHD_PID_FILE), since, clock)


def _daemon_unread(
    facts: _Facts, units: Mapping[str, HostUnit], clock: int | None, times: Mapping[str, int]
) -> bool:
    """Return whether a daemon.json that is newer than the daemon was changed while that ran.

    On a board that started in the past and has the right time now, every daemon.json is newer. A
    reload does not count: the daemon reads only some keys then, and keeps its pid file. One by us
    has its own mark.
    """
    since = since_start(units, ("docker.service",), facts.one("uptime"))
    if clock is None or since is None or not {DAEMON_JSON, PID_FILE} <= times.keys():
        return True
    return changed_since_read([times[DAEMON_JSON]], times[PID_FILE], since, clock)


def _directives(lines: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(" ")
        found.setdefault(name.lower(), value.strip())
    return found
