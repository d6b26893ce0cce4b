"""Which blocks (or inodes) are free: as runs of numbers, and as bitmaps on disk.

A bit of a bitmap is 1 if the block is in use; the first block is bit 0 of byte 0
(``Documentation/filesystems/ext4/bitmaps.rst``).
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_ZEROS = re.compile("0+")


class ImageFullError(Exception):
    """There is not enough free space. The caller turns it into a message with sizes."""


class Run(NamedTuple):
    """``length`` consecutive numbers, starting with ``start``."""

    start: int
    length: int


def free_runs(bitmap: bytes, first: int, count: int) -> list[Run]:
    """Return the free runs in the first ``count`` bits; bit 0 stands for the number ``first``."""
    bits = bin(int.from_bytes(bitmap, "little"))[2:].zfill(8 * len(bitmap))[::-1]
    found = _ZEROS.finditer(bits, 0, count)
    return [Run(first + match.start(), match.end() - match.start()) for match in found]


def bitmap_of(free: Iterable[Run], first: int, size: int) -> bytes:
    """Return a bitmap of ``size`` bytes in which everything except ``free`` is in use.

    The bits after the end of a group are 1 too; ext4 requires that.
    """
    bits = (1 << 8 * size) - 1
    for start, count in free:
        bits &= ~(((1 << count) - 1) << (start - first))
    return bits.to_bytes(size, "little")


def merge_runs(runs: Iterable[Run]) -> Iterator[Run]:
    """Yield ``runs`` in ascending order; adjacent runs are merged into one."""
    current: Run | None = None
    for run in sorted(runs):
        if current and current.start + current.length == run.start:
            current = Run(current.start, current.length + run.length)
        else:
            if current:
                yield current
            current = run
    if current:
        yield current


def split_at_multiples(run: Run, size: int) -> Iterator[Run]:
    """Yield the parts of ``run`` after splitting it at each multiple of ``size``."""
    start, end = run.start, run.start + run.length
    while start < end:
        stop = min(end, (start // size + 1) * size)
        yield Run(start, stop - start)
        start = stop


class Allocator:
    """Allocates numbers in ascending runs; returned numbers are used again after all others.

    Files are written in the order of the archive, so each starts where the previous one ended,
    and is split only where mke2fs has put its own structures.
    """

    def __init__(self, free: Iterable[Run]) -> None:
        self._runs = deque(merge_runs(free))
        self.free = sum(run.length for run in self._runs)
        """How many numbers are free."""

    def take(self, count: int) -> tuple[Run, ...]:
        """Return ``count`` numbers as a few runs, in the order in which they have to be used.

        Raises:
            ImageFullError: fewer are free; nothing was taken.
        """
        if count > self.free:
            raise ImageFullError
        self.free -= count
        if count and self._runs[0].length > count:  # the usual case
            start, length = self._runs[0]
            self._runs[0] = Run(start + count, length - count)
            return (Run(start, count),)
        taken = []
        while count:
            start, length = self._runs[0]
            part = min(count, length)
            taken.append(Run(start, part))
            if part == length:
                self._runs.popleft()
            else:
                self._runs[0] = Run(start + part, length - part)
            count -= part
        return tuple(taken)

    def take_one(self) -> int:
        """Return one number; see :meth:`take` for errors."""
        return self.take(1)[0].start

    def give_back(self, runs: Iterable[tuple[int, int]]) -> None:
        """Make runs free again that :meth:`take` has returned."""
        for start, count in runs:
            self._runs.append(Run(start, count))
            self.free += count

    def remaining(self, size: int) -> dict[int, list[Run]]:
        """Return the free runs in each group of ``size`` numbers, by the number of the group."""
        groups: dict[int, list[Run]] = {}
        for run in merge_runs(self._runs):
            for part in split_at_multiples(run, size):
                groups.setdefault(part.start // size, []).append(part)
        return groups
