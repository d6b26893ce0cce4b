"""Which blocks (or inodes) are free: runs of numbers, and bitmaps on disk.

A bit that is set is in use, bit 0 of byte 0 comes first
(``Documentation/filesystems/ext4/bitmaps.rst``).
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_ZEROS = re.compile("0+")


class NoRoomError(Exception):
    """More was wanted than is free; internal, becomes a message that tells sizes."""


class Run(NamedTuple):
    """``length`` consecutive numbers from ``start``."""

    start: int
    length: int


def free_runs(bitmap: bytes, first: int, count: int) -> list[Run]:
    """Return the free runs in the first ``count`` bits; bit 0 stands for ``first``."""
    bits = bin(int.from_bytes(bitmap, "little"))[2:].zfill(8 * len(bitmap))[::-1]
    found = _ZEROS.finditer(bits, 0, count)
    return [Run(first + match.start(), match.end() - match.start()) for match in found]


def bitmap_of(free: Iterable[Run], first: int, size: int) -> bytes:
    """Return a bitmap of ``size`` bytes in which all but ``free`` is in use.

    What lies past the end of a group is in use too, as ext4 wants its padding.
    """
    bits = (1 << 8 * size) - 1
    for start, count in free:
        bits &= ~(((1 << count) - 1) << (start - first))
    return bits.to_bytes(size, "little")


def merge_runs(runs: Iterable[Run]) -> Iterator[Run]:
    """Yield ``runs`` in order of number, those that touch as one."""
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
    """Yield the parts of ``run`` that multiples of ``size`` divide it into."""
    start, end = run.start, run.start + run.length
    while start < end:
        stop = min(end, (start // size + 1) * size)
        yield Run(start, stop - start)
        start = stop


class Allocator:
    """Hands out numbers in ascending runs; what comes back is used when the rest is gone.

    Files are written in the order they come, so each starts where the last one ended
    and is split only where something of mke2fs lies in the way.
    """

    def __init__(self, free: Iterable[Run]) -> None:
        self._runs = deque(merge_runs(free))
        self.free = sum(run.length for run in self._runs)
        """How many are left."""

    def take(self, count: int) -> tuple[Run, ...]:
        """Return ``count`` numbers as few runs, in the order they are to be used.

        Raises:
            NoRoomError: not so many are left; nothing was taken.
        """
        if count > self.free:
            raise NoRoomError
        self.free -= count
        if count and self._runs[0].length > count:  # nearly always
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
        """Return one number; see :meth:`take`."""
        return self.take(1)[0].start

    def give_back(self, runs: Iterable[tuple[int, int]]) -> None:
        """Take runs back that :meth:`take` gave."""
        for start, count in runs:
            self._runs.append(Run(start, count))
            self.free += count

    def remaining(self, size: int) -> dict[int, list[Run]]:
        """Return what is free in each group of ``size`` numbers, by group."""
        groups: dict[int, list[Run]] = {}
        for run in merge_runs(self._runs):
            for part in split_at_multiples(run, size):
                groups.setdefault(part.start // size, []).append(part)
        return groups
