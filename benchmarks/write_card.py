"""Time writing and reading back a card, compared with ``bmaptool copy`` and ``dd``.

It makes everything itself: an image of 6 GiB with 1 GiB of random data in it, and for each run a
loop device on a new file. Run it as root, in a directory with 8 GiB of free space:

    .venv/bin/python benchmarks/write_card.py --directory /var/tmp

``bmaptool`` and ``dd`` do not read back what they wrote; ours does.
"""

import argparse
import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bootwright.card.guard import GuardRequest, card_size, check
from bootwright.card.io import copy_verify
from bootwright.card.io.card import open_card
from bootwright.card.io.inspect import inspect
from bootwright.card.io.medium import file_data_spans
from bootwright.card.outcome import Counters
from bootwright.core.io.process import environment
from bootwright.core.units import GIB, KIB, MIB, SECTOR, format_size
from bootwright.rootfs.byte_ranges import Extent, flatten

SIZE = 6 * GIB
FRAGMENTS = 64
FRAGMENT = 16 * MIB
MBR = bytes(510) + b"\x55\xaa"


class Silent:
    def advance(self, count: int) -> None:
        pass


def command(*argv: object) -> str:
    words = [str(word) for word in argv]
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=environment())
    return done.stdout.strip()


def make_image(path: Path) -> None:
    """Make a sparse image with pieces of data at equal distances."""
    with path.open("wb") as file:
        file.truncate(SIZE)
        for number in range(FRAGMENTS):
            file.seek(number * SIZE // FRAGMENTS)
            file.write(os.urandom(FRAGMENT))


@contextmanager
def new_card(directory: Path) -> Iterator[str]:
    """Attach a loop device to a new, sparse file, of which nothing is cached."""
    backing = directory / "backing.img"
    backing.touch()
    os.truncate(backing, SIZE)
    device = command("losetup", "--find", "--show", backing)
    os.sync()
    try:
        yield device
    finally:
        command("losetup", "--detach", device)
        backing.unlink()


def ours(device: str, image: Path) -> Counters:
    facts = inspect(device)
    request = GuardRequest(needed=SIZE)
    check(facts, request)
    data = [span for span in file_data_spans(image) if span.end > SECTOR]
    spans = [(max(span.start, SECTOR), span.end) for span in data]
    extents = flatten([[Extent(start, end - start, "image", start) for start, end in spans]])
    with open_card(facts, card_size(facts, request)) as card:
        card.mark_unfinished()
        card.discard()
        card.write(extents, {"image": image}, Silent())
        card.verify(Silent())
        card.write_table(MBR)
    return card.counters


def time_of(run: Callable[[str], object], directory: Path) -> float:
    with new_card(directory) as device:
        start = time.monotonic()
        run(device)
        return time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--piece", type=int, default=copy_verify.PIECE // KIB, help="KiB of a piece"
    )
    parser.add_argument("--workers", type=int, default=copy_verify.WORKERS, help="threads")
    parser.add_argument("--no-dd", action="store_true", help="leave out dd, the slowest")
    options = parser.parse_args()
    copy_verify.PIECE, copy_verify.WORKERS = options.piece * KIB, options.workers

    with tempfile.TemporaryDirectory(dir=options.directory) as made:
        directory = Path(made)
        image, bmap = directory / "card.img", directory / "card.bmap"
        make_image(image)
        command("bmaptool", "create", "--output", bmap, image)
        counters = []
        runs: dict[str, Callable[[str], object]] = {
            "bootwright, read back": lambda device: counters.append(ours(device, image)),
            "bmaptool copy": lambda device: command(
                "bmaptool", "--quiet", "copy", "--bmap", bmap, image, device
            ),
        }
        if not options.no_dd:
            runs["dd bs=4M conv=fsync"] = lambda device: command(
                "dd", f"if={image}", f"of={device}", "bs=4M", "conv=fsync", "status=none"
            )
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(options.rounds):
            for name, run in runs.items():
                times[name].append(time_of(run, directory))

    mapped = counters[0].mapped
    print(f"{format_size(mapped)} mapped in {format_size(SIZE)}, {options.rounds} rounds;", end=" ")
    print(f"{options.workers} x {options.piece} KiB in flight")
    base = statistics.median(times["bmaptool copy"])
    for name, each in times.items():
        median = statistics.median(each)
        spread = f"{min(each):.2f} to {max(each):.2f}"
        print(f"{name:22} median {median:5.2f} s ({spread}), {median / base:.2f} of bmaptool")
    last = counters[-1]
    print(f"written / mapped {last.written / mapped:.3f}, verified / mapped", end=" ")
    print(f"{last.verified / mapped:.3f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
    print(f"peak resident memory of ours {format_size(peak)}")


if __name__ == "__main__":
    main()
