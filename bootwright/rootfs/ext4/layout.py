"""The superblock and the group descriptors: reading them, and writing the free counts.

Numbers from ``Documentation/filesystems/ext4/super.rst`` and ``group_descr.rst``.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from bootwright.core.errors import InputError

BLOCK = 4096
"""Bytes in a block; the only size supported here."""

INODE_SIZE = 256
"""Bytes in an inode; the only size supported here."""

BLOCKS_PER_GROUP = 8 * BLOCK
"""Blocks in a group: the number of bits in its bitmap, which is one block."""

SUPERBLOCK_OFFSET = 1024
SUPERBLOCK_SIZE = 1024

ROOT_INODE = 2
LOST_FOUND_INODE = 11
"""The first inode that is not reserved; mke2fs uses it for ``lost+found``."""

_COMPAT, _INCOMPAT, _RO_COMPAT = 0x5C, 0x60, 0x64

FEATURES = {
    "has_journal": (_COMPAT, 0x4),
    "ext_attr": (_COMPAT, 0x8),
    "resize_inode": (_COMPAT, 0x10),
    "dir_index": (_COMPAT, 0x20),
    "filetype": (_INCOMPAT, 0x2),
    "extent": (_INCOMPAT, 0x40),
    "flex_bg": (_INCOMPAT, 0x200),
    "sparse_super": (_RO_COMPAT, 0x1),
    "large_file": (_RO_COMPAT, 0x2),
    "huge_file": (_RO_COMPAT, 0x8),
    "dir_nlink": (_RO_COMPAT, 0x20),
    "extra_isize": (_RO_COMPAT, 0x40),
}
"""The supported features: the offset in the superblock and the bit of each.

Not supported are 64bit, the checksums and orphan_file, which old boot loaders cannot read.
"""

_REQUIRED = ("ext_attr", "filetype", "extent", "large_file", "dir_nlink", "extra_isize")

_MAGIC = 0xEF53
_DESCRIPTOR = struct.Struct("<IIIHHH14x")


def check_features(features: Sequence[str]) -> None:
    """Check a list of feature names.

    Raises:
        InputError: one is not supported, or a required one is missing; the message names them.
    """
    unsupported = [name for name in features if name not in FEATURES]
    if unsupported:
        raise InputError(
            f"ext4 feature not supported: {', '.join(unsupported)};"
            f" supported are {', '.join(FEATURES)}"
        )
    missing = [name for name in _REQUIRED if name not in features]
    if missing:
        raise InputError(f"ext4 feature required: {', '.join(missing)}")


@dataclass(frozen=True)
class Superblock:
    """The numbers of blocks and inodes of a file system, and its superblock as bytes."""

    raw: bytes
    blocks: int
    inodes: int
    inodes_per_group: int

    @property
    def groups(self) -> int:
        """How many block groups there are; the last one may be smaller."""
        return -(-self.blocks // BLOCKS_PER_GROUP)

    def with_free(self, blocks: int, inodes: int) -> bytes:
        """Return the superblock as bytes, with these counts of free blocks and inodes."""
        raw = bytearray(self.raw)
        struct.pack_into("<II", raw, 0x0C, blocks, inodes)
        return bytes(raw)


def parse_superblock(raw: bytes) -> Superblock:
    """Parse the 1024 bytes at :data:`SUPERBLOCK_OFFSET`.

    Raises:
        ValueError: not ext4, or with features or sizes that are not supported here.
    """
    inodes, blocks = struct.unpack_from("<II", raw, 0x00)
    first_block, log_block = struct.unpack_from("<II", raw, 0x14)
    (per_group,) = struct.unpack_from("<I", raw, 0x20)
    (inodes_per_group,) = struct.unpack_from("<I", raw, 0x28)
    (magic,) = struct.unpack_from("<H", raw, 0x38)
    (inode_size,) = struct.unpack_from("<H", raw, 0x58)
    if magic != _MAGIC:
        raise ValueError("no ext4 superblock")
    if (first_block, 1024 << log_block, per_group) != (0, BLOCK, BLOCKS_PER_GROUP):
        raise ValueError("its blocks are not of 4 KiB")
    if inode_size != INODE_SIZE:
        raise ValueError(f"its inodes are of {inode_size} bytes")
    for word in (_COMPAT, _INCOMPAT, _RO_COMPAT):
        known = sum(bit for offset, bit in FEATURES.values() if offset == word)
        unknown = struct.unpack_from("<I", raw, word)[0] & ~known
        if unknown:
            raise ValueError(f"feature bits {unknown:#x} at {word:#x} are not supported")
    return Superblock(raw, blocks, inodes, inodes_per_group)


@dataclass
class Group:
    """A group descriptor: the block numbers of its parts, and counts."""

    block_bitmap: int
    inode_bitmap: int
    inode_table: int
    free_blocks: int
    free_inodes: int
    directories: int


def parse_groups(raw: bytes, count: int) -> list[Group]:
    """Return the first ``count`` descriptors of the table that starts in block 1."""
    size = _DESCRIPTOR.size
    return [Group(*_DESCRIPTOR.unpack_from(raw, size * number)) for number in range(count)]


def encode_groups(groups: Sequence[Group]) -> bytes:
    """Return the table of descriptors; see :func:`parse_groups`."""
    return b"".join(
        _DESCRIPTOR.pack(
            group.block_bitmap,
            group.inode_bitmap,
            group.inode_table,
            group.free_blocks,
            group.free_inodes,
            group.directories,
        )
        for group in groups
    )
