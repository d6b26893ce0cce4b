"""Whether this machine has what Bootwright needs, judged from what was found on it."""

from dataclasses import dataclass
from typing import Any, Literal

from bootwright.core.result import to_json
from bootwright.core.tools import Binfmt, Family, Tool
from bootwright.core.units import GIB, format_size

SCHEMA = "bootwright.doctor/1"
"""Names the shape of :meth:`DoctorReport.document`."""

PYTHON = (3, 11)
"""The oldest Python that works: ``requires-python`` in ``pyproject.toml``."""

ROOM = 8 * GIB
"""Bytes free below which a build may fail: a 4 GiB image, its root file system as a
tarball and as ext4, and the work files of a Debian bootstrap."""

State = Literal["ok", "missing", "optional", "warning"]
"""``missing`` fails the examination; ``optional`` is missing, but only tests or
benchmarks need it; ``warning`` may lead to a failure."""


@dataclass(frozen=True)
class FoundTool:
    """A tool and where it is; ``path`` is ``None`` when it is missing."""

    tool: Tool
    path: str | None
    version: str | None = None


@dataclass(frozen=True)
class DiskSpace:
    """A directory that is written to, and the bytes free on its file system."""

    name: str
    path: str
    free: int


@dataclass(frozen=True)
class Machine:
    """What was found on this machine."""

    tools: tuple[FoundTool, ...]
    python: tuple[int, int, int]
    architecture: str
    """As ``uname -m`` says it."""
    binfmt: Binfmt | None
    """The entry for 32-bit ARM; ``None`` when the kernel has none."""
    places: tuple[DiskSpace, ...]
    family: Family | None
    root: bool


@dataclass(frozen=True)
class Row:
    """One line of the report; a ``hint`` says what to do."""

    name: str
    state: State
    found: str
    need: str
    hint: str = ""


@dataclass(frozen=True)
class DoctorReport:
    """The examination's result."""

    tools: tuple[Row, ...]
    checks: tuple[Row, ...]
    install: str | None
    """The command that installs the required tools that are missing."""
    install_optional: str | None
    """The command that installs the other missing tools."""

    @property
    def ok(self) -> bool:
        """Whether everything required is there."""
        return all(row.state != "missing" for row in (*self.tools, *self.checks))

    @property
    def exit_code(self) -> int:
        """0, or 4 (this machine is at fault) when something required is missing."""
        return 0 if self.ok else 4

    def document(self) -> dict[str, Any]:
        """Return the report as one JSON document."""
        return {"schema": SCHEMA, "ok": self.ok, **to_json(self)}

    def lines(self) -> list[str]:
        """Return the report as lines: a tool or check each, then :meth:`conclusion`."""
        rows = [
            f"{row.state:8} {row.name}: {row.found or 'none'}"
            f"{f' ({row.hint})' if row.hint else ''}; for {row.need}"
            for row in (*self.tools, *self.checks)
        ]
        return [*rows, *self.conclusion()]

    def conclusion(self) -> list[str]:
        """Return how to install what is missing, and whether everything required is there."""
        lines: list[str] = []
        if self.install:
            lines += ["install what is missing:", f"  {self.install}"]
        if self.install_optional:
            title = "install what the tests and benchmarks need:"
            lines += [title, f"  {self.install_optional}"]
        return [
            *lines,
            "everything required is there" if self.ok else "something required is missing",
        ]


def examine(machine: Machine) -> DoctorReport:
    """Return what is there, what is missing, and the commands that install it."""
    family = machine.family
    needed = [one for one in machine.tools if one.path or one.tool.needed(family)]
    return DoctorReport(
        tools=tuple(_tool(found, family) for found in needed),
        checks=(_python(machine), _binfmt(machine), *(_place(one) for one in machine.places)),
        install=_install(machine, required=True),
        install_optional=_install(machine, required=False),
    )


def _tool(found: FoundTool, family: Family | None) -> Row:
    tool = found.tool
    if found.path is not None:
        return Row(tool.command, "ok", found.version or found.path, tool.need)
    state: State = "missing" if tool.level == "run" else "optional"
    package = tool.package(family)
    hint = f"package {package}" if package else "not packaged here; install it yourself"
    return Row(tool.command, state, "", tool.need, hint)


def _python(machine: Machine) -> Row:
    version = ".".join(str(part) for part in machine.python)
    good = machine.python[:2] >= PYTHON
    wanted = ".".join(str(part) for part in PYTHON)
    return Row(
        "python",
        "ok" if good else "missing",
        version,
        "running Bootwright",
        "" if good else f"needs {wanted} or newer: install it and run scripts/setup",
    )


def _binfmt(machine: Machine) -> Row:
    name, need = "binfmt-arm", "building Debian root file systems"
    if machine.architecture.startswith("arm"):
        return Row(name, "ok", f"not needed: this machine is {machine.architecture}", need)
    if machine.binfmt is not None and machine.binfmt.enabled:
        return Row(name, "ok", machine.binfmt.interpreter or "enabled", need)
    found = "disabled" if machine.binfmt else "not registered with the kernel"
    return Row(name, "missing", found, need, "run scripts/setup")


def _place(place: DiskSpace) -> Row:
    enough = place.free >= ROOM
    return Row(
        place.name,
        "ok" if enough else "warning",
        f"{place.path}: {format_size(place.free)} free",
        "images" if place.name == "build" else "downloads and finished root file systems",
        "" if enough else f"a build may need {format_size(ROOM)}",
    )


def _install(machine: Machine, *, required: bool) -> str | None:
    lacking = [
        found.tool.package(machine.family)
        for found in machine.tools
        if found.path is None and (found.tool.level == "run") is required
    ]
    packages = sorted({package for package in lacking if package})
    if not packages:
        return None
    command = {
        "debian": "apt-get install --no-install-recommends",
        "arch": "pacman -S --needed",
        None: "",
    }[machine.family]
    return " ".join([*([] if machine.root else ["sudo"]), command, *packages])
