"""``inv targets`` and ``inv boards``: what there is in the checkout, and what is wrong with it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bootwright.core.board import Board, available_boards, load_board
from bootwright.core.config import Target, load_collector, load_config, target_names
from bootwright.core.config_files import ConfigFile, read_config_files
from bootwright.core.errors import InputError
from bootwright.core.result import to_document
from bootwright.core.target_names import CONFIG_NAME, LOCAL_NAME
from bootwright.core.text import table

TARGETS_SCHEMA = "bootwright.targets/1"
BOARDS_SCHEMA = "bootwright.boards/1"
CHECK_SCHEMA = "bootwright.config-check/1"

Find = Callable[[str, str], tuple[str, ...]]
"""Returns the addresses at which a board was found, by the target's name and its host name."""


@dataclass(frozen=True)
class TargetRow:
    """A target as ``inv targets`` shows it.

    Attributes:
        name: its name.
        files: the configuration files that have a table of it; none for the built-in target.
        board: the name of its board; ``None`` if the target cannot be read.
        rootfs: the name of its root file system; ``None`` if the target cannot be read.
        host: where SSH reaches it; ``None`` if that is not configured.
        serial_port: its serial line; ``None`` if that is not configured.
        groups: the groups that it is in.
        found: addresses at which its board was found in this network; empty if it was not looked
            for.
        error: why it cannot be read; ``None`` if it can.
    """

    name: str
    files: tuple[str, ...]
    board: str | None = None
    rootfs: str | None = None
    host: str | None = None
    serial_port: str | None = None
    groups: tuple[str, ...] = ()
    found: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class TargetList:
    """All targets, sorted by name."""

    targets: tuple[TargetRow, ...]

    def document(self) -> dict[str, Any]:
        """Return it as one JSON document."""
        return to_document(TARGETS_SCHEMA, self)

    def lines(self) -> list[str]:
        """Return a table, and below it what is wrong."""
        return self.lines_within(None)

    def lines_within(self, width: int | None) -> list[str]:
        """Return the same for a terminal of so many columns; ``None``: without limit."""
        rows = [
            (
                row.name,
                row.board or "?",
                row.rootfs or "?",
                row.host or "-",
                ", ".join(row.groups) or "-",
                row.serial_port or "-",
            )
            for row in self.targets
        ]
        head = ("TARGET", "BOARD", "ROOTFS", "HOST", "GROUPS", "SERIAL PORT")
        found = [
            f"found: {row.name} at {', '.join(row.found)}" for row in self.targets if row.found
        ]
        errors = [f"error: {row.error}" for row in self.targets if row.error]
        return [*table(head, rows, width), *found, *errors]


@dataclass(frozen=True)
class BoardRow:
    """A board as ``inv boards`` shows it.

    Attributes:
        name: its folder in ``board/``.
        title: its name in full; ``None`` if ``board.toml`` is wrong.
        architecture: of its CPU, as Debian names it.
        ram_mib: its RAM in MiB.
        layouts: the boot layouts that it has; the default one first.
        rootfs: the root file systems that it is known to start.
        targets: the targets with this board.
        error: what is wrong in ``board.toml``; ``None`` if nothing is.
    """

    name: str
    title: str | None = None
    architecture: str | None = None
    ram_mib: int | None = None
    layouts: tuple[str, ...] = ()
    rootfs: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class BoardList:
    """All boards, sorted by name."""

    boards: tuple[BoardRow, ...]

    def document(self) -> dict[str, Any]:
        """Return it as one JSON document."""
        return to_document(BOARDS_SCHEMA, self)

    def lines(self) -> list[str]:
        """Return a table, and below it what is wrong."""
        return self.lines_within(None)

    def lines_within(self, width: int | None) -> list[str]:
        """Return the same for a terminal of so many columns; ``None``: without limit."""
        rows = [
            (
                row.name,
                f"{row.ram_mib or '?'} MiB",
                ", ".join(row.layouts) or "?",
                ", ".join(row.targets) or "-",
                row.title or "?",
            )
            for row in self.boards
        ]
        head = ("BOARD", "RAM", "LAYOUTS", "TARGETS", "IN FULL")
        errors = [f"error: {row.error}" for row in self.boards if row.error]
        return [*table(head, rows, width), *errors]


