"""What an audit knows of a board: :mod:`bootwright.audit.facts_script`'s report, parsed.

A board may be hostile: whatever it says is bounded in size, and no text of its acts on a
terminal. What it does not say, or says in another form, is ``None`` here with the reason in
``troubles``; it never counts as a good answer.
"""

import base64
import json
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from bootwright.audit.facts_script import MOST
from bootwright.audit.inspected import (
    Beside,
    Container,
    Image,
    Network,
    parse_container,
    parse_image,
    parse_network,
)
from bootwright.core.errors import FailedError
from bootwright.core.parsing import PARSE_ERRORS
from bootwright.core.text import sanitize_line
from bootwright.hosts.audit_rules import WatchedPath, parse_audit_rules
from bootwright.hosts.file_modes import PathMode, parse_mode
from bootwright.hosts.systemd_units import HostUnit, parse_units
from bootwright.remote.sections import Section, parse_sections

_NEVER = re.compile(r"-[aA] (?:\w+,)?never\b")
"""Matches a rule by which something is not recorded; auditctl(8)."""

MOST_ROWS = 5000
"""Containers, or images, of one board: ten times what was ever seen on one."""

ALWAYS = ("host", "modes", "sshd-containers", "tls", "units")
"""Sections of every answer; without one of them nothing can be said for sure."""

T = TypeVar("T")


@dataclass(frozen=True)
class AuditFacts:
    """What a board says of itself.

    Attributes:
        hostname: its name for itself.
        os: the distribution.
        kernel: the release that runs.
        arch: of the machine.
        tools: programs that are there, of those that matter.
        mounts: by mount point, the device (``MAJOR:MINOR``) of what is mounted.
        docker_group: the members of the group ``docker``, and of the one that the socket belongs
            to; ``None`` without either.
        units: by name.
        audit: the watches that are loaded; ``None`` where that cannot be told.
        audit_on: the kernel records what rules are for.
        audit_never: loaded rules that keep others from recording.
        audit_pid: auditd's process, which keeps what is recorded; 0 without one.
        modes: owner and mode by path, of what exists and was asked for.
        acls: those of them that have an ACL beside their mode.
        tls: likewise of the daemon's certificates, by the key of daemon.json (``tlskey`` …).
        engine_owner: the user id of the daemon that runs; ``None`` if none does.
        daemons: how many of root's run outside of containers.
        settings: the path of daemon.json.
        daemon_json: what it says; ``None`` if it is not there, or no JSON (then in ``troubles``).
        flags: the daemon's command line.
        info: ``docker info``; ``None`` if no engine answers.
        containers: all of them; ``None`` if they are not told.
        images: likewise, without a build's steps in between.
        networks: the default bridge, and those of a swarm; ``None`` if they are not told.
        sshd_containers: ids of containers in which an sshd runs.
        listening: local addresses of TCP sockets that listen; ``None`` if not told.
        lsm: the kernel's security modules that are on.
        selinux: SELinux enforces.
        content_trust: the last value of DOCKER_CONTENT_TRUST, empty without one.
        root: the facts were read with root's rights.
        troubles: why a fact is not known, by the fact's name.
    """

    hostname: str
    os: str
    kernel: str
    arch: str
    tools: frozenset[str]
    mounts: Mapping[str, str]
    docker_group: tuple[str, ...] | None
    units: Mapping[str, HostUnit]
    audit: tuple[WatchedPath, ...] | None
    audit_on: bool
    audit_never: tuple[str, ...]
    audit_pid: int
    modes: Mapping[str, PathMode]
    acls: frozenset[str]
    tls: Mapping[str, PathMode]
    engine_owner: int | None
    daemons: int
    settings: str
    daemon_json: Mapping[str, Any] | None
    flags: tuple[str, ...]
    info: Mapping[str, Any] | None
    containers: tuple[Container, ...] | None
    images: tuple[Image, ...] | None
    networks: tuple[Network, ...] | None
    sshd_containers: frozenset[str]
    listening: tuple[str, ...] | None
    lsm: tuple[str, ...]
    selinux: bool
    content_trust: str
    root: bool
    troubles: Mapping[str, str]

    @property
    def engine_version(self) -> str:
        """The engine's version; empty if none answers."""
        version = (self.info or {}).get("ServerVersion")
        return version if isinstance(version, str) else ""

    @property
    def running(self) -> tuple[Container, ...] | None:
        """The containers that have processes."""
        if self.containers is None:
            return None
        return tuple(container for container in self.containers if container.runs)


