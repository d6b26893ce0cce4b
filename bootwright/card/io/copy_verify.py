"""Copying extents from sources to a medium and comparing them, several pieces at a time.

Workers take pieces in the order of the card, so that the medium is written in ascending order.
Reading, writing and comparing release Python's global lock, so threads run them in parallel.
"""

import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from bootwright.card.io.medium import Buffer, Medium, buffers_equal
from bootwright.core.errors import FailedError, InputError
from bootwright.core.units import MIB, SECTOR
from bootwright.rootfs.byte_ranges import Extent, merge, total

PIECE = 2 * MIB
"""Bytes of a piece; in benchmarks/write_card.py 0.5 to 4 MiB differ little, 2 MiB is fastest."""

WORKERS = 4
"""Threads: the fastest number in that benchmark. Each has two buffers of a piece, 16 MiB in all."""

_ZERO_PIECE = 64 * MIB
"""Bytes zeroed by one call of the kernel: few enough to show progress and to react to Ctrl-C."""

_MAX_LISTED = 8
"""The most ranges of sectors that an error lists."""

_DEVICE_GONE = "the device is gone: insert the card again"
_HINTS = {
    errno.ENOSPC: "the disk that holds the image is full: free some space",
    errno.EDQUOT: "the disk quota is used up: free some space",
    errno.EFBIG: "the file system of the image takes no file of this size",
    errno.ENODEV: _DEVICE_GONE,
    errno.ENXIO: _DEVICE_GONE,
    errno.ENOMEDIUM: _DEVICE_GONE,
}
"""What the operator can do, by the error number of the medium."""


class Sources:
    """The files that extents name as their sources, opened; a context manager."""

    def __init__(self, paths: Mapping[str, Path], extents: Iterable[Extent]) -> None:
        """Open the sources that ``extents`` use.

        Raises:
            InputError: a source cannot be opened, or is too short.
        """
        self._paths = paths
        ends: dict[str, int] = {}
        for extent in extents:
            if extent.source is not None:
                end = extent.source_offset + extent.length
                ends[extent.source] = max(end, ends.get(extent.source, 0))
        self._fds: dict[str, int] = {}
        try:
            for name, end in ends.items():
                self._fds[name] = _open_source(name, paths, end)
        except InputError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds = {}

    def read(self, extent: Extent, buffer: Buffer) -> None:
        """Fill ``buffer`` with the content of ``extent``; zeros follow the end of the source.

        Raises:
            FailedError: the source cannot be read.
        """
        assert extent.source is not None
        done = 0
        while done < extent.length:
            view = buffer.view[done : extent.length]
            try:
                count = os.preadv(self._fds[extent.source], [view], extent.source_offset + done)
            except OSError as error:
                path = self._paths[extent.source]
                raise FailedError(f"{path}: cannot read it: {error.strerror}") from error
            if count == 0:
                break
            done += count
        buffer.view[done : extent.length] = bytes(extent.length - done)


def pieces(extents: Iterable[Extent], zero_piece: int = PIECE) -> Iterator[Extent]:
    """Yield the extents in pieces of at most :data:`PIECE` bytes; zeros, of ``zero_piece``."""
    for extent in extents:
        step = PIECE if extent.source is not None else zero_piece
        for start in range(extent.offset, extent.end, step):
            yield extent.part(start, min(start + step, extent.end))


def write(
    medium: Medium, sources: Sources, extents: Iterable[Extent], done: Callable[[int], None]
) -> None:
    """Write the extents; ``done`` is called with the bytes of each piece.

    Raises:
        FailedError: the medium or a source failed; names the sectors.
    """

    def work(piece: Extent, wanted: Buffer, _: Buffer) -> None:
        if piece.source is None:
            with explain_errors(medium, "zero", piece):
                medium.zero(piece.offset, piece.length)
        else:
            sources.read(piece, wanted)
            with explain_errors(medium, "write", piece):
                medium.write(wanted.view[: piece.length], piece.offset)

    _run_workers(pieces(extents, _ZERO_PIECE), work, done)


