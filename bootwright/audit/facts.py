"""What an audit knows of a board: :mod:`bootwright.audit.facts_script`'s report, parsed.

A board may be hostile: whatever it says is bounded in size, and no text of its acts on a
terminal. What it does not say, or says in another form, is ``None`` here with the reason in
``troubles``; it never counts as a good answer.
"""

import base64
import json
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
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
"""Sections of every answer; without one of them nothing is certain."""

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
        audit: the watches that are loaded; ``None`` where that cannot be read.
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
        containers: all of them; ``None`` if they are not known.
        images: likewise, without a build's steps in between.
        networks: the default bridge, and those of a swarm; ``None`` if they are not known.
        sshd_containers: ids of containers in which an sshd runs.
        listening: local addresses of TCP sockets that listen; ``None`` if not known.
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
    answer = _Answer({section.name: section for section in parse_sections(text)})
    answer.check_complete()
    try:
        return _facts_of(answer)
    except PARSE_ERRORS as error:
        raise FailedError(f"the board's answer cannot be understood: {error}") from None


def _facts_of(answer: "_Answer") -> AuditFacts:
    """Return the facts. What is only not known is among the answer's troubles afterwards.

    Raises:
        one of :data:`bootwright.core.parsing.PARSE_ERRORS`: a section has another form.
    """
    rules = answer.lines("audit")
    modes = {mode.path: mode for mode in map(parse_mode, answer.lines("modes"))}
    info = answer.info()
    beside = _beside(answer, info)
    history = answer.known("history", _history, answer.long("history") or "") or {}
    return AuditFacts(
        hostname=answer.value("hostname"),
        os=answer.value("os"),
        kernel=answer.value("kernel"),
        arch=answer.value("arch"),
        tools=frozenset(answer.values("tool")),
        mounts=dict(value.split(" ") for value in answer.values("mount")),
        docker_group=_members(answer.values("docker-group")),
        units=parse_units(answer.lines("units")),
        audit=parse_audit_rules(rules) if answer.has("audit") else None,
        # 2 is on, and locked until the board restarts.
        audit_on=not {"enabled 1", "enabled 2"}.isdisjoint(rules),
        audit_never=tuple(line for line in rules if _NEVER.match(line)),
        audit_pid=next((int(line[4:]) for line in rules if line.startswith("pid ")), 0),
        modes=modes,
        acls=frozenset(answer.lines("acls")),
        tls=dict(map(_tls, answer.lines("tls"))),
        engine_owner=int(answer.value("engine-owner")) if answer.daemon_runs else None,
        daemons=int(answer.value("daemons") or "0"),
        settings=answer.value("settings"),
        daemon_json=_daemon_json(answer, modes),
        flags=tuple(filter(None, answer.lines("flags"))),
        info=info,
        containers=answer.all_of("containers", lambda row: parse_container(row, beside), info),
        images=_own(
            answer.all_of("images", lambda row: parse_image(row, history), info),
            frozenset(answer.lines("parents")),
        ),
        networks=answer.all_of("networks", parse_network, info),
        sshd_containers=frozenset(answer.lines("sshd-containers")),
        listening=_listening(answer),
        lsm=tuple(filter(None, answer.value("lsm").split(","))),
        selinux=answer.value("enforce") == "1",
        content_trust=answer.value("content-trust").strip("\"' "),
        root=not answer.values("not-root"),
        troubles=answer.troubles,
    )


class _Answer:
    """The sections of a board's answer. ``troubles`` says why a fact could not be read."""

    def __init__(self, sections: Mapping[str, Section]) -> None:
        self._sections = sections
        self._host = [line.partition(" ")[::2] for line in self.lines("host")]
        self.troubles: dict[str, str] = {}
        for name, section in sections.items():
            if name.endswith("-error") and section.text.strip():
                message = " ".join(section.text.split())[:300]
                self.troubles[name.removesuffix("-error")] = message

    def check_complete(self) -> None:
        """Pass when nothing is missing that every board answers.

        Raises:
            FailedError: a section, or the kernel's release, is missing.
        """
        for name in (*ALWAYS, *(["flags"] if self.daemon_runs else ())):
            if not self.has(name):
                raise FailedError(f"the board's answer lacks {name}: is its /run full?")
        if not self.value("kernel"):
            raise FailedError("the board's answer lacks its kernel: is /proc mounted there?")

    @property
    def daemon_runs(self) -> bool:
        """Whether a Docker daemon runs."""
        return bool(self.values("engine-owner"))

    def has(self, name: str) -> bool:
        """Tell whether there is such a section."""
        return name in self._sections

    def lines(self, name: str) -> Sequence[str]:
        """Return the lines of a section; none if it is not there."""
        return self._sections[name].lines if self.has(name) else ()

    def text(self, name: str) -> str:
        """Return the text of a section; empty if it is not there."""
        return self._sections[name].text if self.has(name) else ""

    def values(self, name: str) -> list[str]:
        """Return what the section ``host`` has by that name, each time it does."""
        return [value for key, value in self._host if key == name]

    def value(self, name: str) -> str:
        """Return the last of them; empty if there is none."""
        return (self.values(name) or [""])[-1]

    def info(self) -> dict[str, Any] | None:
        """Return what ``docker info`` printed; nothing if no engine answers."""
        if "info" in self.troubles:
            return None
        return self.known("info", _info, self.long("info"))

    def pairs(self, name: str, between: str) -> dict[str, str]:
        """Return a long fact whose lines are a name and a value."""
        return dict(line.partition(between)[::2] for line in (self.long(name) or "").split("\n"))

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
        if self.has(name):
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
                raise ValueError(f"{len(lines)} of them; {MOST_ROWS} at most are evaluated")
            if not lines and counted:
                raise ValueError(f"docker info counts {counted}, and none was reported")
            return tuple(parse(_object(line)) for line in lines)

        return self.known(name, rows, text)


def _beside(answer: _Answer, info: Mapping[str, Any] | None) -> Beside:
    """Return what the containers' own descriptions leave out."""
    for name in ("volumes", "links", "privileges"):
        if info is not None and not answer.has(name) and not answer.has(f"{name}.gz"):
            answer.troubles.setdefault("containers", f"the board's answer lacks {name}")
    return Beside(
        volumes=dict(line.partition(" ")[::2] for line in answer.lines("volumes")),
        links=answer.pairs("links", "|"),
        privileges=answer.pairs("privileges", " "),
    )


def _daemon_json(answer: _Answer, modes: Mapping[str, PathMode]) -> dict[str, Any] | None:
    """Return what daemon.json says; nothing if it is not there or is no JSON object."""
    if answer.has("daemon-json"):
        return answer.known("daemon-json", _object, answer.text("daemon-json") or None)
    if answer.value("settings") in modes or answer.values("settings-named"):
        answer.troubles["daemon-json"] = "it cannot be read"
    return None


def _listening(answer: _Answer) -> tuple[str, ...] | None:
    """Return the local addresses, the fourth column of ``ss``."""
    if not answer.has("listening"):
        return None
    return tuple(line.split()[3] for line in answer.lines("listening"))


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
    """Return the members of groups, each given as its number and names; ``None`` without any."""
    named = [group.partition(" ")[2].split(",") for group in groups]
    if not named:
        return None
    return tuple(dict.fromkeys(name for names in named for name in names if name))


def _tls(line: str) -> tuple[str, PathMode]:
    name, _, rest = line.partition(" ")
    return name, parse_mode(rest)


def _history(text: str) -> dict[str, tuple[int, int]]:
    found = {}
    for line in text.splitlines():
        digest, adds, updates = line.split()
        found[digest] = int(adds), int(updates)
    return found
