"""Whether this machine has what Bootwright needs, decided from what was found on it."""

from dataclasses import dataclass
from typing import Any, Literal

from bootwright.core.result import to_json
from bootwright.core.tools import OLDEST_OPENSSH, Binfmt, Family, Tool, is_too_old
from bootwright.core.units import GIB, format_size

SCHEMA = "bootwright.doctor/1"
"""The name of the schema of :meth:`DoctorReport.document`."""

OLDEST_PYTHON = (3, 11)
"""The oldest version of Python that works: ``requires-python`` in ``pyproject.toml``."""

BUILD_SPACE = 8 * GIB
"""Free bytes that a build may need: for a 4 GiB image, its root file system as a tarball
and as ext4, and the work files of a Debian bootstrap."""

RowState = Literal["ok", "missing", "optional", "warning"]
"""``missing`` makes the examination fail; ``optional`` is missing, but only tests or
benchmarks need it; ``warning`` may make a command fail."""


@dataclass(frozen=True)
class FoundTool:
    """A tool and where it is; ``path`` is ``None`` when it is missing."""

    tool: Tool
    path: str | None
    version: str | None = None


@dataclass(frozen=True)
class DiskSpace:
    """A directory that is written to, and the free bytes of its file system."""

    name: str
    path: str
    free: int


@dataclass(frozen=True)
class OperatorFacts:
    """Who runs the program, and what this user has.

    Attributes:
        name: the user's name; the number, if there is no name.
        root: it is root.
        keys: the files of public SSH keys in ``~/.ssh``.
        serial_group: the group that may open serial ports; ``None`` if this machine has none.
        in_group: this session is in the group.
        joined: the user is in the group from the next login on.
    """

    name: str
    root: bool
    keys: tuple[str, ...]
    serial_group: str | None
    in_group: bool
    joined: bool


@dataclass(frozen=True)
class Configuration:
    """The targets.

    Attributes:
        targets: how many there are.
        errors: what is wrong in the configuration.
    """

    targets: int
    errors: tuple[str, ...]


@dataclass(frozen=True)
class Machine:
    """What was found on this machine."""

    tools: tuple[FoundTool, ...]
    python: tuple[int, int, int]
    architecture: str
    """As ``uname -m`` prints it."""
    binfmt: Binfmt | None
    """The entry for 32-bit ARM; ``None`` when the kernel has none."""
    disks: tuple[DiskSpace, ...]
    family: Family | None
    operator: OperatorFacts


@dataclass(frozen=True)
class Row:
    """One line of the report; ``hint`` is what the operator can do."""

    name: str
    state: RowState
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


def examine(machine: Machine, configuration: Configuration) -> DoctorReport:
    """Return what is there and what is missing, and the commands that install missing tools."""
    family = machine.family
    needed = [one for one in machine.tools if one.path or one.tool.needed(family)]
    return DoctorReport(
        tools=tuple(_tool(found, family) for found in needed),
        checks=(
            _python(machine),
            _binfmt(machine),
            *(_disk(one) for one in machine.disks),
            _keys(machine.operator),
            _serial_ports(machine.operator),
            _configuration(configuration),
        ),
        install=_install(machine, required=True),
        install_optional=_install(machine, required=False),
    )


def _tool(found: FoundTool, family: Family | None) -> Row:
    tool = found.tool
    if tool.command == "ssh" and is_too_old(found.version, OLDEST_OPENSSH):
        wanted = ".".join(map(str, OLDEST_OPENSSH))
        hint = f"needs OpenSSH {wanted} or newer: upgrade this machine's distribution"
        return Row(tool.command, "missing", found.version or "", tool.need, hint)
    if found.path is not None:
        return Row(tool.command, "ok", found.version or found.path, tool.need)
    state: RowState = "missing" if tool.level == "run" else "optional"
    package = tool.package(family)
    hint = f"package {package}" if package else "not packaged here; install it yourself"
    return Row(tool.command, state, "", tool.need, hint)


def _python(machine: Machine) -> Row:
    version = ".".join(str(part) for part in machine.python)
    good = machine.python[:2] >= OLDEST_PYTHON
    wanted = ".".join(str(part) for part in OLDEST_PYTHON)
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


def _disk(disk: DiskSpace) -> Row:
    enough = disk.free >= BUILD_SPACE
    return Row(
        disk.name,
        "ok" if enough else "warning",
        f"{disk.path}: {format_size(disk.free)} free",
        "images" if disk.name == "build" else "downloads and finished root file systems",
        "" if enough else f"a build may need {format_size(BUILD_SPACE)}",
    )


def _keys(operator: OperatorFacts) -> Row:
    found = ", ".join(operator.keys) or "none; inv flash makes one in build/ssh"
    return Row("ssh-keys", "ok", found, "logging in to boards")


def _serial_ports(operator: OperatorFacts) -> Row:
    name, need, group = "serial-ports", "unlocking and watching boards", operator.serial_group
    if operator.root:
        return Row(name, "ok", "root may open them", need)
    if group is None:
        hint = "see who owns them: ls -l /dev/ttyUSB* /dev/ttyACM*"
        return Row(name, "warning", "this machine has no group dialout or uucp", need, hint)
    if operator.in_group:
        return Row(name, "ok", f"you are in the group {group}", need)
    if operator.joined:
        found = f"you are in the group {group} from your next login on"
        return Row(name, "warning", found, need, "log out and in again")
    hint = f"run: sudo usermod -aG {group} {operator.name} (valid from your next login)"
    return Row(name, "warning", f"you are not in the group {group}", need, hint)


def _configuration(configuration: Configuration) -> Row:
    name, need = "configuration", "every command with a target"
    wrong = len(configuration.errors)
    if wrong:
        return Row(name, "warning", f"errors: {wrong}", need, "inv config shows what is wrong")
    return Row(name, "ok", f"targets: {configuration.targets}", need)


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
    return " ".join([*([] if machine.operator.root else ["sudo"]), command, *packages])
