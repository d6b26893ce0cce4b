"""What a Debian root file system is built from, as for a card."""

from bootwright.core import paths
from bootwright.core.board import Board
from bootwright.rootfs.debian_plan import Recipe
from bootwright.rootfs.source import Mmdebstrap, load_rootfs_source


def recipe_for(board: Board, mirror: str | None = None) -> Recipe:
    # As for a card of this board, so that the cached build of one can be used here.
    source = load_rootfs_source(paths.checkout() / "rootfs" / "debian" / "rootfs.toml")
    assert isinstance(source, Mmdebstrap)
    return Recipe.from_source(
        source,
        packages=board.rootfs["debian"].packages,
        other_suites=board.rootfs["debian"].other_suites,
        modules=board.initramfs_modules,
        device_trees=board.device_trees,
        mirror=mirror,
    )
