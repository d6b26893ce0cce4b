"""Cards that claim to be larger than they are."""

import pytest

from bootwright.card.block_device import is_unfinished
from bootwright.card.capacity import GRAIN, marked_places
from bootwright.card.io.capacity import check_size
from bootwright.core.errors import FailedError, RefusedError
from bootwright.core.units import GIB, MIB, SECTOR


class LyingCard:
    """A card that stores less than it claims, in sectors.

    Attributes:
        mode: what happens behind the real size: ``drop`` loses it and reads zeros, ``ones`` reads
            0xFF, ``wrap`` starts again, ``error`` fails; ``same`` has one sector for all.
    """

    path = "/dev/sdx"
    is_device = True

    def __init__(self, mode: str, size: int, real: int) -> None:
        self.mode, self.size, self.real = mode, size, real
        self.stored: dict[int, bytes] = {}
        self.writes = 0

    def _place(self, offset: int) -> int | None:
        if self.mode == "same":
            return 0
        if offset < self.real or self.mode == "wrap":
            return offset % self.real
        if self.mode == "error":
            raise OSError(5, "Input/output error")
        return None

    def write(self, buffer: memoryview, offset: int) -> None:
        assert offset % SECTOR == 0 and offset + len(buffer) <= self.size
        self.writes += 1
        for at in range(0, len(buffer), SECTOR):
            place = self._place(offset + at)
            if place is not None:
                self.stored[place] = bytes(buffer[at : at + SECTOR])
        if 0 in self.stored:
            # A run that is killed now leaves a card that is recognised as unfinished.
            assert is_unfinished(self.stored[0])

    def read(self, buffer: memoryview, offset: int) -> None:
        place = self._place(offset)
        nothing = (b"\xff" if self.mode == "ones" else b"\0") * SECTOR
        buffer[:] = nothing if place is None else self.stored.get(place, nothing)

    def zero(self, offset: int, length: int) -> None:
        raise NotImplementedError

    def drop_content(self) -> None:
        raise NotImplementedError

    def discard(self) -> bool:
        raise NotImplementedError

    def flush(self) -> None:
        pass

    def reread_table(self) -> bool:
        raise NotImplementedError

    def close(self) -> None:
        pass


REAL = [
    *(4 * MIB, 7 * MIB, 32 * MIB, 1000 * MIB, GIB, GIB + MIB, 3 * GIB + 5 * MIB, 8 * GIB),
    31914983424 // MIB * MIB,
    63 * GIB,
]


@pytest.mark.parametrize("size", [64 * GIB, 64 * GIB - 3 * MIB - SECTOR, 250059350016])
@pytest.mark.parametrize("real", REAL)
@pytest.mark.parametrize("mode", ["drop", "ones", "wrap"])
def test_the_real_size_is_named(mode: str, real: int, size: int) -> None:
    card = LyingCard(mode, size, real)
    with pytest.raises(RefusedError) as caught:
        check_size(card)
    assert f"it claims to have {size / GIB:.1f} GiB ({size} bytes)" in str(caught.value)
    assert f"it stores at most {format_bytes(real)}" in str(caught.value)
    assert is_unfinished(card.stored[0])


@pytest.mark.parametrize(
    "real", [1_953_125 * SECTOR, 7_948_206_080 + SECTOR, 64 * GIB - 5 * MIB - SECTOR]
)
def test_addresses_that_wrap_around_at_any_sector(real: int) -> None:
    with pytest.raises(RefusedError, match=rf"it stores at most .* \({real} bytes\)"):
        check_size(LyingCard("wrap", 64 * GIB, real))


def format_bytes(size: int) -> str:
    unit, name = (GIB, "GiB") if size >= GIB else (MIB, "MiB")
    return f"{size / unit:.1f} {name} ({size} bytes)"


def test_a_card_that_has_the_same_sector_everywhere() -> None:
    with pytest.raises(RefusedError, match=r"at most 1\.0 MiB"):
        check_size(LyingCard("same", 64 * GIB, 64 * GIB))


def test_a_card_whose_end_fails() -> None:
    with pytest.raises(
        FailedError,
        match=r"cannot write sector .*or it is smaller than it claims\. The card is unfinished",
    ):
        check_size(LyingCard("error", 64 * GIB, GIB))


class FlippingCard(LyingCard):
    """A card of the size that it claims; it reads wrong the first ``times`` times at ``at``."""

    def __init__(self, at: int, times: int) -> None:
        super().__init__("drop", 64 * GIB, 64 * GIB)
        self.at, self.times = at, times

    def read(self, buffer: memoryview, offset: int) -> None:
        super().read(buffer, offset)
        if offset == self.at and self.times:
            self.times -= 1
            buffer[100] ^= 1


@pytest.mark.parametrize("at", [0, 3 * MIB, 32 * GIB, 64 * GIB - SECTOR])
def test_a_single_wrong_read_is_no_counterfeit(at: int) -> None:
    assert check_size(FlippingCard(at, 1)) == (at,)
    assert check_size(FlippingCard(at, 0)) == ()


def test_a_place_that_stays_wrong_is_refused() -> None:
    with pytest.raises(RefusedError, match="a counterfeit or a broken card"):
        check_size(FlippingCard(32 * GIB, 1000))


@pytest.mark.parametrize("size", [SECTOR, 8 * MIB, 31914983424, 64 * GIB, 2048 * GIB])
def test_a_card_that_has_its_size(size: int) -> None:
    """With marks of an earlier run on it."""
    card = LyingCard("drop", size, size)
    check_size(card)
    check_size(card)


@pytest.mark.parametrize(("size", "most"), [(8 * GIB, 200), (64 * GIB, 520), (256 * GIB, 1030)])
def test_the_marks_are_few_and_at_all_powers_of_two(size: int, most: int) -> None:
    places = marked_places(size)
    assert len(places) <= most
    assert {0, size - SECTOR} <= set(places)
    assert {1 << bit for bit in range(GRAIN.bit_length() - 1, size.bit_length() - 1)} <= set(places)
    assert list(places) == sorted(places)


def test_a_card_that_lost_only_its_last_sector() -> None:
    card = LyingCard("drop", 64 * GIB, 64 * GIB - SECTOR)
    with pytest.raises(RefusedError, match=r"stores at most"):
        check_size(card)
