"""The facts about a board for an audit: parsing the output of :mod:`bootwright.audit.facts_script`.

A board may be hostile: its answer is limited in size, and its texts are made safe to print. A fact
that is missing or cannot be parsed is ``None``, with the reason in ``troubles``; it never makes a
check pass.
"""

import base64
import json
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bootwright.audit.facts_script import MAX_FACT_BYTES
from bootwright.audit.inspected import (
    Container,
    EngineNetwork,
    HostSideFacts,
    Image,
    parse_container,
    parse_image,
    parse_network,
)
from bootwright.core.errors import FailedError
from bootwright.core.parsing import PARSE_ERRORS
from bootwright.core.secret import mask
from bootwright.core.text import sanitize_line
from bootwright.hosts.audit_rules import WatchedPath, parse_audit_rules
from bootwright.hosts.file_modes import PathMode, parse_mode
from bootwright.hosts.systemd_units import HostUnit, parse_units
from bootwright.remote.sections import Section

_NEVER = re.compile(r"-[aA] (?:\w+,)?never\b")
"""Matches an audit rule that prevents recording; auditctl(8)."""

MAX_ROWS = 5000
"""The most containers or images of one board: ten times as many as were ever seen on one."""

REQUIRED_SECTIONS = ("host", "modes", "sshd-containers", "tls", "units")
"""The sections that every answer has; without one of them the answer is incomplete."""

T = TypeVar("T")


