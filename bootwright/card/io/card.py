"""Writing a card so that an unfinished card never looks like a finished one.

The order is fixed: sector 0 is marked as unfinished before anything else is written, it
is never discarded, and it gets the partition table only after every written byte was
read back. If power fails in between, the card is marked as unfinished, has no
partition table that a board or a kernel would use, and the next run writes all of it again.
"""

from collections.abc import Iterable, Mapping
from enum import Enum, auto
from itertools import pairwise
from pathlib import Path
from typing import Self

from bootwright.card.block_device import UNFINISHED_MARK, DeviceFacts
from bootwright.card.io import capacity, copy_verify
from bootwright.card.io.disk_by_sudo import DiskHelper
from bootwright.card.io.medium import Buffer, Medium, buffers_equal
from bootwright.card.io.opening import open_medium
from bootwright.card.outcome import Counters
from bootwright.core.errors import FailedError
from bootwright.core.report import Meter
from bootwright.core.units import SECTOR
from bootwright.rootfs.byte_ranges import Extent, flatten, total

REWRITES = 2
"""How often a range is written again if it does not read back as it was written."""


class _State(Enum):
    OPEN = auto()
    MARKED = auto()
    WRITTEN = auto()
    VERIFIED = auto()
    FINISHED = auto()


def open_card(facts: DeviceFacts, size: int, helper: DiskHelper | None = None) -> "Card":
    """Open the destination as :func:`bootwright.card.io.opening.open_medium` does.

    If there is a ``helper``, it does that, with the facts that it has read itself.
    """
    return Card(helper.open() if helper else open_medium(facts, size))


