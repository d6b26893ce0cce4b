"""Writing a card so that it never looks finished when it is not.

The order is fixed: sector 0 is marked as unfinished before anything else is written, it
is never discarded, and it gets the partition table only after every mapped byte was
read back. Whenever power fails in between, the card is marked as unfinished, has no
partition table that a board or a kernel would use, and the next run starts clean.
"""

import os
from collections.abc import Iterable, Mapping
from enum import Enum, auto
from itertools import pairwise
from pathlib import Path
from typing import Self

from bootwright.card.block_device import UNFINISHED, DeviceFacts, DeviceKind, Identity
from bootwright.card.io import copy_verify
from bootwright.card.io.inspect import file_identity, identify, used_now
from bootwright.card.io.medium import BlockDevice, Buffer, ImageFile, Medium, same
from bootwright.card.outcome import Counters
from bootwright.core.errors import BootwrightError, FailedError, RefusedError
from bootwright.core.extents import Extent, flatten, total
from bootwright.core.report import Meter
from bootwright.core.units import SECTOR

REWRITES = 2
"""How often a range that reads back wrong is written again."""


class _State(Enum):
    OPEN = auto()
    MARKED = auto()
    WRITTEN = auto()
    VERIFIED = auto()
    FINISHED = auto()


def open_card(facts: DeviceFacts, size: int) -> "Card":
    """Open the destination exclusively, and check that it is still what was inspected.

    Nothing is changed yet, except that a new image file appears, empty, and that an old
    one loses the rights of group and others.

    Args:
        facts: what the guard approved.
        size: bytes that an image file will have (:func:`bootwright.card.guard.card_size`).

    Raises:
        RefusedError: it is in use, or it is not the one that was inspected.
        FailedError: the device cannot be opened.
        InputError: the file cannot be opened or created.
    """
    medium: BlockDevice | ImageFile
    if facts.kind is DeviceKind.BLOCK:
        medium = BlockDevice(facts.resolved)
    else:
        medium = ImageFile(facts.resolved, size, new=facts.kind is DeviceKind.NEW)
    try:
        if facts.kind is not DeviceKind.NEW:
            _refuse_another(facts, _identity(medium))
        _refuse_used(facts, medium)
        if isinstance(medium, ImageFile):
            medium.make_private()
    except BootwrightError:
        medium.close()
        raise
    return Card(medium)


