"""Small cards, and what is written to them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bootwright.card.block_device import DeviceKind
from bootwright.card.guard import GuardRequest, check
from bootwright.card.io.card import Card, open_card
from bootwright.card.io.inspect import inspect
from bootwright.core.units import KIB, MIB, SECTOR
from bootwright.rootfs.byte_ranges import Extent
from tests.support.loopdevice import command, loop, mounted

SIZE = 16 * MIB

MBR = bytes(510) + b"\x55\xaa"

STALE = b"\xa5"

EXTENTS = (
    Extent(SECTOR, 30 * SECTOR, "bl1"),
    Extent(31 * SECTOR, 29 * SECTOR, "bl2"),
    Extent(6272 * SECTOR, 32 * SECTOR, None),
    Extent(4 * MIB, 5 * MIB, "root"),
    Extent(9 * MIB, MIB, None),
    Extent(10 * MIB, 512 * KIB + SECTOR, "root", 5 * MIB),
)


class Meter:
    def advance(self, count: int) -> None:
        pass


@contextmanager
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An ext4 of 4 MiB on a loop device of its own, mounted."""
    small = tmp_path / "small"
    small.touch()
    os.truncate(small, 4 * MIB)
    with loop(small) as device:
        command("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", device)
        with mounted(device, tmp_path / "disk") as disk:
            yield disk


def flash(path: str, sources: dict[str, Path], discard: bool = True) -> Card:
    facts = inspect(path)
    check(facts, GuardRequest(image_size=None if facts.kind is DeviceKind.BLOCK else SIZE))
    with open_card(facts, SIZE) as card:
        run_steps(card, sources, discard)
    return card


def run_steps(card: Card, sources: dict[str, Path], discard: bool = True) -> None:
    card.mark_unfinished()
    if discard:
        card.check_size()  # what it writes is discarded
        card.discard()
    card.write(EXTENTS, sources, Meter())
    card.verify(Meter())
    card.write_table(MBR)


def expected(sources: dict[str, Path], unmapped: bytes) -> bytes:
    content = bytearray(unmapped * SIZE)
    for extent in EXTENTS:
        data = b""
        if extent.source:
            data = sources[extent.source].read_bytes()[extent.source_offset :][: extent.length]
        content[extent.offset : extent.end] = data.ljust(extent.length, b"\0")
    content[:SECTOR] = MBR
    return bytes(content)
