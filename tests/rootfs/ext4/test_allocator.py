"""Free runs, bitmaps and allocation."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootwright.rootfs.ext4.allocator import (
    Allocator,
    ImageFullError,
    Run,
    bitmap_of,
    free_runs,
    merge_runs,
    split_at_multiples,
)

SIZE = 16
FIRST = 1000


def numbers(runs: object) -> list[int]:
    return [number for start, count in runs for number in range(start, start + count)]  # type: ignore[attr-defined]


sets = st.sets(st.integers(0, 8 * SIZE - 1))


def runs_of(free: set[int]) -> list[Run]:
    return list(merge_runs(Run(number, 1) for number in free))


@given(sets)
def test_bitmap_and_runs_are_inverse(free: set[int]) -> None:
    runs = [Run(FIRST + run.start, run.length) for run in runs_of(free)]
    bitmap = bitmap_of(runs, FIRST, SIZE)
    used = {i for i in range(8 * SIZE) if bitmap[i // 8] >> i % 8 & 1}
    assert used == set(range(8 * SIZE)) - free
    assert free_runs(bitmap, FIRST, 8 * SIZE) == runs


def test_blocks_after_the_end_of_a_short_group_are_not_free() -> None:
    assert free_runs(bytes(SIZE), 0, 10) == [Run(0, 10)]
    assert bitmap_of([Run(0, 10)], 0, 4) == b"\x00\xfc\xff\xff"


@given(sets)
def test_merged_runs_are_not_adjacent(free: set[int]) -> None:
    runs = runs_of(free)
    assert numbers(runs) == sorted(free)
    assert all(a.start + a.length < b.start for a, b in pairwise(runs))


@given(st.integers(0, 200), st.integers(0, 200), st.integers(1, 50))
def test_runs_are_split_at_multiples(start: int, count: int, size: int) -> None:
    parts = list(split_at_multiples(Run(start, count), size))
    assert numbers(parts) == list(range(start, start + count))
    assert all(p.start // size == (p.start + p.length - 1) // size for p in parts)


@given(sets, st.lists(st.tuples(st.integers(0, 40), st.booleans())), st.integers(1, 40))
def test_no_number_is_allocated_twice_and_none_is_lost(
    free: set[int], requests: list[tuple[int, bool]], group: int
) -> None:
    allocator = Allocator(runs_of(free))
    left = set(free)
    for count, is_returned in requests:
        if count > len(left):
            with pytest.raises(ImageFullError):
                allocator.take(count)
            continue
        runs = allocator.take(count)
        got = numbers(runs)
        assert len(got) == len(set(got)) == count
        assert left >= set(got)
        assert all(run.length for run in runs)
        if is_returned:
            allocator.give_back(runs)
        else:
            left -= set(got)
        assert allocator.free == len(left)
    remaining = allocator.remaining(group)
    assert sorted(n for runs in remaining.values() for n in numbers(runs)) == sorted(left)
    assert all(n // group == key for key, runs in remaining.items() for n in numbers(runs))


def test_files_follow_each_other_and_freed_blocks_come_last() -> None:
    allocator = Allocator([Run(10, 10), Run(30, 10)])
    first = allocator.take(4)
    assert first == (Run(10, 4),)
    allocator.give_back(first)
    assert allocator.take(10) == (Run(14, 6), Run(30, 4))
    assert allocator.take(8) == (Run(34, 6), Run(10, 2))
    assert allocator.take_one() == 12
    assert allocator.take(0) == ()