@dataclass(frozen=True)
class AuditFacts:
    """The facts about a board.

    Attributes:
        hostname: its own host name.
        os: the distribution.
        kernel: the release of the running kernel.
        arch: the architecture of the machine.
        tools: those of docker, dockerd, auditctl and systemctl that are installed.
        mounts: by mount point, the device (``MAJOR:MINOR``) of what is mounted.
        docker_group: the members of the group ``docker`` and of the socket's group; ``None`` if
            there is neither.
        units: the systemd units, by name.
        audit: the loaded audit rules that watch a path; ``None`` if they cannot be read.
        audit_on: whether the kernel's audit is enabled.
        audit_never: the loaded rules that prevent recording.
        audit_pid: the process id of auditd, which stores the records; 0 if it does not run.
        same_folders: folders that are links, such as ``/lib``, and what they are links to.
        modes: owner and mode of the requested paths that exist, by path.
        acls: the paths of these that also have an ACL.
        tls: owner and mode of the daemon's certificates, by the key of daemon.json (``tlskey`` …).
        engine_owner: the user id of the running daemon; ``None`` if none runs.
        daemons: how many Docker daemons run as root outside of containers.
        settings: the path of daemon.json.
        daemon_json: its content; ``None`` if there is no file, or it is not JSON (see
            ``troubles``).
        flags: the daemon's command line.
        info: the output of ``docker info``; ``None`` if no engine answers.
        containers: all containers; ``None`` if they are not known.
        images: all images except intermediate ones of builds; ``None`` if they are not known.
        networks: the default bridge, and those of a swarm; ``None`` if they are not known.
        sshd_containers: ids of containers in which an sshd runs.
        listening: local addresses of TCP sockets that listen; ``None`` if not known.
        lsm: the enabled security modules of the kernel; empty if they are not known.
        selinux: whether SELinux is in enforcing mode.
        content_trust: the last value of DOCKER_CONTENT_TRUST, empty without one.
        root: whether the facts were read as root.
        troubles: for each fact that is not known, by its name, the reason.
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
    same_folders: Mapping[str, str]
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
    networks: tuple[EngineNetwork, ...] | None
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


def audit_facts(sections: Sequence[Section]) -> AuditFacts:
    """Return the facts in the report of the script.

    Raises:
        FailedError: a section is missing, or cannot be parsed.
    """
    answer = _Answer({section.name: section for section in sections})
    answer.check_complete()
    try:
        return _facts_of(answer)
    except PARSE_ERRORS as error:
        raise FailedError(f"the board's answer cannot be understood: {error}") from None


def _facts_of(answer: "_Answer") -> AuditFacts:
    """Return the facts. The reasons for unknown facts are then in ``answer.troubles``.

    Raises:
        one of :data:`bootwright.core.parsing.PARSE_ERRORS`: a section cannot be parsed.
    """
    rules = answer.lines("audit")
    modes = {mode.path: mode for mode in map(parse_mode, answer.lines("modes"))}
    info = answer.info()
    host_side = _host_side(answer, info)
    history = answer.parse("history", _history, answer.long_text("history") or "") or {}
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
        # 2 means enabled, and locked until the board restarts.
        audit_on=not {"enabled 1", "enabled 2"}.isdisjoint(rules),
        audit_never=tuple(line for line in rules if _NEVER.match(line)),
        audit_pid=next((int(line[4:]) for line in rules if line.startswith("pid ")), 0),
        same_folders=dict(value.split(" ") for value in answer.values("same")),
        modes=modes,
        acls=frozenset(answer.lines("acls")),
        tls=dict(map(_tls, answer.lines("tls"))),
        engine_owner=int(answer.value("engine-owner")) if answer.daemon_runs else None,
        daemons=int(answer.value("daemons") or "0"),
        settings=answer.value("settings"),
        daemon_json=_daemon_json(answer, modes),
        flags=tuple(filter(None, answer.lines("flags"))),
        info=info,
        containers=answer.rows("containers", lambda row: parse_container(row, host_side), info),
        images=_without_build_steps(
            answer.rows("images", lambda row: parse_image(row, history), info),
            frozenset(answer.lines("parents")),
        ),
        networks=answer.rows("networks", parse_network, info),
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
                message = " ".join(mask(section.text).split())[:300]
                self.troubles[name.removesuffix("-error")] = message

    def check_complete(self) -> None:
        """Check that the answer has everything that every board reports.

        Raises:
            FailedError: a section, or the release of the kernel, is missing.
        """
        for name in (*REQUIRED_SECTIONS, *(["flags"] if self.daemon_runs else ())):
            if not self.has(name):
                raise FailedError(f"the board's answer lacks {name}: is its /run full?")
        if not self.value("kernel"):
            raise FailedError("the board's answer lacks its kernel: is /proc mounted there?")

    @property
    def daemon_runs(self) -> bool:
        """Whether a Docker daemon runs."""
        return bool(self.values("engine-owner"))

    def has(self, name: str) -> bool:
        """Return whether there is such a section."""
        return name in self._sections

    def lines(self, name: str) -> Sequence[str]:
        """Return the lines of a section; none if it is not there."""
        return self._sections[name].lines if self.has(name) else ()

    def text(self, name: str) -> str:
        """Return the text of a section; empty if it is not there."""
        return self._sections[name].text if self.has(name) else ""

    def values(self, name: str) -> list[str]:
        """Return all values with this name in the section ``host``."""
        return [value for key, value in self._host if key == name]

    def value(self, name: str) -> str:
        """Return the last value with this name in the section ``host``; empty if there is none."""
        return (self.values(name) or [""])[-1]

    def info(self) -> dict[str, Any] | None:
        """Return the output of ``docker info``; ``None`` if no engine answers."""
        if "info" in self.troubles:
            return None
        return self.parse("info", _info, self.long_text("info"))

    def pairs(self, name: str, between: str) -> dict[str, str]:
        """Return the values by name in a section with lines ``NAME`` ``between`` ``VALUE``."""
        return dict(
            line.partition(between)[::2] for line in (self.long_text(name) or "").split("\n")
        )

    def parse(self, name: str, parse: Callable[[Any], T], value: object | None) -> T | None:
        """Return the parsed value; ``None`` if there is no value or it cannot be parsed."""
        if value is None:
            return None
        try:
            return parse(value)
        except PARSE_ERRORS as error:
            self.troubles[name] = (
                f"it cannot be understood: {sanitize_line(mask(str(error)))[:200]}"
            )
            return None

    def long_text(self, name: str) -> str | None:
        """Return the text of a section that may be compressed; ``None`` if it is not there."""
        if self.has(name):
            return self._sections[name].text
        packed = self._sections.get(f"{name}.gz")
        if packed is None:
            return None
        return self.parse(name, _unpacked, packed.text)

    def rows(
        self, name: str, parse: Callable[[Mapping[str, Any]], T], info: Mapping[str, Any] | None
    ) -> tuple[T, ...] | None:
        """Return the parsed rows of a section with one JSON object on each line.

        If one row cannot be parsed, none is returned (``None``).
        """
        if info is None or name in self.troubles:
            return None
        # docker info has the number of "Containers" and of "Images".
        counted = info.get(name.capitalize())
        text = self.long_text(name)
        if text is None:
            self.troubles.setdefault(name, "the board's answer lacks it")
            return None

        def parse_rows(text: str) -> tuple[T, ...]:
            lines = [line for line in text.split("\n") if line.strip()]
            if len(lines) > MAX_ROWS:
                raise ValueError(f"there are {len(lines)}; at most {MAX_ROWS} can be evaluated")
            if not lines and counted:
                raise ValueError(f"docker info counts {counted}, but none was reported")
            return tuple(parse(_object(line)) for line in lines)

        return self.parse(name, parse_rows, text)


def _host_side(answer: _Answer, info: Mapping[str, Any] | None) -> HostSideFacts:
    """Return the facts about containers that are not in the output of ``docker inspect``."""
    for name in ("volumes", "links", "privileges"):
        if info is not None and not answer.has(name) and not answer.has(f"{name}.gz"):
            answer.troubles.setdefault("containers", f"the board's answer lacks {name}")
    return HostSideFacts(
        volumes=dict(line.partition(" ")[::2] for line in answer.lines("volumes")),
        links=answer.pairs("links", "|"),
        privileges=answer.pairs("privileges", " "),
    )


def _daemon_json(answer: _Answer, modes: Mapping[str, PathMode]) -> dict[str, Any] | None:
    """Return the content of daemon.json; ``None`` if there is none or it is not a JSON object."""
    if answer.has("daemon-json"):
        # From 23.0 on, engines ignore a byte order mark, which is no printable character.
        text = answer.text("daemon-json").removeprefix("\N{REPLACEMENT CHARACTER}")
        return answer.parse("daemon-json", _object, text or None)
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
        data = unpacker.decompress(base64.b64decode(text), MAX_FACT_BYTES)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not unpacker.eof:
        raise ValueError(f"cut short, or more than {MAX_FACT_BYTES // 1024 // 1024} MiB")
    return data.decode("utf-8", "replace")


def _object(text: str) -> dict[str, Any]:
    """Return a JSON object whose texts are safe to print on a terminal."""
    value = _sanitized(json.loads(text))
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _sanitized(value: Any) -> Any:
    if isinstance(value, str):
        return sanitize_line(value)
    if isinstance(value, list):
        return [_sanitized(item) for item in value]
    if isinstance(value, dict):
        return {sanitize_line(key): _sanitized(item) for key, item in value.items()}
    return value


def _info(text: str) -> dict[str, Any]:
    info = _object(text)
    # If the server does not answer, docker prints a document without a version, with errors.
    if not isinstance(info.get("ServerVersion"), str) or not info["ServerVersion"]:
        errors = info.get("ServerErrors")
        raise ValueError(f"no engine answers: {errors}" if errors else "no engine answers")
    return info


def _without_build_steps(
    images: tuple[Image, ...] | None, parents: frozenset[str]
) -> tuple[Image, ...] | None:
    """Return the images without intermediate ones of builds, as ``docker image ls`` does."""
    if images is None:
        return None
    return tuple(
        image for image in images if image.tags or image.id.removeprefix("sha256:") not in parents
    )


def _members(groups: Iterable[str]) -> tuple[str, ...] | None:
    """Return the members of groups; ``None`` without a group.

    Args:
        groups: for each group its id, a blank, and its members, separated by commas.
    """
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
