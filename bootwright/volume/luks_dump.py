"""A LUKS2 header as ``cryptsetup luksDump --dump-json-metadata`` prints it.

Pure. Names and meanings: LUKS2 On-Disk Format Specification 1.1.1, section 3.
"""

import json
from dataclasses import dataclass
from typing import Any

from bootwright.core.text import sanitize_line

SLOTS = 32
"""How many key slots a LUKS2 header has at most."""

_LARGEST = 2**32 - 1
"""The largest number that cryptsetup accepts in a header: 32 bits."""


@dataclass(frozen=True)
class Keyslot:
    """A key slot, and the cost of deriving its key from the passphrase.

    Attributes:
        number: counted from 0.
        kdf: the key derivation function: ``argon2id``, ``argon2i`` or ``pbkdf2``.
        memory_kib: the memory that it needs, in KiB; ``None`` for PBKDF2.
        iterations: how many passes or iterations it makes.
        threads: how many it runs; ``None`` for PBKDF2.
    """

    number: int
    kdf: str
    memory_kib: int | None
    iterations: int
    threads: int | None


@dataclass(frozen=True)
class LuksHeader:
    """A LUKS2 header: its UUID, the volume's cipher and sector size, its key slots."""

    uuid: str
    cipher: str
    sector_size: int
    keyslots: tuple[Keyslot, ...]


def parse_header(uuid: str, text: str) -> LuksHeader:
    """Return the header in ``text``, the JSON.

    Raises:
        One of :data:`~bootwright.core.parsing.PARSE_ERRORS`: it has another form.
    """
    metadata = json.loads(text)
    segment = metadata["segments"]["0"]
    slots = (_keyslot(_whole(number), slot) for number, slot in metadata["keyslots"].items())
    return LuksHeader(
        # Also sanitized text may contain control characters, escaped as JSON escapes them.
        uuid=sanitize_line(uuid),
        cipher=sanitize_line(str(segment["encryption"])),
        sector_size=_whole(segment["sector_size"]),
        keyslots=tuple(sorted(slots, key=lambda slot: slot.number)),
    )


def _keyslot(number: int, slot: Any) -> Keyslot:
    kdf = slot["kdf"]
    if kdf["type"] == "pbkdf2":
        return Keyslot(number, "pbkdf2", None, _whole(kdf["iterations"]), None)
    costs = (_whole(kdf[name]) for name in ("memory", "time", "cpus"))
    return Keyslot(number, sanitize_line(str(kdf["type"])), *costs)


def _whole(value: Any) -> int:
    number = int(value)
    if not 0 <= number <= _LARGEST:
        raise ValueError("a number in the LUKS2 header is far too large, or negative")
    return number
