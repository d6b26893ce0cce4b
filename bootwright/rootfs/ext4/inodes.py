"""Inodes: 256 bytes for each file.

Numbers from ``Documentation/filesystems/ext4/inodes.rst``, and ``new_encode_dev`` of the
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
"""File types, as bits of the mode."""

EXTENTS_FLAG = 0x80000
"""The flag of an inode whose 60 bytes contain an extent tree."""

LINKS_MAX = 65000
"""The most hard links of a file. In a directory with more subdirectories they are not counted."""

LINK_IN_INODE = 59
"""The most bytes of a symbolic link's target that fit into the inode, with a NUL after them."""

_FIXED = struct.Struct("<HHIIIIIHHIII60sIIIIHHHHIHHIIIIIII")
_LINKS_OFFSET = 0x1A
_EXTENTS_OFFSET = 0x28
_EXTRA_SIZE = 32
"""Bytes of the fixed fields after the first 128 bytes (``i_extra_isize``)."""


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
    """Return the 256 bytes of an inode.

    Args:
        mode: type and permissions.
        uid: owner.
        gid: group.
        mtime_ns: time of modification and of access, in nanoseconds since 1970.
        changed_ns: time of change and of creation, in nanoseconds since 1970; archives do not
            contain it.
        size: bytes of content.
        links: number of names; for a directory 2 plus the number of its subdirectories.
        blocks: number of blocks of content, extent tree and attributes together.
        flags: :data:`EXTENTS_FLAG` or 0.
        body: up to 60 bytes: an extent tree, the target of a short link, or a device number.
        xattr_body: up to :data:`~bootwright.rootfs.ext4.xattrs.BODY_SIZE` bytes of attributes.
        xattr_block: the number of the block with attributes, or 0.

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
    """Return a time as two numbers: 32 bits of seconds; 2 more bits of seconds and the nanoseconds.

    Raises:
        EntryRefused: outside 1901 to 2446, the range of 34 bits.
    """
    seconds, nanoseconds = divmod(time_ns, 10**9)
    epoch = (seconds + (1 << 31)) >> 32
    if not 0 <= epoch < 4:
        raise EntryRefused(f"time {seconds} s is out of range")
    return seconds & 0xFFFFFFFF, epoch | nanoseconds << 2


def encode_device(major: int, minor: int) -> bytes:
    """Return the 60 bytes of a device node; numbers below 256 are stored in another field."""
    if major < 256 and minor < 256:
        return struct.pack("<I56x", major << 8 | minor)
    return struct.pack("<II52x", 0, minor & 0xFF | major << 8 | (minor & ~0xFF) << 12)


def set_links(table: bytearray, offset: int, links: int) -> None:
    """Change the link count of the encoded inode at ``offset`` of ``table``."""
    struct.pack_into("<H", table, offset + _LINKS_OFFSET, links)


def extents_root(table: bytearray, offset: int) -> bytes:
    """Return the 60 bytes with the extent tree of the encoded inode at ``offset``."""
    start = offset + _EXTENTS_OFFSET
    return bytes(table[start : start + 60])