class Card:
    """An opened destination; a context manager.

    The methods are called in the order in which they stand here (``discard`` may be
    left out); another order is a mistake of the caller and a ``RuntimeError``. All of
    them raise ``FailedError`` when the medium fails, saying which sectors and what to do.
    """

    def __init__(self, medium: Medium) -> None:
        self.counters = Counters()
        self._medium = medium
        self._state = _State.OPEN
        self._extents: tuple[Extent, ...] = ()
        self._sources: Mapping[str, Path] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def size(self) -> int:
        """Bytes of the card."""
        return self._medium.size

    def mark_unfinished(self) -> None:
        """Make sector 0 say that the card is unfinished; then drop a file's old content.

        Returns when the mark is on the medium.
        """
        self._need(_State.OPEN)
        self._put_sector_0(UNFINISHED.ljust(SECTOR, b"\0"))
        self._flush()
        with copy_verify.failing(self._medium, "resize"):
            self._medium.empty()
        self._state = _State.MARKED

    def discard(self) -> bool:
        """Tell the card that its old content is not needed, sector 0 excepted.

        Returns:
            Whether the card can do that. Nothing depends on it but its speed and age.
        """
        self._need(_State.MARKED)
        with copy_verify.failing(self._medium, "discard"):
            return self._medium.discard()

    def write(self, extents: Iterable[Extent], sources: Mapping[str, Path], meter: Meter) -> None:
        """Write the extents, and nothing else.

        Args:
            extents: sorted and disjoint (:func:`bootwright.core.extents.flatten`), aligned to
                sectors, without sector 0. A source may end within its last sector; zeros follow.
            sources: the file behind each name in the extents.
            meter: counts the bytes written; the total is that of the extents.

        Raises:
            InputError: a source cannot be read or is too short.
            FailedError: the medium failed.
        """
        self._need(_State.MARKED)
        self._extents, self._sources = tuple(extents), dict(sources)
        _check(self._extents, self.size)
        self.counters.mapped = total(self._extents)
        self._copy(self._extents, meter)
        self._state = _State.WRITTEN

    def verify(self, meter: Meter) -> None:
        """Read all that was written back from the medium and compare it.

        What differs is written again, up to :data:`REWRITES` times.

        Args:
            meter: counts the bytes compared; the total is that of :meth:`write`.

        Raises:
            FailedError: a range still differs, names its sectors; or a read failed.
        """
        self._need(_State.WRITTEN)
        bad = self._compare(self._extents, meter)
        for _ in range(REWRITES):
            if bad:
                self._copy(bad)
                bad = self._compare(bad)
        if bad:
            raise _wrong(self._medium, bad)
        self._state = _State.VERIFIED

    def write_table(self, mbr: bytes) -> bool:
        """Write sector 0, which makes the card a finished one, and read it back.

        Args:
            mbr: 512 bytes that end in 0x55 0xAA.

        Returns:
            Whether the kernel has read the new table; when not, pulling the card
            out and putting it in again helps.
        """
        if len(mbr) != SECTOR or not mbr.endswith(b"\x55\xaa"):
            raise ValueError("not a boot sector")
        self._need(_State.VERIFIED)
        for _ in range(1 + REWRITES):
            self._put_sector_0(mbr)
            self._flush()
            if self._sector_0_is(mbr):
                self._state = _State.FINISHED
                return self._medium.reread_table()
        raise _wrong(self._medium, [_SECTOR_0])

    def close(self) -> None:
        """Close the destination; an unfinished card stays marked as such."""
        self._medium.close()

    def _need(self, state: _State) -> None:
        if self._state is not state:
            raise RuntimeError(f"the card is {self._state.name}, not {state.name}")

    def _copy(self, extents: Iterable[Extent], meter: Meter | None = None) -> None:
        def done(count: int) -> None:
            self.counters.written += count
            if meter:
                meter.advance(count)

        with copy_verify.Sources(self._sources, self._extents) as sources:
            copy_verify.write(self._medium, sources, extents, done)

    def _compare(self, extents: Iterable[Extent], meter: Meter | None = None) -> tuple[Extent, ...]:
        def done(count: int) -> None:
            self.counters.verified += count
            if meter:
                meter.advance(count)

        self._flush()
        with copy_verify.Sources(self._sources, self._extents) as sources:
            return flatten([copy_verify.compare(self._medium, sources, extents, done)])

    def _flush(self) -> None:
        with copy_verify.failing(self._medium, "flush"):
            self._medium.flush()

    def _put_sector_0(self, content: bytes) -> None:
        buffer = _buffer(content)
        with copy_verify.failing(self._medium, "write", _SECTOR_0):
            self._medium.write(buffer.view, 0)

    def _sector_0_is(self, content: bytes) -> bool:
        found = Buffer(SECTOR)
        with copy_verify.failing(self._medium, "read back", _SECTOR_0):
            self._medium.read(found.view, 0)
        return same(_buffer(content), found, SECTOR)


_SECTOR_0 = Extent(0, SECTOR, None)


def _buffer(content: bytes) -> Buffer:
    buffer = Buffer(len(content))
    buffer.view[:] = content
    return buffer


def _identity(opened: BlockDevice | ImageFile) -> Identity:
    """Return the identity of what was opened, whatever its path names by now."""
    if isinstance(opened, ImageFile):
        return file_identity(os.fstat(opened.fd))
    now = identify(opened.path)
    diskseq = opened.diskseq() if now.diskseq is not None else None
    return Identity(opened.node, opened.size, now.model, now.serial, diskseq)


def _refuse_another(facts: DeviceFacts, now: Identity) -> None:
    if now != facts.identity:
        raise RefusedError(
            f"{facts.path}: it is not what it was when it was inspected (then "
            f"{facts.identity}, now {now}); nothing was changed, start again"
        )


def _refuse_used(facts: DeviceFacts, opened: BlockDevice | ImageFile) -> None:
    """Refuse what something uses since it was inspected, where opening it takes no lock."""
    node = opened.node if isinstance(opened, BlockDevice) else _identity(opened).node
    if used := used_now(node):
        raise RefusedError(
            f"{facts.path}: it is now {used[0]}; nothing was changed; release it first"
        )


def _wrong(medium: Medium, bad: Iterable[Extent]) -> FailedError:
    return FailedError(
        f"{medium.path}: {copy_verify.sector_names(tuple(bad))} read back wrong, also after "
        f"{REWRITES} rewrites; use another card. The card is unfinished."
    )


def _check(extents: tuple[Extent, ...], size: int) -> None:
    """Refuse a map that is not sorted, disjoint, aligned, and behind sector 0."""
    for extent in extents:
        if extent.offset % SECTOR or extent.length % SECTOR:
            raise ValueError(f"not aligned to sectors: {extent}")
        if extent.offset < SECTOR or extent.end > size:
            raise ValueError(f"covers sector 0 or leaves a card of {size} bytes: {extent}")
    for before, after in pairwise(extents):
        if before.end > after.offset:
            raise ValueError(f"not sorted and disjoint: {before}, {after}")
