"""Extended attributes: in the last bytes of the inode, or in a separate block.

Numbers from ``Documentation/filesystems/ext4/attributes.rst``; the hashes are those of
``fs/ext4/xattr.c`` (``ext4_xattr_hash_entry``, ``ext4_xattr_rehash``), and access
control lists those of ``fs/ext4/acl.h`` and ``include/uapi/linux/posix_acl_xattr.h``.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bootwright.rootfs.ext4.layout import BLOCK
from bootwright.rootfs.tar_entries import EntryRefused

BODY_SIZE = 96
"""Bytes of a 256-byte inode after its fixed part of 160 bytes."""

NAME_MAX = 255
"""The most bytes in a name without its prefix; the prefix is stored as a number."""

_PREFIXES = {b"user.": 1, b"trusted.": 4, b"security.": 6}
_ACLS = {b"system.posix_acl_access": 2, b"system.posix_acl_default": 3}

_MAGIC = 0xEA020000
_ENTRY = struct.Struct("<BBHIII")
_BLOCK_HEADER = struct.Struct("<IIII16x")
_NAME_SHIFT, _VALUE_SHIFT, _BLOCK_SHIFT = 5, 16, 16

_ACL_USER, _ACL_GROUP = 0x02, 0x08
_ACL_TAGS = (0x01, _ACL_USER, 0x04, _ACL_GROUP, 0x10, 0x20)


class Attribute(NamedTuple):
    """An attribute as it is stored; in a block, attributes are sorted in the order of these tuples.

    ``prefix`` is the number of the prefix, ``length`` that of bytes in ``name`` without prefix.
    """

    prefix: int
    length: int
    name: bytes
    value: bytes


def attribute(name: bytes, value: bytes) -> Attribute | None:
    """Return an attribute by its full name; ``None`` if ext4 cannot store it."""
    if name in _ACLS:
        acl = _acl(value)
        return None if acl is None else Attribute(_ACLS[name], 0, b"", acl)
    for prefix, number in _PREFIXES.items():
        rest = name[len(prefix) :]
        if name.startswith(prefix) and 0 < len(rest) <= NAME_MAX and b"\0" not in rest:
            return Attribute(number, len(rest), rest, value)
    return None


def _acl(value: bytes) -> bytes | None:
    """Return an access control list as ext4 stores it, from the format of the system call.

    ``None`` if that is not version 2 or is malformed.
    """
    if len(value) < 4 or len(value) % 8 != 4 or value[:4] != struct.pack("<I", 2):
        return None
    out = struct.pack("<I", 1)
    for tag, permissions, id_number in struct.iter_unpack("<HHI", value[4:]):
        if tag not in _ACL_TAGS:
            return None
        out += struct.pack("<HH", tag, permissions)
        if tag in (_ACL_USER, _ACL_GROUP):
            out += struct.pack("<I", id_number)
    return out


def encode_xattrs(attributes: Iterable[Attribute]) -> tuple[bytes, bytes | None]:
    """Return the inode's last bytes (none or :data:`BODY_SIZE`), and a block if it is needed.

    Raises:
        EntryRefused: they fit in neither.
    """
    ordered = sorted(attributes)
    if not ordered:
        return b"", None
    total = sum(len(item.name) + len(item.value) for item in ordered)
    if total > BLOCK:  # checked first: encoding a MiB of small ones would take long
        raise _too_many(total)
    # Offsets of values count from the first entry (in an inode) or from the start (of a block).
    body = _entries(ordered, BODY_SIZE - 4, 0)
    if body is not None:
        return struct.pack("<I", _MAGIC) + body[0], None
    block = _entries(ordered, BLOCK - _BLOCK_HEADER.size, _BLOCK_HEADER.size)
    if block is None:
        raise _too_many(total)
    content, hashes = block
    return b"", _BLOCK_HEADER.pack(_MAGIC, 1, 1, block_hash(hashes)) + content


def _too_many(size: int) -> EntryRefused:
    return EntryRefused(f"{size} bytes of extended attributes do not fit in a block")


def _entries(
    attributes: Sequence[Attribute], size: int, base: int
) -> tuple[bytes, list[int]] | None:
    """Return ``size`` bytes, entries first and values at the end, and the entries' hashes.

    ``None`` if they do not fit. ``base`` is added to the offsets of the values.
    """
    entries, values = b"", b""
    hashes = []
    for prefix, length, name, value in attributes:
        padded = value.ljust(len(value) + 3 & ~3, b"\0")
        values = padded + values
        offset = base + size - len(values) if value else 0
        hashes.append(entry_hash(name, padded))
        entry = _ENTRY.pack(length, prefix, offset & 0xFFFF, 0, len(value), hashes[-1]) + name
        entries += entry.ljust(len(entry) + 3 & ~3, b"\0")
    gap = size - len(entries) - len(values)
    if gap < 4:  # four zero bytes end the entries
        return None
    return entries + bytes(gap) + values, hashes


def entry_hash(name: bytes, padded: bytes) -> int:
    """Return the hash of an attribute's name and value; the value is padded to four-byte words."""
    result = 0
    for byte in name:
        result = _rotated(result, _NAME_SHIFT) ^ byte
    for (word,) in struct.iter_unpack("<I", padded):
        result = _rotated(result, _VALUE_SHIFT) ^ word
    return result


def block_hash(hashes: Iterable[int]) -> int:
    """Return the hash of a block; 0 ("do not share") if the hash of an entry is 0."""
    result = 0
    for value in hashes:
        if not value:
            return 0
        result = _rotated(result, _BLOCK_SHIFT) ^ value
    return result


def _rotated(value: int, count: int) -> int:
    return (value << count | value >> (32 - count)) & 0xFFFFFFFF