class Card:
    """An opened destination; a context manager.

    The methods have to be called in the order of their definitions here (``check_size`` and
    ``discard`` are optional); in another order they raise ``RuntimeError``. When the medium fails,
    all of them raise ``FailedError`` with the sectors and what to do.
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
        """Write the unfinished mark to sector 0; then drop the old content of an image file.

        It returns after the mark is on the medium.
        """
        self._require(_State.OPEN)
        self._put_sector_0(_MARKED)
        self._flush()
        with copy_verify.explain_errors(self._medium, "resize"):
            self._medium.drop_content()
        self._state = _State.MARKED

    @property
    def is_device(self) -> bool:
        """Whether it is hardware, whose size has to be checked; ``False`` for an image file."""
        return self._medium.is_device

    def check_size(self) -> str:
        """Check that a disk has the size that it claims; do nothing for an image file.

        It writes sectors all over the card; sector 0 remains marked as unfinished.

        Returns:
            A warning about sectors that were wrong at first; empty if there are none.

        Raises:
            RefusedError: it is smaller; names the real size.
        """
        self._require(_State.MARKED)
        again = capacity.check_size(self._medium) if self.is_device else ()
        if not again:
            return ""
        sectors = copy_verify.sector_names([Extent(place, SECTOR, None) for place in again])
        return (
            f"{self._medium.path}: {sectors} read back wrong, and right when written once more;"
            " the card or the reader may soon fail"
        )

    def discard(self) -> bool:
        """Tell the card that its old content is not needed, except sector 0.

        Returns:
            Whether the card supports that. It only makes the card faster and last longer.
        """
        self._require(_State.MARKED)
        with copy_verify.explain_errors(self._medium, "discard"):
            return self._medium.discard()

    def write(self, extents: Iterable[Extent], sources: Mapping[str, Path], meter: Meter) -> None:
        """Write the extents and nothing else.

        Args:
            extents: sorted and disjoint (:func:`bootwright.rootfs.byte_ranges.flatten`), aligned to
                sectors, without sector 0. If a source ends within its last sector, zeros follow.
            sources: the file behind each name in the extents.
            meter: counts the bytes written; the total is that of the extents.

        Raises:
            InputError: a source cannot be read or is too short.
            FailedError: the medium failed.
        """
        self._require(_State.MARKED)
        self._extents, self._sources = tuple(extents), dict(sources)
        _check_extents(self._extents, self.size)
        self.counters.mapped = total(self._extents)
        self._copy(self._extents, meter)
        self._state = _State.WRITTEN

    def verify(self, meter: Meter) -> None:
        """Read all that was written back from the medium and compare it.

        What differs is written again, up to :data:`REWRITES` times.

        Args:
            meter: counts the bytes compared; the total is that of :meth:`write`.

        Raises:
            FailedError: a range still differs (the message has its sectors), or a read failed.
        """
        self._require(_State.WRITTEN)
        bad = self._compare(self._extents, meter)
        for _ in range(REWRITES):
            if bad:
                self._copy(bad)
                bad = self._compare(bad)
        if bad:
            raise _verification_error(self._medium, bad)
        self._state = _State.VERIFIED

    def write_table(self, mbr: bytes) -> bool:
        """Write sector 0, which completes the card, and read it back.

        If that fails or is interrupted, the unfinished mark is written again. Afterwards the card
        is finished, whatever happens.

        Args:
            mbr: 512 bytes that end in 0x55 0xAA.

        Returns:
            Whether the kernel has read the new table; if not, it does when the card is removed
            and inserted again.
        """
        if len(mbr) != SECTOR or not mbr.endswith(b"\x55\xaa"):
            raise ValueError("not a boot sector")
        self._require(_State.VERIFIED)
        try:
            self._put_table(mbr)
        except BaseException as error:
            try:
                self._put_sector_0(_MARKED)
                self._flush()
            except FailedError:
                raise FailedError(
                    f"{error}\n{self._medium.path}: the mark of an unfinished card could not be"
                    " written again, so the card may look finished: flash it again before it is"
                    " used"
                ) from error
            raise
        self._state = _State.FINISHED
        return self._medium.reread_table()

    def close(self) -> None:
        """Close the destination; an unfinished card keeps its mark."""
        self._medium.close()

    def _put_table(self, mbr: bytes) -> None:
        for _ in range(1 + REWRITES):
            self._put_sector_0(mbr)
            self._flush()
            if self._sector_0_is(mbr):
                return
        raise _verification_error(self._medium, [_SECTOR_0])

    def _require(self, state: _State) -> None:
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
        with copy_verify.explain_errors(self._medium, "flush"):
            self._medium.flush()

    def _put_sector_0(self, content: bytes) -> None:
        buffer = _buffer(content)
        with copy_verify.explain_errors(self._medium, "write", _SECTOR_0):
            self._medium.write(buffer.view, 0)

    def _sector_0_is(self, content: bytes) -> bool:
        found = Buffer(SECTOR)
        with copy_verify.explain_errors(self._medium, "read back", _SECTOR_0):
            self._medium.read(found.view, 0)
        return buffers_equal(_buffer(content), found, SECTOR)


_SECTOR_0 = Extent(0, SECTOR, None)
_MARKED = UNFINISHED_MARK.ljust(SECTOR, b"\0")


def _buffer(content: bytes) -> Buffer:
    buffer = Buffer(len(content))
    buffer.view[:] = content
    return buffer


def _verification_error(medium: Medium, bad: Iterable[Extent]) -> FailedError:
    return FailedError(
        f"{medium.path}: {copy_verify.sector_names(tuple(bad))} read back wrong, also after "
        f"{REWRITES} rewrites; use another card. The card is unfinished."
    )


def _check_extents(extents: tuple[Extent, ...], size: int) -> None:
    """Raise unless the extents are sorted, disjoint, aligned to sectors, and after sector 0.

    Raises:
        ValueError: they are not; that is an error of the caller.
    """
    for extent in extents:
        if extent.offset % SECTOR or extent.length % SECTOR:
            raise ValueError(f"not aligned to sectors: {extent}")
        if extent.offset < SECTOR or extent.end > size:
            raise ValueError(f"covers sector 0 or leaves a card of {size} bytes: {extent}")
    for before, after in pairwise(extents):
        if before.end > after.offset:
            raise ValueError(f"not sorted and disjoint: {before}, {after}")
