"""How large a partition is."""

from bootwright.core.config import Target
from bootwright.core.errors import InputError
from bootwright.core.units import MIB, SECTOR, format_size, parse_size

MIN_ROOT = 32 * MIB
"""Bytes: with a journal of 16 MiB, nothing smaller holds a root file system."""


MAX_SECTORS = 2**32 - 1
"""Most sectors of a partition in a DOS partition table: 2 TiB."""


def root_bytes(target: Target) -> int:
    """Return the bytes of the target's root partition, whole MiB.

    Raises:
        InputError: it is too small to be one, or more than the table can say.
    """
    return partition_bytes("root_size", target.root_size, MIN_ROOT)


def partition_bytes(key: str, text: str, least: int) -> int:
    """Return the bytes of a partition, rounded up to whole MiB.

    Args:
        key: names the setting in an error.
        text: its value, such as ``4GiB``.
        least: bytes that it must have.

    Raises:
        InputError: it is no size, less than ``least``, or more than a partition can have.
    """
    size = -(-parse_size(text) // MIB) * MIB
    if not least <= size <= MAX_SECTORS * SECTOR:
        raise InputError(
            f"{key}: {text} is not between {format_size(least)} and"
            f" {format_size(MAX_SECTORS * SECTOR)}"
        )
    return size
