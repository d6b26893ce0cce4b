"""The list of tools, ``scripts/tools.tsv``, and parsing the versions that tools print."""

import re
from dataclasses import dataclass
from typing import Literal, cast, get_args

from bootwright.core.errors import InputError

ToolLevel = Literal["run", "logs", "test", "bench"]
"""Who needs a tool: everybody, ``inv logs serve`` (and the tests), the tests, the benchmarks."""

Family = Literal["debian", "arch"]
"""The known families of distributions: with apt-get, or with pacman."""

OLDEST_OPENSSH = (8, 7)
"""The oldest version of OpenSSH's client that works: it is the first with ForkAfterAuthentication,
which is set for a connection, and its messages are those that are read. See its release notes."""

_VERSION = re.compile(r"\d+(?:\.\d+)+(?:p\d+)?")


@dataclass(frozen=True)
class Tool:
    """One line of ``tools.tsv``: a command, or a file when it begins with ``/``."""

    command: str
    level: ToolLevel
    version: tuple[str, ...]
    """Arguments that make it print its version; empty if it has no such option."""
    debian: str
    arch: str
    """The name of the package; ``-`` if the distribution does not need the tool, ``!`` if it has no
    package of it."""
    need: str

    @property
    def is_file(self) -> bool:
        """Whether this is a data file, not a program."""
        return self.command.startswith("/")

    def needed(self, family: Family | None) -> bool:
        """Return whether a distribution of this family needs it at all."""
        return self._package(family) != "-"

    def package(self, family: Family | None) -> str | None:
        """Return the package that contains it; ``None`` if there is none."""
        package = self._package(family)
        return None if package in ("-", "!") else package

    def _package(self, family: Family | None) -> str:
        return {"debian": self.debian, "arch": self.arch, None: "!"}[family]


@dataclass(frozen=True)
class Binfmt:
    """An entry of ``/proc/sys/fs/binfmt_misc``: how the kernel runs programs for another CPU."""

    enabled: bool
    interpreter: str | None


def parse_tools(text: str) -> tuple[Tool, ...]:
    """Return the tools in the text of ``scripts/tools.tsv``, in its order.

    Raises:
        InputError: a line does not have six columns, or has an unknown level; says which line.
    """
    tools = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        columns = line.split("\t")
        if len(columns) != 6 or not all(columns) or columns[1] not in get_args(ToolLevel):
            raise InputError(f"scripts/tools.tsv:{number}: not six columns with a known level")
        command, level, version, debian, arch, need = columns
        tools.append(
            Tool(
                command,
                cast(ToolLevel, level),
                () if version == "-" else tuple(version.split()),
                debian,
                arch,
                need,
            )
        )
    return tuple(tools)


def parse_version(text: str) -> str | None:
    """Return the first version number in what a tool printed, such as ``9.2p1``."""
    match = _VERSION.search(text)
    return match[0] if match else None


def is_too_old(version: str | None, oldest: tuple[int, ...]) -> bool:
    """Return whether a version such as ``8.4p1`` is known, and older than ``oldest``."""
    if version is None:
        return False
    numbers = tuple(int(part) for part in re.findall(r"\d+", version.partition("p")[0]))
    return numbers < oldest


def parse_binfmt(text: str) -> Binfmt:
    """Return the entry that is described by the text of a file in binfmt_misc."""
    lines = text.splitlines()
    path = next((x.split(None, 1)[1] for x in lines if x.startswith("interpreter ")), None)
    return Binfmt("enabled" in lines[:1], path)
