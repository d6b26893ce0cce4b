"""The LUKS2 header as bytes: reading its JSON and renaming its cipher. Pure.

Layout and numbers: LUKS2 On-Disk Format Specification 1.1.1, section 2. Two copies of
a 4096-byte big-endian binary header, each followed by a JSON area; the SHA-256 of both
together, computed with the checksum field zeroed, protects each copy.
"""

import hashlib
import json
import struct
from dataclasses import dataclass
from typing import Any

from bootwright.core.errors import FailedError

_PRIMARY, _SECONDARY = b"LUKS\xba\xbe", b"SKUL\xba\xbe"
_BINARY = 4096
_VERSION_AT, _SIZE_AT, _CHECKSUM_ALGORITHM_AT, _CHECKSUM_AT = 6, 8, 72, 448
_CHECKSUM = 64


@dataclass(frozen=True)
class LuksFacts:
    """What a LUKS2 header contains about its one data segment and its first key slot.

    Attributes:
        uuid: the header's UUID.
        cipher: of the data, such as ``aes-xts-plain64``.
        sector_size: bytes that are encrypted at a time.
        payload_offset: bytes from the start of the device to the data.
        key_bytes: the length of the volume key.
        pbkdf: the key derivation function of the key slot.
        memory_kib: the memory that it needs, in KiB.
        iterations: how many passes it makes.
        threads: how many it runs.
    """

    uuid: str
    cipher: str
    sector_size: int
    payload_offset: int
    key_bytes: int
    pbkdf: str
    memory_kib: int
    iterations: int
    threads: int


def header_size(header: bytes) -> int:
    """Return the size of one copy of the header in bytes (binary header and JSON area).

    Raises:
        FailedError: ``header`` does not start with a LUKS2 header.
    """
    if header[: len(_PRIMARY)] != _PRIMARY or header[_VERSION_AT : _VERSION_AT + 2] != b"\0\2":
        raise FailedError("there is no LUKS2 header")
    size: int = struct.unpack_from(">Q", header, _SIZE_AT)[0]
    return size


def read_facts(header: bytes) -> LuksFacts:
    """Return what both copies of the header contain.

    Args:
        header: the volume's first bytes, at least both copies.

    Raises:
        FailedError: a copy is damaged, or the two differ.
    """
    size = header_size(header)
    metadata = _checked_json(header[:size], _PRIMARY)
    if metadata != _checked_json(header[size : 2 * size], _SECONDARY):
        raise FailedError("the two copies of the LUKS2 header differ")
    segment = metadata["segments"]["0"]
    slot = next(iter(metadata["keyslots"].values()))
    return LuksFacts(
        uuid=header[168:208].rstrip(b"\0").decode("ascii"),
        cipher=segment["encryption"],
        sector_size=segment["sector_size"],
        payload_offset=int(segment["offset"]),
        key_bytes=slot["key_size"],
        pbkdf=slot["kdf"]["type"],
        memory_kib=slot["kdf"]["memory"],
        iterations=slot["kdf"]["time"],
        threads=slot["kdf"]["cpus"],
    )


def rename_cipher(header: bytes, cipher: str) -> bytes:
    """Return ``header`` (both copies) with the data segment's cipher named ``cipher``.

    The volume key stays the same, so the new cipher must need a key of the same length. In this
    way a host whose kernel does not have the cipher makes a volume for a board that has it;
    cryptsetup refuses to.

    Raises:
        FailedError: a copy is damaged.
    """
    size = header_size(header)
    copies = []
    for copy, magic in ((header[:size], _PRIMARY), (header[size : 2 * size], _SECONDARY)):
        metadata = _checked_json(copy, magic)
        metadata["segments"]["0"]["encryption"] = cipher
        text = json.dumps(metadata, separators=(",", ":")).encode()
        if len(text) >= size - _BINARY:
            raise FailedError("the LUKS2 header has no room for the cipher's name")
        copies.append(_with_checksum(copy[:_BINARY] + text.ljust(size - _BINARY, b"\0")))
    return b"".join(copies)


def _with_checksum(copy: bytes) -> bytes:
    start, end = _CHECKSUM_AT, _CHECKSUM_AT + _CHECKSUM
    blank = copy[:start] + bytes(_CHECKSUM) + copy[end:]
    digest = hashlib.sha256(blank).digest().ljust(_CHECKSUM, b"\0")
    return copy[:start] + digest + copy[end:]


def _checked_json(copy: bytes, magic: bytes) -> dict[str, Any]:
    algorithm = copy[_CHECKSUM_ALGORITHM_AT : _CHECKSUM_ALGORITHM_AT + 32].rstrip(b"\0")
    if copy[: len(magic)] != magic or algorithm != b"sha256" or _with_checksum(copy) != copy:
        raise FailedError("a copy of the LUKS2 header is damaged")
    metadata: dict[str, Any] = json.loads(copy[_BINARY:].rstrip(b"\0"))
    return metadata
