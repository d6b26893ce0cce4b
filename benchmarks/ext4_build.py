"""How long an ext4 image takes from a tarball: ours, and mke2fs -d on an unpacked tree.

    python benchmarks/ext4_build.py [--tar PATH] [--size SIZE] [--runs N] [--dir FOLDER]

Without --tar a tree of 25,000 entries and about 700 MB is made up. Unpacking keeps
owners only for root; for anybody else it is a little less work than it should be.
Every way ends with the data on the disk (mke2fs and e2fsck call fsync). Each run of a
way is followed by one of the next, so that a busy machine is unfair to all alike.
"""

import argparse
import io
import os
import random
import shutil
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bootwright.core.io import process
from bootwright.core.report import TextReporter
from bootwright.core.units import MIB, format_size, parse_size
from bootwright.rootfs.ext4.layout import FEATURES
from bootwright.rootfs.io.ext4_build import build_ext4

UUID = "6f1c35d8-4f6b-4c7e-9a55-0d7d1b0c9f10"


def make_up(path: Path, entries: int = 25_000, size: int = 700_000_000) -> None:
    """Write a tarball with sizes spread as in a root file system: many small, few large."""
    chance = random.Random(1)
    blob = chance.randbytes(8 * MIB)
    weights = [chance.lognormvariate(0, 2.2) for _ in range(entries)]
    scale = size / sum(weights)
    folders = ["."]
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for number, weight in enumerate(weights):
            above = chance.choice(folders[:60] if number % 2 else folders)
            info = tarfile.TarInfo(f"{above}/name-{number}")
            info.mtime, info.mode = 1_700_000_000.5, 0o644
            content = b""
            if number % 10 == 0:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                folders.append(info.name)
            elif number % 10 == 1:
                info.type, info.linkname = tarfile.SYMTYPE, "name-1"
            else:
                info.size = int(weight * scale)
                repeats = info.size // len(blob) + 1
                content = blob * repeats if repeats > 1 else blob
            tar.addfile(info, io.BytesIO(content))


def in_child(work: Callable[[], object]) -> tuple[float, int]:
    """Run ``work`` in a child; return the seconds and the child's peak memory in KiB."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        start = time.monotonic()
        work()
        os.write(writer, repr(time.monotonic() - start).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit("a run failed; see above")
    return float(text), usage.ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description="compare ways to an ext4 image")
    parser.add_argument("--tar", type=Path, help="a root file system, plain or compressed")
    parser.add_argument("--size", type=parse_size, default=parse_size("4GiB"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--dir", type=Path, help="where to work; needs room for all of it")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.dir) as name:
        compare(Path(name), args.tar, args.size, args.runs)


def compare(folder: Path, given: Path | None, size: int, runs: int) -> None:
    tarball = given or folder / "made-up.tar"
    if given is None:
        make_up(tarball)
    tree, image = folder / "tree", folder / "image"

    def unpack() -> None:
        tree.mkdir()
        options = ["--numeric-owner", "--xattrs", "--xattrs-include=*"]
        process.run(["tar", "-xpf", str(tarball), "-C", str(tree), *options])

    def mke2fs() -> None:
        with image.open("wb") as file:
            file.truncate(size)
        geometry = ["-b", "4096", "-I", "256", "-m", "1", "-J", "size=16"]
        features = ["-O", ",".join(["none", *FEATURES])]
        process.run(["mke2fs", "-q", "-F", *geometry, *features, "-d", str(tree), str(image)])

    def both() -> None:
        unpack()
        mke2fs()

    def ours() -> None:
        build_ext4(
            tarball,
            image,
            size=size,
            features=tuple(FEATURES),
            uuid=UUID,
            label="root",
            timestamp=1_700_000_000,
            reporter=TextReporter(io.StringIO()),
        )

    unpack()
    entries = sum(len(names) + len(files) for _, names, files in os.walk(tree))
    print(f"{tarball.name}: {format_size(tarball.stat().st_size)}, {entries} entries, {runs} runs")
    ways = {"mke2fs -d": mke2fs, "unpack + mke2fs -d": both, "bootwright": ours}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    memory = dict.fromkeys(ways, 0)
    for _ in range(runs):
        for way, work in ways.items():
            image.unlink(missing_ok=True)
            if work is both:
                shutil.rmtree(tree)
            os.sync()
            took, peak = in_child(work)
            seconds[way].append(took)
            memory[way] = max(memory[way], peak)
    best = min(seconds["mke2fs -d"])
    middle = statistics.median(seconds["mke2fs -d"])
    print(f"{'':20} {'best':>7} {'ratio':>6} {'median':>7} {'ratio':>6} {'peak':>9}")
    for way, times in seconds.items():
        median = statistics.median(times)
        print(
            f"{way:20} {min(times):6.2f}s {min(times) / best:6.2f}"
            f" {median:6.2f}s {median / middle:6.2f} {memory[way] / 1024:5.0f} MiB"
        )


if __name__ == "__main__":
    main()
