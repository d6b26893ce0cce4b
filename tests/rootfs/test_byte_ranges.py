"""Extents against a model that keeps one value for every byte."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootwright.rootfs.byte_ranges import Extent, Span, flatten, intersect, merge, subtract, total

SIZE = 60

spans = st.lists(
    st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(lambda pair: Span(*sorted(pair))),
    max_size=8,
)


@st.composite
def layers(draw: st.DrawFn) -> list[Extent]:
    """A layer: disjoint extents in any order."""
    cuts = sorted(draw(st.sets(st.integers(0, SIZE), max_size=10)))
    made = []
    for start, end in zip(cuts[::2], cuts[1::2], strict=False):
        source = draw(st.sampled_from([None, "a", "b"]))
        at = draw(st.integers(0, 5)) if source else 0
        made.append(Extent(start, end - start, source, at))
    return draw(st.permutations(made))


def covered(ranges: list[Span] | tuple[Span, ...]) -> set[int]:
    return {byte for span in ranges for byte in range(span.start, span.end)}


def is_normal(ranges: tuple[Span, ...]) -> bool:
    return all(span.start < span.end for span in ranges) and all(
        left.end < right.start for left, right in pairwise(ranges)
    )


def painted(extents: list[Extent] | tuple[Extent, ...]) -> dict[int, tuple[str | None, int]]:
    """What each byte of the card comes from."""
    return {
        extent.offset + i: (extent.source, extent.source_offset + i if extent.source else 0)
        for extent in extents
        for i in range(extent.length)
    }


@given(spans)
def test_merge_keeps_the_bytes(ranges: list[Span]) -> None:
    merged = merge(ranges)
    assert covered(merged) == covered(ranges)
    assert is_normal(merged)
    assert total(merged) == len(covered(ranges))


@given(spans, spans)
def test_intersect_and_subtract_are_those_of_sets(left: list[Span], right: list[Span]) -> None:
    both, rest = intersect(left, right), subtract(left, right)
    assert covered(both) == covered(left) & covered(right)
    assert covered(rest) == covered(left) - covered(right)
    assert is_normal(both)
    assert is_normal(rest)


@given(st.lists(layers(), max_size=4))
def test_in_flatten_later_layers_replace_earlier_ones(stack: list[list[Extent]]) -> None:
    model: dict[int, tuple[str | None, int]] = {}
    for layer in stack:
        model |= painted(layer)
    flat = flatten(stack)
    assert painted(flat) == model
    assert total(flat) == len(model)
    for before, after in pairwise(flat):
        assert before.end <= after.offset
        # Neighbours that continue each other would be one extent.
        joined = painted([Extent(before.offset, before.length + after.length, *_origin(before))])
        assert before.end < after.offset or joined != painted([before, after])


def _origin(extent: Extent) -> tuple[str | None, int]:
    return extent.source, extent.source_offset


def test_a_blob_over_a_gap_over_an_image() -> None:
    image = Extent(0, 100, "image")
    assert flatten([[image], [Extent(10, 20, None)], [Extent(15, 5, "blob")]]) == (
        Extent(0, 10, "image", 0),
        Extent(10, 5, None),
        Extent(15, 5, "blob"),
        Extent(20, 10, None),
        Extent(30, 70, "image", 30),
    )


def test_overlap_within_a_layer_is_an_error() -> None:
    with pytest.raises(ValueError, match="one layer overlap"):
        flatten([[Extent(0, 10, "a"), Extent(9, 2, "b")]])


@pytest.mark.parametrize(
    ("offset", "length", "source", "at"),
    [(-1, 1, "a", 0), (0, 0, "a", 0), (0, 1, "a", -1), (0, 1, None, 1)],
)
def test_impossible_extents_are_refused(
    offset: int, length: int, source: str | None, at: int
) -> None:
    with pytest.raises(ValueError, match=r"bytes|zeros"):
        Extent(offset, length, source, at)


def test_many_extents_are_flattened_fast() -> None:
    lower = [Extent(i * 10, 9, "a", i * 10) for i in range(100_000)]
    upper = [Extent(i * 10 + 3, 2, None) for i in range(100_000)]
    assert len(flatten([lower, upper])) == 300_000
