"""The size of a partition: parsing it and checking it."""

from bootwright.core.config import Target
from bootwright.core.errors import InputError
from bootwright.core.units import MIB, SECTOR, format_size, parse_size

MIN_ROOT = 32 * MIB
"""Bytes of the smallest root partition; 16 MiB of them are the journal."""

MAX_SECTORS = 2**32 - 1
"""The most sectors of 512 bytes that a DOS partition table can describe: 2 TiB."""


def root_bytes(target: Target) -> int:
    """Return the bytes of the target's root partition, whole MiB.

    Raises:
        InputError: it is too small, or more than the partition table can describe.
    """
    return partition_bytes("root_size", target.root_size, MIN_ROOT)


def partition_bytes(key: str, text: str, minimum: int) -> int:
    """Return the bytes of a partition, rounded up to whole MiB.

    Args:
        key: the name of the setting, for an error message.
        text: its value, such as ``4GiB``.
        minimum: bytes that it must have at least.

    Raises:
        InputError: it is not a size, less than ``minimum``, or more than a partition can have.
    """
    size = -(-parse_size(text) // MIB) * MIB
    if not minimum <= size <= MAX_SECTORS * SECTOR:
        raise InputError(
            f"{key}: {text} is not between {format_size(minimum)} and"
            f" {format_size(MAX_SECTORS * SECTOR)}"
        )
    return size
