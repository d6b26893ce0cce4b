"""Loading what a target refers to: its board, its root file system, its overlays."""

from pathlib import Path

from bootwright.card.geometry import needed_bytes
from bootwright.card.overlays import OverlayEntry, read_first_boot, read_overlays
from bootwright.core.board import Board, load_board
from bootwright.core.config import Target
from bootwright.core.errors import InputError
from bootwright.rootfs.source import Mmdebstrap, Tarball, load_source


def check_references(
    root: Path, target: Target
) -> tuple[Board, Mmdebstrap | Tarball, tuple[OverlayEntry, ...]]:
    """Return what a target refers to in the checkout ``root``: board, root file system, overlays.

    Raises:
        InputError: one of them does not exist or is wrong, or the board has no such layout.
    """
    board = load_board(root / "board", target.board)
    if target.layout is not None and target.layout not in board.layouts:
        raise InputError(
            f"layout: {board.name} has no layout {target.layout!r};"
            f" there are: {', '.join(board.layouts)}"
        )
    needed_bytes(board, target)
    source = load_source(root, target.rootfs)
    if target.packages and not isinstance(source, Mmdebstrap):
        raise InputError(
            f"packages: {source.name} is used as it is published; install them with first_boot"
        )
    overlays = read_overlays(root / "rootfs" / "overlays", target.overlays)
    return board, source, (*overlays, *read_first_boot(root, target.first_boot))
