"""Ranges of bytes on a card, and the source of the bytes in each.

All numbers are bytes. A span includes ``start`` and excludes ``end``. Functions accept
spans in any order, also overlapping ones, and return them sorted, disjoint, and with
adjacent ones merged.
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
    """A range of bytes on the card, and the source of its content.

    Attributes:
        offset: first byte on the card.
        length: bytes, more than 0.
        source: the name of the source; ``None`` if the bytes are to be zero.
        source_offset: the first byte in the source; 0 without a source.
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
        """The first byte of the card after the extent."""
        return self.offset + self.length

    @property
    def span(self) -> Span:
        """The bytes of the card that the extent covers."""
        return Span(self.offset, self.end)

    def part(self, start: int, end: int) -> "Extent":
        """Return the part from ``start`` to ``end`` (bytes of the card, inside the extent)."""
        skipped = start - self.offset if self.source is not None else 0
        return Extent(start, end - start, self.source, self.source_offset + skipped)


def total(ranges: Iterable[Extent | Span]) -> int:
    """Return how many bytes the ranges cover; they must be disjoint."""
    return sum(
        each.length if isinstance(each, Extent) else each.end - each.start for each in ranges
    )


def merge(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return the spans sorted, disjoint, with adjacent ones merged, and without empty ones."""
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
        # The one that ends first overlaps none of the following spans.
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
    """Return the extents of all layers; where layers overlap, the later one is used.

    The result is sorted and disjoint. Adjacent extents whose sources are adjacent too are joined.

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
    """Return the bytes between ``start`` and ``end`` that are in no span."""
    gaps = []
    for span in merge(spans):
        gaps.append(Span(start, min(span.start, end)))
        start = max(start, span.end)
    return [*gaps, Span(start, end)]


def _outside(lower: Sequence[Extent], upper: Sequence[Extent]) -> list[Extent]:
    """Return the parts of ``lower`` that ``upper`` does not cover; both are sorted."""
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
    """Return the extents (sorted and disjoint), with adjacent ones joined where possible."""
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
