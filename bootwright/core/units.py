"""Sizes: the code counts in bytes; input and output use IEC units (KiB, MiB, GiB, TiB)."""

import re
from fractions import Fraction

from bootwright.core.errors import InputError

SECTOR = 512
"""Bytes in a sector, the unit of the DOS partition table and of boot-blob offsets."""

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

_UNITS = {"": 1, "B": 1, "KIB": KIB, "MIB": MIB, "GIB": GIB, "TIB": 1024 * GIB}
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")

_MAX_CHARACTERS = 40
"""The most characters that a size may be written with; a longer text is a mistake."""

_MAX_BYTES = 2**63 - 1
"""The largest size of a file or disk that the kernel can represent, in bytes."""


def parse_size(text: str) -> int:
    """Return the bytes in ``text``, such as ``4GiB``, ``512 MiB`` or ``1048576``.

    Raises:
        InputError: no number, an unknown unit, a fraction of a byte, or far too large.
    """
    match = _SIZE.fullmatch(text) if len(text) <= _MAX_CHARACTERS else None
    unit = _UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None:
        shown = text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}…"
        raise InputError(f"{shown!r} is not a size; write it like 4GiB, 512MiB or 1048576")
    size = Fraction(match[1]) * unit
    if size != int(size):
        raise InputError(f"{text!r} is not a whole number of bytes")
    if size > _MAX_BYTES:
        raise InputError(f"{text!r} is more than any disk can hold")
    return int(size)


def format_size(size: int) -> str:
    """Return ``size`` bytes in the largest IEC unit that keeps it at least 1."""
    for name, unit in (("TiB", 1024 * GIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} B"
