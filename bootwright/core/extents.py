"""Which bytes of a card come from where: extents and the arithmetic of ranges.

Everything is in bytes. A span is half open: ``start`` belongs to it, ``end`` does
not. The functions that take spans take them in any order, also overlapping, and
return them sorted, disjoint and with neighbours merged.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple


class Span(NamedTuple):
    """The bytes from ``start`` up to but not including ``end``."""

    start: int
    end: int


@dataclass(frozen=True)
class Extent:
    """``length`` bytes at ``offset`` of the card, and where they come from.

    Attributes:
        offset: first byte on the card.
        length: bytes, more than 0.
        source: the name of a source; ``None`` when the bytes must read as zero.
        source_offset: where the bytes start in the source; 0 without a source.
    """

    offset: int
    length: int
    source: str | None
    source_offset: int = 0

    def __post_init__(self) -> None:
        if self.offset < 0 or self.length <= 0 or self.source_offset < 0:
            raise ValueError(f"not a range of bytes: {self}")
        if self.source is None and self.source_offset:
            raise ValueError(f"zeros have no offset: {self}")

    @property
    def end(self) -> int:
        """The first byte of the card behind the extent."""
        return self.offset + self.length

    @property
    def span(self) -> Span:
        """The bytes of the card that the extent covers."""
        return Span(self.offset, self.end)

    def part(self, start: int, end: int) -> "Extent":
        """Return the piece between ``start`` and ``end`` of the card, both inside."""
        skipped = start - self.offset if self.source is not None else 0
        return Extent(start, end - start, self.source, self.source_offset + skipped)


def total(ranges: Iterable[Extent | Span]) -> int:
    """Return how many bytes the ranges cover; they must be disjoint."""
    return sum(
        each.length if isinstance(each, Extent) else each.end - each.start for each in ranges
    )


def merge(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return the spans sorted, disjoint, with neighbours merged, and no empty one."""
    merged: list[Span] = []
    for span in sorted(span for span in spans if span.start < span.end):
        if merged and span.start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return tuple(merged)


def intersect(left: Iterable[Span], right: Iterable[Span]) -> tuple[Span, ...]:
    """Return the bytes that are in both."""
    lefts, rights = merge(left), merge(right)
    both: list[Span] = []
    i = j = 0
    while i < len(lefts) and j < len(rights):
        both.append(Span(max(lefts[i].start, rights[j].start), min(lefts[i].end, rights[j].end)))
        # The one that ends first cannot meet anything further.
        if lefts[i].end < rights[j].end:
            i += 1
        else:
            j += 1
    return merge(both)


def subtract(left: Iterable[Span], right: Iterable[Span]) -> tuple[Span, ...]:
    """Return the bytes of ``left`` that are not in ``right``."""
    lefts = merge(left)
    if not lefts:
        return ()
    return intersect(lefts, _gaps(right, lefts[0].start, lefts[-1].end))


def flatten(layers: Iterable[Iterable[Extent]]) -> tuple[Extent, ...]:
    """Return one map of the card; a later layer wins where layers overlap.

    The result is sorted and disjoint, and neighbours that continue each other are
    one extent.

    Raises:
        ValueError: two extents of one layer overlap.
    """
    result: list[Extent] = []
    for layer in layers:
        upper = sorted(layer, key=lambda extent: extent.offset)
        for before, after in pairwise(upper):
            if before.end > after.offset:
                raise ValueError(f"two extents of one layer overlap: {before} and {after}")
        result = sorted([*_outside(result, upper), *upper], key=lambda extent: extent.offset)
    return _join(result)


def _gaps(spans: Iterable[Span], start: int, end: int) -> list[Span]:
    """Return what ``spans`` leave free between ``start`` and ``end``."""
    gaps = []
    for span in merge(spans):
        gaps.append(Span(start, min(span.start, end)))
        start = max(start, span.end)
    return [*gaps, Span(start, end)]


def _outside(lower: Sequence[Extent], upper: Sequence[Extent]) -> list[Extent]:
    """Return the pieces of ``lower`` that ``upper`` leaves visible; both are sorted."""
    pieces = []
    first = 0
    for extent in lower:
        while first < len(upper) and upper[first].end <= extent.offset:
            first += 1
        start = extent.offset
        index = first
        while index < len(upper) and upper[index].offset < extent.end:
            if start < upper[index].offset:
                pieces.append(extent.part(start, upper[index].offset))
            start = upper[index].end
            index += 1
        if start < extent.end:
            pieces.append(extent.part(start, extent.end))
    return pieces


def _join(extents: Sequence[Extent]) -> tuple[Extent, ...]:
    """Return sorted, disjoint extents with those joined that continue each other."""
    joined: list[Extent] = []
    for extent in extents:
        last = joined[-1] if joined else None
        if last is not None and _continues(last, extent):
            joined[-1] = Extent(
                last.offset, last.length + extent.length, last.source, last.source_offset
            )
        else:
            joined.append(extent)
    return tuple(joined)


def _continues(before: Extent, after: Extent) -> bool:
    if before.end != after.offset or before.source != after.source:
        return False
    return before.source is None or before.source_offset + before.length == after.source_offset