@dataclass(frozen=True)
class CheckedTarget:
    """A target, and what is wrong with it; ``None`` if nothing is."""

    name: str
    error: str | None


@dataclass(frozen=True)
class ConfigCheck:
    """What ``inv config`` without a target found.

    Attributes:
        files: the configuration files that were read.
        targets: all targets, sorted by name.
        errors: what is wrong outside of the targets.
    """

    files: tuple[str, ...]
    targets: tuple[CheckedTarget, ...]
    errors: tuple[str, ...]

    @property
    def wrong(self) -> tuple[str, ...]:
        """All errors, each once."""
        found = (*self.errors, *(one.error for one in self.targets if one.error))
        return tuple(dict.fromkeys(found))

    def document(self) -> dict[str, Any]:
        """Return it as one JSON document."""
        return to_document(CHECK_SCHEMA, self)

    def lines(self) -> list[str]:
        """Return one line for each target that is right, and what was read."""
        good = [one.name for one in self.targets if not one.error]
        read = ", ".join(self.files) or "no configuration file; the built-in target alone"
        return [f"read: {read}", *(f"ok: {name}" for name in good)]


def list_targets(root: Path, find: Find | None = None) -> TargetList:
    """Return the targets of the checkout ``root``; a wrong one has its error.

    Args:
        root: the checkout.
        find: looks for a target's board in the network; ``None``: it is not looked for.

    Raises:
        InputError: a configuration file is not TOML, or has a table that is none of ours.
    """
    files = read_config_files(root)
    return TargetList(tuple(_target_row(root, files, name, find) for name in target_names(files)))


def _target_row(root: Path, files: Iterable[ConfigFile], name: str, find: Find | None) -> TargetRow:
    within = tuple(file.name for file in files if name in file.targets)
    try:
        target = load_config(root, name).target
    except InputError as error:
        return TargetRow(name, within, error=str(error))
    return TargetRow(
        name,
        within,
        target.board,
        target.rootfs,
        target.host,
        target.serial_port,
        target.groups,
        find(target.name, target.hostname) if find else (),
    )


def list_boards(root: Path) -> BoardList:
    """Return the boards of the checkout ``root``; a wrong one has its error.

    Raises:
        InputError: a configuration file is not TOML, or has a table that is none of ours.
    """
    users = {row.name: row.board for row in list_targets(root).targets}
    return BoardList(
        tuple(_board_row(root, name, users) for name in available_boards(root / "board"))
    )


def _board_row(root: Path, name: str, users: dict[str, str | None]) -> BoardRow:
    targets = tuple(target for target, board in users.items() if board == name)
    try:
        board: Board = load_board(root / "board", name)
    except InputError as error:
        return BoardRow(name, targets=targets, error=str(error))
    others = [layout for layout in board.layouts if layout != board.default_layout]
    return BoardRow(
        name,
        board.title,
        board.architecture,
        board.ram_mib,
        (board.default_layout, *others),
        tuple(board.rootfs),
        targets,
    )


def check_config(root: Path, check: Callable[[Target], object]) -> ConfigCheck:
    """Check every target and the collector's settings; return what is wrong. Nothing is changed.

    Args:
        root: the checkout.
        check: checks what a target refers to, such as its overlays; raises ``InputError``.
    """
    try:
        files = read_config_files(root)
    except InputError as error:
        return ConfigCheck((), (), (str(error),))
    errors = []
    try:
        load_collector(root)
    except InputError as error:
        errors.append(str(error))
    targets = tuple(
        CheckedTarget(name, _error_of(root, name, check)) for name in target_names(files)
    )
    return ConfigCheck(tuple(file.name for file in files), targets, tuple(errors))


def _error_of(root: Path, name: str, check: Callable[[Target], object]) -> str | None:
    try:
        check(load_config(root, name).target)
    except InputError as error:
        text = str(error)
        # An error in bootwright.toml names the target's table already. An error in something else
        # that the target uses, such as its overlay, does not name the target.
        named = text.startswith((CONFIG_NAME, LOCAL_NAME))
        return text if named else f"targets.{name}: {text}"
    return None
