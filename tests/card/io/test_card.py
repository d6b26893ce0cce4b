"""The order of writing, verifying and rewriting, on a medium that fails on demand."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bootwright.card.block_device import is_unfinished
from bootwright.card.io import copy_verify
from bootwright.card.io.card import Card
from bootwright.core.errors import FailedError, InputError
from bootwright.core.units import MIB, SECTOR
from bootwright.rootfs.byte_ranges import Extent, flatten, total

SIZE = 8 * MIB
MBR = b"M" * 510 + b"\x55\xaa"
STALE = 0xA5


class Memory:
    """A card in memory, full of old bytes, that can return wrong data, lose writes and fail.

    ``spoil`` sees (verb, offset, buffer) before every access and may change the
    buffer or raise ``OSError``; ``log`` lists what was done.
    """

    def __init__(self) -> None:
        self.path = "/dev/sdx"
        self.size = SIZE
        self.is_device = False
        self.content = bytearray([STALE]) * SIZE
        self.log: list[str] = []
        self.closed = False
        self.spoil: Callable[[str, int, memoryview], None] = lambda verb, offset, buffer: None

    def read(self, buffer: memoryview, offset: int) -> None:
        buffer[:] = self.content[offset : offset + len(buffer)]
        self.spoil("read", offset, buffer)

    def write(self, buffer: memoryview, offset: int) -> None:
        copy = memoryview(bytearray(buffer))
        self.spoil("write", offset, copy)
        self.content[offset : offset + len(copy)] = copy
        self.log.append(f"write {offset} {len(copy)}")

    def zero(self, offset: int, length: int) -> None:
        zeros = memoryview(bytearray(length))
        self.spoil("zero", offset, zeros)
        self.content[offset : offset + length] = zeros
        self.log.append(f"zero {offset} {length}")

    def drop_content(self) -> None:
        self.log.append("drop_content")

    def discard(self) -> bool:
        self.log.append("discard")
        return True

    def flush(self) -> None:
        self.spoil("flush", 0, memoryview(b""))
        self.log.append("flush")

    def reread_table(self) -> bool:
        self.log.append("reread_table")
        return True

    def close(self) -> None:
        self.closed = True


class Meter:
    def __init__(self) -> None:
        self.done = 0

    def advance(self, count: int) -> None:
        self.done += count


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    image, blob = tmp_path / "image", tmp_path / "blob"
    image.write_bytes(bytes(range(1, 251)) * (5 * MIB // 250 + 1))
    blob.write_bytes(b"b" * 14592)  # 28.5 sectors, like a BL2
    return {"image": image, "blob": blob}


EXTENTS = (
    Extent(31 * SECTOR, 29 * SECTOR, "blob"),
    Extent(MIB, 5 * MIB, "image", SECTOR),
    Extent(6 * MIB, MIB, None),
)


def expected(sources: dict[str, Path], extents: tuple[Extent, ...] = EXTENTS) -> bytearray:
    """The expected card after a run without errors, computed in a simple and slow way."""
    content = bytearray([STALE]) * SIZE
    for extent in extents:
        data = bytes(extent.length)
        if extent.source:
            data = sources[extent.source].read_bytes()[extent.source_offset :][: extent.length]
        content[extent.offset : extent.end] = data.ljust(extent.length, b"\0")
    content[:SECTOR] = MBR
    return content


def flash(medium: Memory, sources: dict[str, Path], extents: tuple[Extent, ...] = EXTENTS) -> Card:
    with Card(medium) as card:
        card.mark_unfinished()
        card.discard()
        card.write(extents, sources, Meter())
        card.verify(Meter())
        card.write_table(MBR)
    return card


def test_a_clean_run_writes_every_mapped_byte_once(sources: dict[str, Path]) -> None:
    medium = Memory()
    card = flash(medium, sources)
    assert medium.content == expected(sources)
    mapped = total(EXTENTS)
    counters = card.counters
    assert (counters.mapped, counters.written, counters.verified) == (mapped, mapped, mapped)
    assert medium.closed


def test_the_mark_is_flushed_first_and_the_table_last(sources: dict[str, Path]) -> None:
    medium = Memory()
    flash(medium, sources)
    assert medium.log[:4] == ["write 0 512", "flush", "drop_content", "discard"]
    assert medium.log[-4:] == ["flush", "write 0 512", "flush", "reread_table"]


def test_the_card_is_marked_during_every_access(sources: dict[str, Path]) -> None:
    medium = Memory()
    seen = []

    def spoil(verb: str, offset: int, buffer: memoryview) -> None:
        seen.append(verb)
        marked = is_unfinished(bytes(medium.content[:SECTOR]))
        untouched = medium.content == bytearray([STALE]) * SIZE
        finished = medium.content == expected(sources)
        assert marked or untouched or finished, f"{verb} at {offset}"

    medium.spoil = spoil
    flash(medium, sources)
    assert set(seen) == {"read", "write", "zero", "flush"}


def test_meters_count_every_byte(sources: dict[str, Path]) -> None:
    written, verified = Meter(), Meter()
    card = Card(Memory())
    card.mark_unfinished()
    card.write(EXTENTS, sources, written)
    card.verify(verified)
    assert (written.done, verified.done) == (total(EXTENTS), total(EXTENTS))


def flip(times: int, at: int) -> Callable[[str, int, memoryview], None]:
    """Return a ``spoil`` function that flips the byte ``at`` in its first ``times`` writes."""
    left = [times]

    def spoil(verb: str, offset: int, buffer: memoryview) -> None:
        if verb in ("write", "zero") and offset <= at < offset + len(buffer) and left[0]:
            left[0] -= 1
            buffer[at - offset] ^= 1

    return spoil


BLOB, IMAGE, ZERO = 31 * SECTOR + 7, 3 * MIB + 4711, 6 * MIB + 99


@pytest.mark.parametrize("at", [BLOB, IMAGE, ZERO])
@pytest.mark.parametrize("times", [1, 2])
def test_a_byte_that_flips_is_written_again(sources: dict[str, Path], at: int, times: int) -> None:
    medium = Memory()
    medium.spoil = flip(times, at)
    card = flash(medium, sources)
    assert medium.content == expected(sources)
    assert card.counters.written == card.counters.mapped + times * SECTOR
    assert card.counters.verified == card.counters.mapped + times * SECTOR


@pytest.mark.parametrize("at", [BLOB, IMAGE, ZERO])
def test_a_byte_that_always_flips_is_an_error_with_its_sector(
    sources: dict[str, Path], at: int
) -> None:
    medium = Memory()
    medium.spoil = flip(1000, at)
    with pytest.raises(FailedError, match=rf"sector {at // SECTOR} read back wrong"):
        flash(medium, sources)
    assert is_unfinished(bytes(medium.content[:SECTOR]))


def test_lost_writes_are_found(sources: dict[str, Path]) -> None:
    """A card with a false size: what is written above 4 MiB is stored from the start again."""
    medium = Memory()
    write = medium.write

    def wrapped(buffer: memoryview, offset: int) -> None:
        write(buffer, offset % (4 * MIB))

    medium.write = wrapped  # type: ignore[method-assign]
    with pytest.raises(FailedError, match="read back wrong"):
        flash(medium, sources)


@pytest.mark.parametrize("verb", ["write", "read", "zero"])
@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EIO, "try another reader"),
        (errno.ENOSPC, "the disk that holds the image is full"),
        (errno.ENODEV, "insert the card again"),
        (errno.ENXIO, "insert the card again"),
        (errno.ENOMEDIUM, "insert the card again"),
    ],
)
def test_errors_of_the_medium_name_the_sectors(
    sources: dict[str, Path], verb: str, number: int, advice: str
) -> None:
    medium = Memory()
    at = ZERO if verb == "zero" else IMAGE

    def spoil(what: str, offset: int, buffer: memoryview) -> None:
        if what == verb and offset <= at < offset + len(buffer):
            raise OSError(number, os.strerror(number))

    medium.spoil = spoil
    with pytest.raises(FailedError) as caught:
        flash(medium, sources)
    message = str(caught.value)
    first, last = message.split("sectors ")[1].split(":")[0].split("-")
    assert int(first) <= at // SECTOR <= int(last)
    assert message.startswith(f"/dev/sdx: cannot {verb}")
    assert advice in message
    assert "unfinished; the next run starts clean" in message
    assert is_unfinished(bytes(medium.content[:SECTOR]))
    assert medium.closed


def test_a_failed_flush_is_an_error(sources: dict[str, Path]) -> None:
    medium = Memory()
    flushes = []

    def spoil(verb: str, offset: int, buffer: memoryview) -> None:
        if verb == "flush":
            flushes.append(verb)
            if len(flushes) == 2:
                raise OSError(errno.EIO, "Input/output error")

    medium.spoil = spoil
    with pytest.raises(FailedError, match="cannot flush: Input/output error"):
        flash(medium, sources)
    assert is_unfinished(bytes(medium.content[:SECTOR]))


def verified(medium: Memory, sources: dict[str, Path]) -> Card:
    """A card of which only the partition table is missing."""
    card = Card(medium)
    card.mark_unfinished()
    card.write(EXTENTS, sources, Meter())
    card.verify(Meter())
    return card


@pytest.mark.parametrize(("times", "works"), [(2, True), (3, False)])
def test_the_table_is_read_back(sources: dict[str, Path], times: int, works: bool) -> None:
    medium = Memory()
    card = verified(medium, sources)
    medium.spoil = flip(times, 100)
    if works:
        assert card.write_table(MBR)
        assert medium.content == expected(sources)
    else:
        with pytest.raises(FailedError, match="sector 0 read back wrong"):
            card.write_table(MBR)
        assert is_unfinished(bytes(medium.content[:SECTOR]))


@pytest.mark.parametrize("verb", ["flush", "read"])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
def test_a_card_whose_table_is_not_confirmed_is_marked_again(
    sources: dict[str, Path], verb: str, error: BaseException
) -> None:
    medium = Memory()
    card = verified(medium, sources)
    left = [error]

    def spoil(what: str, offset: int, buffer: memoryview) -> None:
        if what == verb and left:
            assert medium.content[:SECTOR] == MBR
            raise left.pop()

    medium.spoil = spoil
    with pytest.raises((FailedError, KeyboardInterrupt)):
        card.write_table(MBR)
    assert is_unfinished(bytes(medium.content[:SECTOR]))
    assert medium.log[-2:] == ["write 0 512", "flush"]


def test_a_card_that_cannot_be_marked_again_may_look_finished(sources: dict[str, Path]) -> None:
    medium = Memory()
    card = verified(medium, sources)

    def spoil(what: str, offset: int, buffer: memoryview) -> None:
        if what == "flush":
            raise OSError(errno.EIO, "Input/output error")

    medium.spoil = spoil
    with pytest.raises(FailedError, match="may look finished: flash it again before it is used"):
        card.write_table(MBR)


def test_steps_out_of_order_are_refused(sources: dict[str, Path]) -> None:
    medium = Memory()
    card = Card(medium)
    with pytest.raises(RuntimeError):
        card.write(EXTENTS, sources, Meter())
    with pytest.raises(RuntimeError):
        card.discard()
    with pytest.raises(RuntimeError):
        card.write_table(MBR)
    assert medium.log == []
    card.mark_unfinished()
    card.write(EXTENTS, sources, Meter())
    with pytest.raises(RuntimeError):
        card.write_table(MBR)


def test_no_table_after_a_failed_verification(sources: dict[str, Path]) -> None:
    medium = Memory()
    medium.spoil = flip(1000, IMAGE)
    card = Card(medium)
    card.mark_unfinished()
    card.write(EXTENTS, sources, Meter())
    with pytest.raises(FailedError):
        card.verify(Meter())
    with pytest.raises(RuntimeError):
        card.write_table(MBR)


@pytest.mark.parametrize(
    "extents",
    [
        (Extent(0, SECTOR, None),),
        (Extent(SECTOR, 100, None),),
        (Extent(700, SECTOR, None),),
        (Extent(SIZE - SECTOR, 2 * SECTOR, None),),
        (Extent(MIB, MIB, None), Extent(2 * MIB - SECTOR, MIB, None)),
        (Extent(4 * MIB, MIB, None), Extent(MIB, MIB, None)),
    ],
)
def test_with_wrong_extents_nothing_is_written(extents: tuple[Extent, ...]) -> None:
    medium = Memory()
    card = Card(medium)
    card.mark_unfinished()
    before = list(medium.log)
    with pytest.raises(ValueError):
        card.write(extents, {}, Meter())
    assert medium.log == before


@pytest.mark.parametrize("mbr", [b"", bytes(512), b"\x55\xaa" * 257])
def test_a_table_that_is_not_a_boot_sector_is_refused(sources: dict[str, Path], mbr: bytes) -> None:
    card = Card(Memory())
    with pytest.raises(ValueError, match="boot sector"):
        card.write_table(mbr)


def test_a_source_that_is_too_short_is_refused(sources: dict[str, Path]) -> None:
    medium = Memory()
    with pytest.raises(InputError, match=r"blob: it has 14592 bytes, but 15360 are to be"):
        flash(medium, sources, (Extent(SECTOR, 30 * SECTOR, "blob"),))
    assert is_unfinished(bytes(medium.content[:SECTOR]))


def test_a_source_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read it: No such file"):
        flash(Memory(), {"a": tmp_path / "a"}, (Extent(SECTOR, SECTOR, "a"),))


def test_many_bad_ranges_are_not_all_listed() -> None:
    extents = [Extent(number * 10 * SECTOR, 2 * SECTOR, None) for number in range(100)]
    names = copy_verify.sector_names(extents)
    assert names.startswith("sectors 0-1, 10-11, 20-21")
    assert names.endswith("and 92 more ranges")


def test_buffers_stay_small() -> None:
    assert copy_verify.WORKERS * 2 * copy_verify.PIECE <= 64 * MIB


@st.composite
def maps(draw: st.DrawFn) -> tuple[Extent, ...]:
    """Any extents of the card: up to 12 layers of one extent each."""
    layers = []
    for _ in range(draw(st.integers(1, 12))):
        start = draw(st.integers(1, SIZE // SECTOR - 1))
        length = draw(st.integers(1, min(SIZE // SECTOR - start, 6000)))
        source = draw(st.sampled_from(["image", None]))
        at = draw(st.integers(0, 100)) * 7 if source else 0
        layers.append([Extent(start * SECTOR, length * SECTOR, source, at)])
    return flatten(layers)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(extents=maps())
def test_any_extents_are_written_exactly(
    sources: dict[str, Path], extents: tuple[Extent, ...]
) -> None:
    medium = Memory()
    flash(medium, sources, extents)
    assert medium.content == expected(sources, extents)