def parse_audit_host(text: str) -> AuditFacts:
    """Return what the script reported.

    Raises:
        FailedError: it was cut short, or it cannot be understood.
    """
    sections = {section.name: section for section in parse_sections(text)}

    def get(name: str) -> Section:
        return sections.get(name, Section(name, ()))

    pairs = [line.partition(" ") for line in get("host").lines]
    values = {name: value for name, _, value in pairs}
    runs = "engine-owner" in values
    lacking = [name for name in (*ALWAYS, *(["flags"] if runs else ())) if name not in sections]
    if lacking:
        raise FailedError(f"the board's answer lacks {lacking[0]}: is its /run full?")
    if not values.get("kernel"):
        raise FailedError("the board's answer lacks its kernel: is /proc mounted there?")
    read = _Reader(sections)
    history = read.known("history", _history, read.long("history") or "") or {}
    info = None if "info" in read.troubles else read.known("info", _info, read.long("info"))
    beside = Beside(
        volumes=dict(line.partition(" ")[::2] for line in get("volumes").lines),
        links=dict(line.partition("|")[::2] for line in (read.long("links") or "").split("\n")),
        privileges=dict(
            line.partition(" ")[::2] for line in (read.long("privileges") or "").split("\n")
        ),
    )
    for name in ("volumes", "links", "privileges"):
        if info is not None and not {name, f"{name}.gz"} & set(sections):
            read.troubles.setdefault("containers", f"the board's answer lacks {name}")
    try:
        audit = get("audit").lines
        modes = {mode.path: mode for mode in map(parse_mode, get("modes").lines)}
        settings = values.get("settings", "")
        named = settings in modes or "settings-named" in values
        if named and "daemon-json" not in sections:
            read.troubles["daemon-json"] = "it cannot be read"
        return AuditFacts(
            hostname=values.get("hostname", ""),
            os=values.get("os", ""),
            kernel=values["kernel"],
            arch=values.get("arch", ""),
            tools=frozenset(value for name, _, value in pairs if name == "tool"),
            mounts=dict(value.split(" ") for name, _, value in pairs if name == "mount"),
            docker_group=_members(value for name, _, value in pairs if name == "docker-group"),
            units=parse_units(get("units").lines),
            audit=parse_audit_rules(audit) if "audit" in sections else None,
            # 2 is on, and locked until the board restarts.
            audit_on=not {"enabled 1", "enabled 2"}.isdisjoint(audit),
            audit_never=tuple(line for line in audit if _NEVER.match(line)),
            audit_pid=next((int(line[4:]) for line in audit if line.startswith("pid ")), 0),
            modes=modes,
            acls=frozenset(get("acls").lines),
            tls=dict(_tls(line) for line in get("tls").lines),
            engine_owner=int(values["engine-owner"]) if runs else None,
            daemons=int(values.get("daemons", "0")),
            settings=settings,
            daemon_json=read.known("daemon-json", _object, get("daemon-json").text or None),
            flags=tuple(line for line in get("flags").lines if line),
            info=info,
            containers=read.all_of("containers", lambda row: parse_container(row, beside), info),
            images=_own(
                read.all_of("images", lambda row: parse_image(row, history), info),
                frozenset(get("parents").lines),
            ),
            networks=read.all_of("networks", parse_network, info),
            sshd_containers=frozenset(get("sshd-containers").lines),
            listening=tuple(line.split()[3] for line in get("listening").lines)
            if "listening" in sections
            else None,
            lsm=tuple(values.get("lsm", "").split(",")) if values.get("lsm") else (),
            selinux=values.get("enforce") == "1",
            content_trust=values.get("content-trust", "").strip("\"' "),
            root="not-root" not in values,
            troubles=read.troubles,
        )
    except PARSE_ERRORS as error:
        raise FailedError(f"the board's answer cannot be understood: {error}") from None


