"""Finding out whether a card has the size that it claims, by writing and reading marks."""

import secrets

from bootwright.card.capacity import (
    GRAIN,
    make_mark,
    marked_places,
    place_of,
    row_bytes,
    wrapped_size,
)
from bootwright.card.io import copy_verify
from bootwright.card.io.medium import Buffer, Medium
from bootwright.core.errors import RefusedError
from bootwright.core.units import MIB, SECTOR, format_size
from bootwright.rootfs.byte_ranges import Extent

_OR_SMALLER = "; or it is smaller than it claims"


def check_size(medium: Medium) -> tuple[int, ...]:
    """Write marks all over the card, read them back, and return if each is in its place.

    Sector 0 has the mark of an unfinished card all the time. A mark that is lost, but is right when
    it is written once more, does not count: it may be a single error of the card or the reader. The
    mark of another place does count, because on a card that wraps around a second attempt would
    always succeed.

    Returns:
        The offsets, in bytes, of the marks that were right only at the second attempt.

    Raises:
        RefusedError: the card is smaller than it claims; names the real size.
        FailedError: the medium failed.
    """
    run = secrets.token_hex(8)
    places = marked_places(medium.size)
    # The lowest place is written last, so on a card that wraps around the marks up to the real
    # size are right, and those behind it are wrong.
    for place in reversed(places):
        _write(medium, place, run)
    _flush(medium)
    good = 0
    again: list[int] = []
    for place in places:
        sector = _read(medium, place)
        if sector != make_mark(place, run):
            found = place_of(sector, run)
            if found is not None or not _keeps_mark(medium, place, run):
                wrapped = wrapped_size(place, found)
                raise _too_small(medium, wrapped or _first_lost(medium, good, place, run))
            again.append(place)
        good = place
    _check_wrap(medium, run)
    return tuple(again)


def _check_wrap(medium: Medium, run: str) -> None:
    """Check that no address behind a row of marks wraps around into it, at any number of sectors.

    The marks before find this only if the real size is a multiple of :data:`GRAIN`.
    """
    row = row_bytes(medium.size)
    # The first MiB is not discarded afterwards.
    end = min(MIB + row, medium.size)
    buffer = Buffer(MIB)
    for start in range(MIB, end, MIB):
        length = min(MIB, end - start)
        for at in range(0, length, SECTOR):
            buffer.view[at : at + SECTOR] = make_mark(start + at, run)
        with copy_verify.explain_errors(medium, "write", Extent(start, length, None), _OR_SMALLER):
            medium.write(buffer.view[:length], start)
    _flush(medium)
    for place in (*range(end, medium.size, row), medium.size - SECTOR):
        found = place_of(_read(medium, place), run)
        if found is not None and found < place:
            raise _too_small(medium, place - found)


def _first_lost(medium: Medium, good: int, lost: int, run: str) -> int:
    """Return the first multiple of :data:`GRAIN` where a mark is lost, between the two places."""
    while lost - good > GRAIN:
        middle = (good + lost) // 2 // GRAIN * GRAIN
        middle = middle if middle > good else good + GRAIN
        if _keeps_mark(medium, middle, run):
            good = middle
        else:
            lost = middle
    return lost


def _keeps_mark(medium: Medium, place: int, run: str) -> bool:
    _write(medium, place, run)
    _flush(medium)
    return _read(medium, place) == make_mark(place, run)


def _too_small(medium: Medium, real: int) -> RefusedError:
    return RefusedError(
        f"{medium.path}: it claims to have {format_size(medium.size)} ({medium.size} bytes), but"
        f" it stores at most {format_size(real)} ({real} bytes); it is a counterfeit or a broken"
        " card: use another. The card is unfinished."
    )


def _write(medium: Medium, place: int, run: str) -> None:
    buffer = Buffer(SECTOR)
    buffer.view[:] = make_mark(place, run)
    with copy_verify.explain_errors(medium, "write", Extent(place, SECTOR, None), _OR_SMALLER):
        medium.write(buffer.view, place)


def _read(medium: Medium, place: int) -> bytes:
    buffer = Buffer(SECTOR)
    with copy_verify.explain_errors(medium, "read back", Extent(place, SECTOR, None), _OR_SMALLER):
        medium.read(buffer.view, place)
    return bytes(buffer.view)


def _flush(medium: Medium) -> None:
    with copy_verify.explain_errors(medium, "flush"):
        medium.flush()
