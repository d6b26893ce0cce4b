"""A LUKS2 header as ``cryptsetup luksDump --dump-json-metadata`` prints it.

Names and meanings: LUKS2 On-Disk Format Specification 1.1.1, section 3.
"""

import json
from dataclasses import dataclass
from typing import Any

SLOTS = 32
"""Key slots that a LUKS2 header has at most."""


@dataclass(frozen=True)
class Keyslot:
    """A key slot: its number, and what deriving its key costs; ``None`` where PBKDF2 has none."""

    number: int
    kdf: str
    memory_kib: int | None
    iterations: int
    threads: int | None


@dataclass(frozen=True)
class Header:
    """A LUKS2 header: its UUID, the volume's cipher and sector size, its key slots."""

    uuid: str
    cipher: str
    sector_size: int
    keyslots: tuple[Keyslot, ...]


def parse_header(uuid: str, text: str) -> Header:
    """Return the header in ``text``, the JSON.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, RecursionError: it has another form.
    """
    metadata = json.loads(text)
    segment = metadata["segments"]["0"]
    slots = (_keyslot(int(number), slot) for number, slot in metadata["keyslots"].items())
    return Header(
        uuid=uuid,
        cipher=str(segment["encryption"]),
        sector_size=int(segment["sector_size"]),
        keyslots=tuple(sorted(slots, key=lambda slot: slot.number)),
    )


def _keyslot(number: int, slot: Any) -> Keyslot:
    kdf = slot["kdf"]
    if kdf["type"] == "pbkdf2":
        return Keyslot(number, "pbkdf2", None, int(kdf["iterations"]), None)
    return Keyslot(number, str(kdf["type"]), int(kdf["memory"]), int(kdf["time"]), int(kdf["cpus"]))
