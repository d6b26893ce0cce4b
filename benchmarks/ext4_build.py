"""Time making an ext4 image from a tarball, compared with mke2fs -d on an unpacked tree.

    python benchmarks/ext4_build.py [--tar PATH] [--size SIZE] [--runs N] [--dir FOLDER]

Without --tar, a tarball of 25,000 entries and about 700 MB is generated. Unpacking sets owners only
for root; for other users it is a little less work. With each method the data is on the disk at the
end (mke2fs and e2fsck call fsync). The methods run alternately, so that other load on the machine
affects all of them.
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


def generate_tarball(path: Path, entries: int = 25_000, size: int = 700_000_000) -> None:
    """Write a tarball with file sizes as in a root file system: many small ones, few large ones."""
    generator = random.Random(1)
    blob = generator.randbytes(8 * MIB)
    weights = [generator.lognormvariate(0, 2.2) for _ in range(entries)]
    scale = size / sum(weights)
    folders = ["."]
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for number, weight in enumerate(weights):
            parent = generator.choice(folders[:60] if number % 2 else folders)
            info = tarfile.TarInfo(f"{parent}/name-{number}")
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
    """Run ``work`` in a child process; return the seconds and its peak memory in KiB."""
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
    parser = argparse.ArgumentParser(description="compare methods of making an ext4 image")
    parser.add_argument("--tar", type=Path, help="a root file system, plain or compressed")
    parser.add_argument("--size", type=parse_size, default=parse_size("4GiB"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(
        "--dir", type=Path, help="for temporary files; needs some GiB of free space"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.dir) as name:
        compare(Path(name), args.tar, args.size, args.runs)


def compare(folder: Path, given: Path | None, size: int, runs: int) -> None:
    tarball = given or folder / "generated.tar"
    if given is None:
        generate_tarball(tarball)
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
    methods = {"mke2fs -d": mke2fs, "unpack + mke2fs -d": both, "bootwright": ours}
    seconds: dict[str, list[float]] = {method: [] for method in methods}
    memory = dict.fromkeys(methods, 0)
    for _ in range(runs):
        for method, work in methods.items():
            image.unlink(missing_ok=True)
            if work is both:
                shutil.rmtree(tree)
            os.sync()
            took, peak = in_child(work)
            seconds[method].append(took)
            memory[method] = max(memory[method], peak)
    peer_best = min(seconds["mke2fs -d"])
    peer_median = statistics.median(seconds["mke2fs -d"])
    print(f"{'':20} {'best':>7} {'ratio':>6} {'median':>7} {'ratio':>6} {'peak':>9}")
    for method, times in seconds.items():
        median = statistics.median(times)
        print(
            f"{method:20} {min(times):6.2f}s {min(times) / peer_best:6.2f}"
            f" {median:6.2f}s {median / peer_median:6.2f} {memory[method] / 1024:5.0f} MiB"
        )


if __name__ == "__main__":
    main()
