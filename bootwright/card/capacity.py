"""Where marks are written to find out whether a card has the size that it claims.

Cards with a false size exist. What is written behind their real size is lost, or lands on another
place, usually because the controller ignores the upper bits of the address.
"""

import math

from bootwright.card.block_device import UNFINISHED_MARK
from bootwright.core.units import MIB, SECTOR

GRAIN = MIB
"""Bytes: a real size that is a multiple of it is found exactly."""


def marked_places(size: int) -> tuple[int, ...]:
    """Return the offsets of the sectors that are marked on a card of ``size`` bytes, ascending.

    They are a dense row of multiples of :data:`GRAIN` from the start, then multiples of the length
    of this row, and the last sector. The length is a power of two, so every power of two from
    :data:`GRAIN` is among them. If addresses wrap around at the real size R, a multiple of
    :data:`GRAIN`, the first place behind R lands in the row, on a mark. The length is near the
    square root of the size, which needs the fewest marks: 512 for 64 GiB.
    """
    row = 1 << max(0, math.ceil(math.log2(max(size, GRAIN) / GRAIN) / 2))
    places = {*range(0, min(row * GRAIN, size), GRAIN), *range(0, size, row * GRAIN)}
    return tuple(sorted({*places, size - SECTOR}))


def row_bytes(size: int) -> int:
    """Return the length of a row of marks, one in each sector, near the start of the card.

    If addresses wrap around at any real size, and places at this distance from each other are read,
    the first one behind it lands in the row. A longer row takes longer to write, a shorter one has
    more places to read: 16 MiB and 4,096 of them for 64 GiB, some seconds each.
    """
    return max(4 * MIB, 1 << math.ceil(math.log2(64 * math.sqrt(size))))


def make_mark(place: int, run: str) -> bytes:
    """Return the sector that is written at ``place``, 512 bytes.

    It starts as an unfinished card does: a mark may land on sector 0 of a card with a false size.

    Args:
        place: offset in bytes.
        run: random letters and digits, so that the marks of an earlier run do not count.
    """
    return (UNFINISHED_MARK + f"{run} {place}\n".encode()).ljust(SECTOR, b"\0")


def place_of(sector: bytes, run: str) -> int | None:
    """Return the place for which the mark in this sector was written; ``None`` if it is no mark."""
    text = sector.removeprefix(UNFINISHED_MARK).rstrip(b"\0\n")
    name, _, place = text.partition(b" ")
    return int(place) if name == run.encode() and place.isdigit() else None


def wrapped_size(place: int, found: int | None) -> int | None:
    """Return the real size of a card whose addresses wrap around.

    Args:
        place: the lowest place that has not its own mark.
        found: the place whose mark is there instead.

    Returns:
        Bytes; ``None`` if the addresses do not wrap around: the content was lost.
    """
    return place - found if found is not None and found < place else None
