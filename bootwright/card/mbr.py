"""The first sector of a card: its DOS partition table."""

import struct

from bootwright.card.geometry import Geometry
from bootwright.core.board import SectorRange

_LINUX = 0x83
_BOOTABLE = 0x80

_HEADS = 255
_SECTORS = 63
_CYLINDERS = 1024
"""The geometry that every program assumes for the old addresses by cylinder, head and sector."""


def make_mbr(geometry: Geometry, disk_id: str) -> bytes:
    """Return sector 0 (512 bytes) for a card of this geometry, the same as sfdisk writes.

    Args:
        geometry: the card and its two partitions; the first one is bootable.
        disk_id: the DOS disk identifier, 8 hexadecimal digits.
    """
    entries = _entry(geometry.root, _BOOTABLE) + _entry(geometry.docker_data, 0)
    return (
        bytes(440)
        + struct.pack("<IH", int(disk_id, 16), 0)
        + entries.ljust(4 * 16, b"\0")
        + b"\x55\xaa"
    )


def _entry(part: SectorRange, flag: int) -> bytes:
    first, last = _old_address(part.sector), _old_address(part.end - 1)
    sectors = struct.pack("<II", part.sector, part.sectors)
    return bytes([flag, *first, _LINUX, *last]) + sectors


def _old_address(sector: int) -> bytes:
    """Return the address by cylinder, head and sector; the highest one if it does not fit."""
    track, number = divmod(sector, _SECTORS)
    cylinder, head = divmod(track, _HEADS)
    if cylinder >= _CYLINDERS:
        return b"\xfe\xff\xff"
    return bytes([head, (cylinder >> 8) << 6 | number + 1, cylinder & 0xFF])
