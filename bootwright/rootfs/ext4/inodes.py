"""Inodes: 256 bytes for each file.

Numbers: ``Documentation/filesystems/ext4/inodes.rst``, and ``new_encode_dev`` of the
kernel's ``include/linux/kdev_t.h`` for device numbers.
"""

import struct

from bootwright.rootfs.ext4.layout import BLOCK, INODE_SIZE
from bootwright.rootfs.tar_entries import EntryRefused

S_IFIFO, S_IFCHR, S_IFDIR, S_IFBLK, S_IFREG, S_IFLNK = (
    0x1000,
    0x2000,
    0x4000,
    0x6000,
    0x8000,
    0xA000,
)
"""File types in the mode."""

EXTENTS_FLAG = 0x80000
"""The inode's 60 bytes hold an extent tree."""

LINKS_MAX = 65000
"""Links of a file, or subdirectories of a directory that are still counted."""

LINK_IN_INODE = 59
"""Bytes of a symbolic link's target that fit into the inode (and a NUL)."""

_FIXED = struct.Struct("<HHIIIIIHHIII60sIIIIHHHHIHHIIIIIII")
_LINKS_AT = 0x1A
_EXTENTS_AT = 0x28
_EXTRA_SIZE = 32


def encode_inode(
    *,
    mode: int,
    uid: int,
    gid: int,
    mtime_ns: int,
    changed_ns: int,
    size: int = 0,
    links: int = 1,
    blocks: int = 0,
    flags: int = 0,
    body: bytes = b"",
    xattr_body: bytes = b"",
    xattr_block: int = 0,
) -> bytes:
    """Return the bytes of an

    Args:
        mode: type and permissions.
        uid: owner.
        gid: group.
        mtime_ns: times of modification and of access, in nanoseconds.
        changed_ns: times of change and of creation, which an archive does not tell.
        size: bytes of content.
        links: names, or for a directory 2 and its subdirectories.
        blocks: blocks of contents, extent tree and attributes together.
        flags: :data:`EXTENTS_FLAG` or 0.
        body: up to 60 bytes, an extent tree, a short link's target or a device number.
        xattr_body: up to :data:`~bootwright.rootfs.ext4.xattrs.BODY_SIZE` bytes of attributes.
        xattr_block: the block with attributes, or 0.

    Raises:
        EntryRefused: a time is outside 1901 to 2446.
    """
    mtime, mtime_extra = encode_time(mtime_ns)
    changed, changed_extra = encode_time(changed_ns)
    sectors = blocks * (BLOCK // 512)
    raw = _FIXED.pack(
        mode,
        uid & 0xFFFF,
        size & 0xFFFFFFFF,
        mtime,  # access
        changed,
        mtime,
        0,  # time of deletion
        gid & 0xFFFF,
        links,
        sectors & 0xFFFFFFFF,
        flags,
        0,  # version
        body,
        0,  # generation
        xattr_block,
        size >> 32,
        0,  # obsolete
        sectors >> 32,
        0,  # high half of xattr_block
        uid >> 16,
        gid >> 16,
        0,  # checksum and reserved
        _EXTRA_SIZE,
        0,  # checksum
        changed_extra,
        mtime_extra,
        mtime_extra,
        changed,  # creation
        changed_extra,
        0,  # high half of version
        0,  # project
    )
    return (raw + xattr_body).ljust(INODE_SIZE, b"\0")


def encode_time(time_ns: int) -> tuple[int, int]:
    """Return a time as 32 bits of seconds, and 2 more bits with the nanoseconds.

    Raises:
        EntryRefused: outside 1901 to 2446, which is what 34 bits can tell.
    """
    seconds, nanoseconds = divmod(time_ns, 10**9)
    epoch = (seconds + (1 << 31)) >> 32
    if not 0 <= epoch < 4:
        raise EntryRefused(f"time {seconds} s is out of range")
    return seconds & 0xFFFFFFFF, epoch | nanoseconds << 2


def encode_device(major: int, minor: int) -> bytes:
    """Return the 60 bytes of a device node: 8-bit numbers have a field of their own."""
    if major < 256 and minor < 256:
        return struct.pack("<I56x", major << 8 | minor)
    return struct.pack("<II52x", 0, minor & 0xFF | major << 8 | (minor & ~0xFF) << 12)


def set_links(table: bytearray, offset: int, links: int) -> None:
    """Change the link count of the encoded inode at ``offset`` of ``table``."""
    struct.pack_into("<H", table, offset + _LINKS_AT, links)


def extents_root(table: bytearray, offset: int) -> bytes:
    """Return the 60 bytes with the extent tree of the encoded inode at ``offset``."""
    start = offset + _EXTENTS_AT
    return bytes(table[start : start + 60])
