"""Directories: blocks of names, in the linear format, which has no index.

Numbers from ``Documentation/filesystems/ext4/directory.rst``, ``struct ext4_dir_entry_2``.
"""

import struct
from collections.abc import Iterable

from bootwright.rootfs.ext4.layout import BLOCK

TYPE_FILE, TYPE_DIRECTORY, TYPE_CHAR, TYPE_BLOCK, TYPE_FIFO, TYPE_SYMLINK = 1, 2, 3, 4, 5, 7
"""File types of a directory entry; 6 is a socket, which tarballs do not contain."""

_ENTRY = struct.Struct("<IHBB")


def encode_directory(
    inode: int, parent: int, names: Iterable[tuple[bytes, int, int]], min_blocks: int = 1
) -> bytes:
    """Return a directory's content, which fills whole blocks.

    Args:
        inode: of the directory itself, for ``.``.
        parent: inode of the parent directory, for ``..``.
        names: name, inode and file type of each entry, in the order of writing.
        min_blocks: the least number of blocks; blocks that are not needed get no names.
    """
    out = bytearray()
    last = _append(out, 0, b".", inode, TYPE_DIRECTORY)
    last = _append(out, last, b"..", parent, TYPE_DIRECTORY)
    for name, number, kind in names:
        last = _append(out, last, name, number, kind)
    _stretch(out, last)
    while len(out) < min_blocks * BLOCK:
        out += _ENTRY.pack(0, BLOCK, 0, 0).ljust(BLOCK, b"\0")
    return bytes(out)


def _append(out: bytearray, last: int, name: bytes, inode: int, kind: int) -> int:
    """Append an entry after the one at the offset ``last``; return the offset of the new one."""
    size = (_ENTRY.size + len(name) + 3) & ~3
    if len(out) % BLOCK + size > BLOCK or (out and len(out) % BLOCK == 0):
        _stretch(out, last)
    start = len(out)
    out += (_ENTRY.pack(inode, size, len(name), kind) + name).ljust(size, b"\0")
    return start


def _stretch(out: bytearray, last: int) -> None:
    """Extend the entry at ``last`` to the end of its block, as ext4 requires of the last entry."""
    size = BLOCK - last % BLOCK
    struct.pack_into("<H", out, last + 4, size)
    out += bytes(last + size - len(out))