def compare(
    medium: Medium, sources: Sources, extents: Iterable[Extent], done: Callable[[int], None]
) -> list[Extent]:
    """Read the extents back and return the sectors that differ, sorted.

    Raises:
        FailedError: the medium or a source failed; names the sectors.
    """
    bad: list[Extent] = []
    zeros = Buffer(PIECE)

    def work(piece: Extent, wanted: Buffer, found: Buffer) -> None:
        if piece.source is None:
            wanted = zeros
        else:
            sources.read(piece, wanted)
        with explain_errors(medium, "read back", piece):
            medium.read(found.view[: piece.length], piece.offset)
        if not buffers_equal(wanted, found, piece.length):
            bad.extend(_differing(piece, wanted, found))

    _run_workers(pieces(extents), work, done)
    return sorted(bad, key=lambda extent: extent.offset)


@contextmanager
def explain_errors(
    medium: Medium, verb: str, where: Extent | None = None, or_else: str = ""
) -> Iterator[None]:
    """Turn an ``OSError`` of the medium into a message: what failed, where, and what to do.

    Args:
        medium: what failed.
        verb: what was tried, such as ``write``.
        where: the range.
        or_else: another cause than the reader or the card; appended to the hint for these.

    Raises:
        FailedError: in place of the ``OSError``.
    """
    try:
        yield
    except OSError as error:
        number = error.errno or errno.EIO
        if number == errno.ETXTBSY:  # the kernel refuses every write, including the first
            raise FailedError(
                f"{medium.path}: it is in use as swap, so nothing was changed; swapoff it first"
            ) from error
        sectors = f" {sector_names([where])}" if where else ""
        hint = _HINTS.get(number, f"try another reader, then another card{or_else}")
        raise FailedError(
            f"{medium.path}: cannot {verb}{sectors}: {os.strerror(number)}; {hint}. "
            "The card is unfinished; the next run starts clean."
        ) from error


def sector_names(extents: Sequence[Extent]) -> str:
    """Return the sectors of disjoint, sorted extents, such as ``sectors 8-15, 63``."""
    spans = merge(extent.span for extent in extents)
    names = []
    for span in spans[:_MAX_LISTED]:
        first, last = span.start // SECTOR, (span.end - 1) // SECTOR
        names.append(f"{first}" if first == last else f"{first}-{last}")
    more = f" and {len(spans) - _MAX_LISTED} more ranges" if len(spans) > _MAX_LISTED else ""
    one = total(spans) <= SECTOR
    return f"{'sector' if one else 'sectors'} {', '.join(names)}{more}"


def _differing(piece: Extent, wanted: Buffer, found: Buffer) -> Iterator[Extent]:
    for start in range(0, piece.length, SECTOR):
        part = slice(start, start + SECTOR)
        if bytes(wanted.view[part]) != bytes(found.view[part]):
            yield piece.part(piece.offset + start, piece.offset + start + SECTOR)


def _open_source(name: str, paths: Mapping[str, Path], end: int) -> int:
    """Open the source and check that it reaches up to ``end``, rounded to a sector."""
    if name not in paths:
        raise ValueError(f"an extent names the source {name!r}, which was not given")
    path = paths[name]
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(f"{path}: cannot read it: {error.strerror}") from error
    size = os.fstat(fd).st_size
    if size + SECTOR <= end:
        os.close(fd)
        raise InputError(f"{path}: it has {size} bytes, but {end} are to be written")
    return fd


def _run_workers(
    todo: Iterator[Extent],
    work: Callable[[Extent, Buffer, Buffer], None],
    done: Callable[[int], None],
) -> None:
    """Run ``work`` on every piece, in several threads; the first error stops all and is raised."""
    lock = threading.Lock()
    stop = threading.Event()

    def take() -> Extent | None:
        with lock:
            return None if stop.is_set() else next(todo, None)

    def worker() -> None:
        first, second = Buffer(PIECE), Buffer(PIECE)
        try:
            while (piece := take()) is not None:
                work(piece, first, second)
                with lock:
                    done(piece.length)
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(WORKERS) as pool:
        workers = [pool.submit(worker) for _ in range(WORKERS)]
        try:
            for each in workers:
                each.result()
        finally:
            stop.set()  # Ctrl-C is raised in this thread only; it has to stop the others
