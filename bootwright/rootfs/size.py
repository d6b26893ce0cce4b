"""How large a root partition is."""

from bootwright.core.config import Target
from bootwright.core.errors import InputError
from bootwright.core.units import MIB, SECTOR, format_size, parse_size

MIN_ROOT = 32 * MIB
"""Bytes: with a journal of 16 MiB, nothing smaller holds a root file system."""


MAX_SECTORS = 2**32 - 1
"""What a DOS partition entry can say: 2 TiB."""


def root_bytes(target: Target) -> int:
    """Return the bytes of the target's root partition, whole MiB.

    Raises:
        InputError: it is too small to be one, or more than the table can say.
    """
    return _checked("root_size", target.root_size, MIN_ROOT)


def _checked(key: str, text: str, least: int) -> int:
    size = -(-parse_size(text) // MIB) * MIB
    if not least <= size <= MAX_SECTORS * SECTOR:
        raise InputError(
            f"{key}: {text} is not between {format_size(least)} and"
            f" {format_size(MAX_SECTORS * SECTOR)}"
        )
    return size
