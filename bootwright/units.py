"""Sizes: bytes everywhere inside, IEC units (KiB, MiB, GiB, TiB) at the edge."""

import re

from bootwright.errors import InputError

SECTOR = 512
"""Bytes in a sector, the unit of the DOS partition table and of boot-blob offsets."""

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

_UNITS = {"": 1, "B": 1, "KIB": KIB, "MIB": MIB, "GIB": GIB, "TIB": 1024 * GIB}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")


def parse_size(text: str) -> int:
    """Return the bytes in ``text``, such as ``4GiB``, ``512 MiB`` or ``1048576``.

    Raises:
        InputError: no number, an unknown unit, or a fraction of a byte.
    """
    match = _SIZE.fullmatch(text)
    unit = _UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None:
        raise InputError(f"{text!r} is not a size; write it like 4GiB, 512MiB or 1048576")
    size = float(match[1]) * unit
    if size != int(size):
        raise InputError(f"{text!r} is not a whole number of bytes")
    return int(size)


def format_size(size: int) -> str:
    """Return ``size`` bytes in the largest IEC unit that keeps it at least 1."""
    for name, unit in (("TiB", 1024 * GIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} B"
