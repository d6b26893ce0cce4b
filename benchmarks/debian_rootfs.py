"""Time building the Debian root file system, compared with plain mmdebstrap.

Both install the same packages from the same apt sources in the same run, with an empty cache.
Plain mmdebstrap takes about 10 minutes; --ours-only leaves it out. Run it as root:

    .venv/bin/python benchmarks/debian_rootfs.py [--ours-only] [--board NAME] [--mirror URL]
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bootwright.core import paths
from bootwright.core.board import RootfsOnBoard, load_board
from bootwright.core.errors import BootwrightError
from bootwright.core.io import process
from bootwright.core.report import TextReporter
from bootwright.core.units import format_size
from bootwright.rootfs.debian_plan import Recipe
from bootwright.rootfs.io import debian
from bootwright.rootfs.source import Mmdebstrap, load_rootfs_source

Result = TypeVar("Result")


@dataclass(frozen=True)
class Spent:
    """Seconds that a call took: by the clock, and of processor time with its child processes."""

    wall: float
    user: float
    system: float

    def __str__(self) -> str:
        return f"{self.wall:6.1f} s (user {self.user:.1f} s, system {self.system:.1f} s)"


def timed(work: Callable[[], Result]) -> tuple[Result, Spent]:
    before, start = os.times(), time.monotonic()
    result = work()
    after, end = os.times(), time.monotonic()
    return result, Spent(
        end - start,
        after.user + after.children_user - before.user - before.children_user,
        after.system + after.children_system - before.system - before.children_system,
    )


def recipe_for(board_name: str, mirror: str | None) -> Recipe:
    root = paths.checkout()
    source = load_rootfs_source(root / "rootfs" / "debian" / "rootfs.toml")
    assert isinstance(source, Mmdebstrap)
    board = load_board(root / "board", board_name)
    own = board.rootfs.get(source.name, RootfsOnBoard())
    return Recipe.from_source(
        source,
        packages=own.packages,
        other_suites=own.other_suites,
        modules=board.initramfs_modules,
        device_trees=board.device_trees,
        mirror=mirror,
    )


def plain_argv(recipe: Recipe, target: Path, without: list[str]) -> list[str]:
    sources = debian.apt_sources(recipe, TextReporter())
    return [
        "mmdebstrap",
        "--variant=minbase",
        "--format=tar",
        f"--architectures={recipe.architecture}",
        f"--include={','.join(recipe.packages)}",
        recipe.suite,
        str(target),
        *(source.line for source in sources if source.suite not in without),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ours-only", action="store_true", help="do not run plain mmdebstrap")
    parser.add_argument("--board", default="odroid-xu3", help="a directory below board/")
    parser.add_argument("--mirror", help="a Debian mirror; default: this machine's apt sources")
    options = parser.parse_args()
    try:
        recipe = recipe_for(options.board, options.mirror)
        with tempfile.TemporaryDirectory(prefix="bootwright-benchmark.") as folder:
            cache = Path(folder)
            tarball, ours = timed(lambda: debian.build(recipe, cache, TextReporter()))
            print(f"load average over 1, 5 and 15 minutes: {os.getloadavg()}")
            print(f"ours:  {ours}, {format_size(tarball.stat().st_size)}", flush=True)
            if options.ours_only:
                return 0
            # If the mirror lacked a suite in our build, plain mmdebstrap gets none of it either.
            without = tarball.stem.partition("-without-")[2].split("+")
            plain_tar = cache / "plain.tar"
            argv = plain_argv(recipe, plain_tar, without)
            _, plain = timed(lambda: process.run(argv))
            print(f"plain: {plain}, {format_size(plain_tar.stat().st_size)}")
            print(
                f"ours takes {ours.wall / plain.wall:.2f} of plain's time by the clock,"
                f" {(ours.user + ours.system) / (plain.user + plain.system):.2f} of its CPU time"
            )
    except BootwrightError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
