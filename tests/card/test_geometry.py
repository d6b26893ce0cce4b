"""Where partitions are, and what must read as zero."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootwright.card.geometry import needed_bytes, plan_geometry
from bootwright.card.plan import zero_extents
from bootwright.core import paths
from bootwright.core.board import load_board
from bootwright.core.config import load_config
from bootwright.core.errors import InputError, RefusedError
from bootwright.core.units import GIB, MIB, SECTOR
from bootwright.rootfs.size import MAX_SECTORS

BOARD = load_board(paths.checkout() / "board", "odroid-xu3")
TARGET = load_config(paths.checkout(), "odroid").target


@given(
    st.integers(min_value=64, max_value=8192),
    st.one_of(st.just("rest"), st.integers(64, 8192).map(lambda mib: f"{mib}MiB")),
    st.integers(min_value=SECTOR, max_value=300 * GIB // SECTOR),
)
def test_partitions_are_aligned_disjoint_and_inside(root: int, data: str, sectors: int) -> None:
    target = TARGET.model_copy(update={"root_size": f"{root}MiB", "docker_data_size": data})
    size = sectors * SECTOR
    if size < needed_bytes(BOARD, target):
        with pytest.raises(RefusedError, match=rf"{size} bytes.*needs"):
            plan_geometry(BOARD, target, size)
        return
    geometry = plan_geometry(BOARD, target, size)
    first, second = geometry.root, geometry.docker_data
    assert first.sector == 8192
    assert first.sectors * SECTOR == root * MIB
    assert second.sector == first.end
    assert second.end <= sectors
    assert second.sector % 2048 == second.sectors % 2048 == 0
    if data != "rest":
        assert second.sectors * SECTOR == int(data.removesuffix("MiB")) * MIB
    else:
        assert sectors - second.end < 2048
    covered = zero_extents(geometry)
    assert covered[0].offset == SECTOR  # sector 0 is the partition table's
    assert covered[-1].end == sectors * SECTOR
    assert all(a.end <= b.offset for a, b in pairwise(covered))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("docker_data_size", "1MiB"),
        ("docker_data_size", "16MiB"),  # the LUKS header alone
        ("docker_data_size", "0"),
        ("root_size", "0"),
        ("root_size", "3TiB"),
        ("docker_data_size", "2047GiB"),  # with the root more than a table can say
    ],
)
def test_an_impossible_size_is_an_error_before_anything_else(key: str, value: str) -> None:
    with pytest.raises(InputError, match=key):
        needed_bytes(BOARD, TARGET.model_copy(update={key: value}))


def test_partitions_end_before_2_tib() -> None:
    geometry = plan_geometry(BOARD, TARGET, 3 * 1024 * GIB)
    assert geometry.docker_data.end <= MAX_SECTORS