class _Reader:
    """Reads facts, and keeps why one could not be read."""

    def __init__(self, sections: Mapping[str, Section]) -> None:
        self._sections = sections
        self.troubles: dict[str, str] = {}
        for name, section in sections.items():
            if name.endswith("-error") and section.text.strip():
                said = " ".join(section.text.split())[:300]
                self.troubles[name.removesuffix("-error")] = said

    def known(self, name: str, parse: Callable[[Any], T], value: object | None) -> T | None:
        """Return what ``parse`` makes of a value, or nothing."""
        if value is None:
            return None
        try:
            return parse(value)
        except PARSE_ERRORS as error:
            self.troubles[name] = f"it cannot be understood: {sanitize_line(str(error))[:200]}"
            return None

    def long(self, name: str) -> str | None:
        """Return a fact that may be compressed; nothing if it is not there."""
        if name in self._sections:
            return self._sections[name].text
        packed = self._sections.get(f"{name}.gz")
        if packed is None:
            return None
        return self.known(name, _unpacked, packed.text)

    def all_of(
        self, name: str, parse: Callable[[Mapping[str, Any]], T], info: Mapping[str, Any] | None
    ) -> tuple[T, ...] | None:
        """Return what a list of JSON objects, one to a line, tells; all of it or nothing."""
        if info is None or name in self.troubles:
            return None
        # "Containers" and "Images" are counted there.
        counted = info.get(name.capitalize())
        text = self.long(name)
        if text is None:
            self.troubles.setdefault(name, "the board's answer lacks it")
            return None

        def rows(text: str) -> tuple[T, ...]:
            lines = [line for line in text.split("\n") if line.strip()]
            if len(lines) > MOST_ROWS:
                raise ValueError(f"{len(lines)} of them; {MOST_ROWS} at most are judged")
            if not lines and counted:
                raise ValueError(f"docker info counts {counted}, and none is told")
            return tuple(parse(_object(line)) for line in lines)

        return self.known(name, rows, text)


def _unpacked(text: str) -> str:
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        data = unpacker.decompress(base64.b64decode(text), MOST)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not unpacker.eof:
        raise ValueError(f"cut short, or more than {MOST // 1024 // 1024} MiB")
    return data.decode("utf-8", "replace")


def _object(text: str) -> dict[str, Any]:
    """Return a JSON object, with its texts harmless to a terminal."""
    value = _harmless(json.loads(text))
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return value


def _harmless(value: Any) -> Any:
    if isinstance(value, str):
        return sanitize_line(value)
    if isinstance(value, list):
        return [_harmless(item) for item in value]
    if isinstance(value, dict):
        return {sanitize_line(key): _harmless(item) for key, item in value.items()}
    return value


def _info(text: str) -> dict[str, Any]:
    info = _object(text)
    # Printed without a server, and with errors, when that does not answer.
    if not isinstance(info.get("ServerVersion"), str) or not info["ServerVersion"]:
        errors = info.get("ServerErrors")
        raise ValueError(f"no engine answers: {errors}" if errors else "no engine answers")
    return info


def _own(images: tuple[Image, ...] | None, parents: frozenset[str]) -> tuple[Image, ...] | None:
    """Leave out what a build left between its steps, as ``docker image ls`` does."""
    if images is None:
        return None
    return tuple(
        image for image in images if image.tags or image.id.removeprefix("sha256:") not in parents
    )


def _members(groups: Iterable[str]) -> tuple[str, ...] | None:
    """Return the members of groups, each told as its number and names; ``None`` without any."""
    told = [group.partition(" ")[2].split(",") for group in groups]
    if not told:
        return None
    return tuple(dict.fromkeys(name for names in told for name in names if name))


def _tls(line: str) -> tuple[str, PathMode]:
    name, _, rest = line.partition(" ")
    return name, parse_mode(rest)


def _history(text: str) -> dict[str, tuple[int, int]]:
    found = {}
    for line in text.splitlines():
        digest, adds, updates = line.split()
        found[digest] = int(adds), int(updates)
    return found
