"""Filling an empty ext4, made by mke2fs, with the entries of an archive, in one pass.

File contents are written to their final blocks at once. Inodes, directories, bitmaps and counts
are kept in memory and written at the end, so the memory needed depends on the number of entries
and not on their sizes.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from bootwright.rootfs.ext4 import dirents
from bootwright.rootfs.ext4.allocator import Allocator, ImageFullError, Run, bitmap_of, free_runs
from bootwright.rootfs.ext4.dirents import encode_directory
from bootwright.rootfs.ext4.extents import decode_root, encode_extents
from bootwright.rootfs.ext4.inodes import (
    EXTENTS_FLAG,
    LINK_IN_INODE,
    LINKS_MAX,
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFIFO,
    S_IFLNK,
    S_IFREG,
    encode_device,
    encode_inode,
    encode_time,
    extents_root,
    set_links,
)
from bootwright.rootfs.ext4.layout import (
    BLOCK,
    BLOCKS_PER_GROUP,
    INODE_SIZE,
    LOST_FOUND_INODE,
    ROOT_INODE,
    SUPERBLOCK_OFFSET,
    SUPERBLOCK_SIZE,
    encode_groups,
    parse_groups,
    parse_superblock,
)
from bootwright.rootfs.ext4.xattrs import attribute, encode_xattrs
from bootwright.rootfs.tar_entries import (
    EntryKind,
    EntryRefused,
    Node,
    RootTree,
    TarEntry,
    quote_name,
)

_TYPES = {
    EntryKind.FILE: (S_IFREG, dirents.TYPE_FILE),
    EntryKind.DIRECTORY: (S_IFDIR, dirents.TYPE_DIRECTORY),
    EntryKind.SYMLINK: (S_IFLNK, dirents.TYPE_SYMLINK),
    EntryKind.CHAR_DEVICE: (S_IFCHR, dirents.TYPE_CHAR),
    EntryKind.BLOCK_DEVICE: (S_IFBLK, dirents.TYPE_BLOCK),
    EntryKind.FIFO: (S_IFIFO, dirents.TYPE_FIFO),
}
_MODE = {kind: mode for kind, (mode, _) in _TYPES.items()}
_DIRENT = {kind: dirent for kind, (_, dirent) in _TYPES.items()}
_ZEROS = bytes(BLOCK)
_NONE: Mapping[bytes, bytes] = {}

Runs = tuple[tuple[int, int], ...]
"""Blocks on disk as (first, count), in the file's order."""

Read = Callable[[int], memoryview]
"""Returns the next bytes of the current entry's content, at most as many as given."""


class ImageAccess(Protocol):
    """The image file. Offsets and sizes are in bytes."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes from ``offset``."""
        ...

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of ``data`` to ``offset``."""
        ...


class Filler:
    """Adds entries to the empty file system on ``disk``; :meth:`finish` completes it.

    Args:
        disk: the image with the empty file system.
        timestamp: seconds since 1970, for all times that the archive does not contain.

    Raises:
        ValueError: the file system has features or sizes that are not supported here.
    """

    def __init__(self, disk: ImageAccess, timestamp: int) -> None:
        self._disk = disk
        self._now_ns = timestamp * 10**9
        self._super = parse_superblock(disk.read_at(SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE))
        table = disk.read_at(BLOCK, 32 * self._super.groups)
        self._groups = parse_groups(table, self._super.groups)
        self._blocks = Allocator(self._free_blocks())
        self._inodes = Allocator(self._free_inodes())
        # The inode table of each group that is in use, by the number of the group.
        self._tables: dict[int, bytearray] = {}
        self._tree = RootTree()
        self._directories_with_inode = 0
        self._hard_links = 0
        # The encoded extended attributes of directories, by inode; see _xattrs.
        self._attributes: dict[int, tuple[bytes, int]] = {}
        self._take_over(self._tree.root, ROOT_INODE, 0o755)
        self._take_over(self._tree.directory(b"lost+found"), LOST_FOUND_INODE, 0o700)
        self.skipped_xattrs = 0
        """How many extended attributes were left out, because ext4 cannot store them."""
        self.first_skipped = ""
        """The first of them and its file, for a message."""

    @property
    def directories(self) -> int:
        """How many directories there are."""
        return self._tree.directories

    @property
    def implied_directories(self) -> int:
        """How many directories have had no entry so far, but are in the path of another entry."""
        return self._tree.directories - self._directories_with_inode

    @property
    def blocks_free(self) -> int:
        """How many blocks are free."""
        return self._blocks.free

    def add(self, entry: TarEntry, read: Read) -> None:
        """Add an entry; ``read`` returns its content.

        Raises:
            EntryRefused: a root file system may not contain it, or ext4 cannot store it.
            ImageFullError: the file system is full.
        """
        node, replaced = self._tree.place(entry)
        if replaced:
            self._remove_name(replaced)
        if entry.kind is EntryKind.HARD_LINK:
            if node.links > LINKS_MAX:
                raise EntryRefused(f"more than {LINKS_MAX} hard links")
            self._hard_links += 1
            if self._hard_links > self._super.inodes:
                raise ImageFullError  # a limit: the names of links need memory
            self._write_link_count(node)
            return
        if not node.inode:
            self._assign_inode(node)
        if self.implied_directories > self._inodes.free:
            raise ImageFullError  # implied directories get their inodes at the end
        if entry.kind is EntryKind.DIRECTORY:
            self._keep_attributes(node, entry)
        elif entry.kind is EntryKind.FILE:
            runs = self._blocks.take(-(-entry.size // BLOCK))
            self._copy(runs, entry.size, read)
            self._write_inode(node, entry, size=entry.size, runs=runs)
        elif entry.kind is EntryKind.SYMLINK:
            self._add_link(node, entry)
        else:
            self._write_inode(node, entry, body=encode_device(*entry.device))

    def finish(self) -> None:
        """Write directories, inodes, bitmaps and counts.

        Raises:
            ImageFullError: the file system is full.
        """
        directories = self._assign_directory_inodes()
        for node, parent in directories:
            self._write_directory(node, parent)
        for number, table in self._tables.items():
            # The image is already zero after the last used inode.
            used = bytes(table).rstrip(b"\0")
            self._disk.write_at(self._groups[number].inode_table * BLOCK, used)
        self._write_bitmaps([node for node, _ in directories])

    def _free_blocks(self) -> Iterator[Run]:
        for number, group in enumerate(self._groups):
            first = number * BLOCKS_PER_GROUP
            count = min(BLOCKS_PER_GROUP, self._super.blocks - first)
            yield from free_runs(self._block(group.block_bitmap), first, count)

    def _free_inodes(self) -> Iterator[Run]:
        """Yield free inodes as inode number - 1: groups start at multiples of their size then."""
        count = self._super.inodes_per_group
        for number, group in enumerate(self._groups):
            yield from free_runs(self._block(group.inode_bitmap), number * count, count)

    def _block(self, number: int) -> bytes:
        return self._disk.read_at(number * BLOCK, BLOCK)

    def _take_over(self, node: Node, inode: int, mode: int) -> None:
        """Use a directory that mke2fs has made, with its inode and blocks, as ``node``."""
        table, offset = self._slot(inode)
        node.inode = inode
        self._directories_with_inode += 1
        node.runs = tuple(decode_root(extents_root(table, offset)))
        node.attributes = self._plain_directory(mode)

    def _plain_directory(self, mode: int) -> TarEntry:
        """Return the attributes of a directory without an entry: owned by root."""
        return TarEntry(EntryKind.DIRECTORY, b"", mode, 0, 0, self._now_ns, 0, b"", (0, 0), {})

    def _assign_inode(self, node: Node) -> None:
        node.inode = self._inodes.take_one() + 1
        self._directories_with_inode += node.kind is EntryKind.DIRECTORY

    def _keep_attributes(self, node: Node, entry: TarEntry) -> None:
        """Keep the attributes of a directory until the end, when all its names are known.

        To save memory, extended attributes (up to a MiB) are encoded now, and the path is dropped.
        """
        encode_time(entry.mtime_ns)  # raises now, while the name of the entry is known
        _, old = self._attributes.pop(node.inode, (b"", 0))
        if old:
            self._blocks.give_back([(old, 1)])
        if entry.xattrs:
            self._attributes[node.inode] = self._xattrs(entry)
        node.attributes = entry._replace(name=b"", link=b"", xattrs=_NONE)

    def _slot(self, inode: int) -> tuple[bytearray, int]:
        """Return the table that contains the inode, and the offset of the inode in it."""
        per_group = self._super.inodes_per_group
        number, index = divmod(inode - 1, per_group)
        table = self._tables.get(number)
        if table is None:
            start = self._groups[number].inode_table * BLOCK
            table = bytearray(self._disk.read_at(start, per_group * INODE_SIZE))
            self._tables[number] = table
        return table, index * INODE_SIZE

    def _copy(self, runs: Runs, size: int, read: Read) -> None:
        write_at = self._disk.write_at
        for start, count in runs:
            offset = start * BLOCK
            left = min(size, count * BLOCK)
            size -= left
            while left:
                data = read(left)
                write_at(offset, data)
                offset += len(data)
                left -= len(data)
        if runs and offset % BLOCK:
            # The block may contain old bytes, of a file that was replaced.
            write_at(offset, _ZEROS[offset % BLOCK :])

    def _store(self, content: bytes) -> Runs:
        """Write ``content`` to new blocks; return them."""
        runs = self._blocks.take(-(-len(content) // BLOCK))
        view = memoryview(content)
        position = 0

        def read(limit: int) -> memoryview:
            nonlocal position
            position += limit
            return view[position - limit : position]

        self._copy(runs, len(content), read)
        return runs

    def _add_link(self, node: Node, entry: TarEntry) -> None:
        target = entry.link
        if len(target) <= LINK_IN_INODE:
            self._write_inode(node, entry, size=len(target), body=target)
        else:
            self._write_inode(node, entry, size=len(target), runs=self._store(target))

    def _write_inode(
        self,
        node: Node,
        entry: TarEntry,
        *,
        size: int = 0,
        links: int = 1,
        runs: Runs = (),
        body: bytes | None = None,
        xattrs: tuple[bytes, int] = (b"", 0),
    ) -> None:
        """Write the inode of a file whose content is in ``runs``, or (with ``body``) in the inode.

        ``xattrs`` are the extended attributes of a directory, which were encoded before.
        """
        flags = 0
        if body is None:
            flags = EXTENTS_FLAG
            body, tree = encode_extents(runs, self._blocks.take_one)
            for number, content in tree:
                self._disk.write_at(number * BLOCK, content)
                runs = (*runs, (number, 1))
        xattr_body, xattr_block = self._xattrs(entry) if entry.xattrs else xattrs
        if xattr_block:
            runs = (*runs, (xattr_block, 1))
        node.runs = runs
        table, offset = self._slot(node.inode)
        table[offset : offset + INODE_SIZE] = encode_inode(
            mode=_MODE[node.kind] | entry.mode,
            uid=entry.uid,
            gid=entry.gid,
            mtime_ns=entry.mtime_ns,
            changed_ns=self._now_ns,
            size=size,
            links=links,
            blocks=sum(count for _, count in runs),
            flags=flags,
            body=body,
            xattr_body=xattr_body,
            xattr_block=xattr_block,
        )

    def _xattrs(self, entry: TarEntry) -> tuple[bytes, int]:
        """Encode extended attributes; return the inode's last bytes, and a block number or 0."""
        found = []
        for name, value in entry.xattrs.items():
            item = attribute(name, value)
            if item:
                found.append(item)
            else:
                self.skipped_xattrs += 1
                self.first_skipped = (
                    self.first_skipped or f"{quote_name(name)} of {quote_name(entry.name)}"
                )
        body, block = encode_xattrs(found)
        if block is None:
            return body, 0
        return body, self._store(block)[0][0]

    def _write_link_count(self, node: Node) -> None:
        table, offset = self._slot(node.inode)
        set_links(table, offset, node.links)

    def _remove_name(self, node: Node) -> None:
        """Remove one name of a file; if it was the last, its inode and blocks become free."""
        node.links -= 1
        if node.links:
            self._write_link_count(node)
            return
        table, offset = self._slot(node.inode)
        table[offset : offset + INODE_SIZE] = bytes(INODE_SIZE)
        self._inodes.give_back([(node.inode - 1, 1)])
        self._blocks.give_back(node.runs)

    def _assign_directory_inodes(self) -> list[tuple[Node, Node]]:
        """Give every directory an inode; return each with its parent."""
        found = [(self._tree.root, self._tree.root)]
        for node, _ in found:  # the list grows in the loop
            if not node.inode:
                self._assign_inode(node)
            below = (node.children or {}).values()
            found += [(child, node) for child in below if child.kind is EntryKind.DIRECTORY]
        return found

    def _write_directory(self, node: Node, parent: Node) -> None:
        children = node.children or {}
        names = ((name, child.inode, _DIRENT[child.kind]) for name, child in children.items())
        have = sum(count for _, count in node.runs)
        content = encode_directory(node.inode, parent.inode, names, have)
        more = self._blocks.take(len(content) // BLOCK - have)
        runs = (*node.runs, *more)
        view = memoryview(content)
        for start, count in runs:
            self._disk.write_at(start * BLOCK, view[: count * BLOCK])
            view = view[count * BLOCK :]
        below = sum(child.kind is EntryKind.DIRECTORY for child in children.values())
        links = 2 + below if below <= LINKS_MAX - 2 else 1  # 1 means too many to count (dir_nlink)
        entry = node.attributes or self._plain_directory(0o755)
        xattrs = self._attributes.get(node.inode, (b"", 0))
        size = len(content)
        self._write_inode(node, entry, size=size, links=links, runs=runs, xattrs=xattrs)

    def _write_bitmaps(self, directories: list[Node]) -> None:
        per_group = self._super.inodes_per_group
        free_blocks = self._blocks.remaining(BLOCKS_PER_GROUP)
        free_inodes = self._inodes.remaining(per_group)
        for group in self._groups:
            group.directories = 0
        for node in directories:
            self._groups[(node.inode - 1) // per_group].directories += 1
        for number, group in enumerate(self._groups):
            blocks, inodes = free_blocks.get(number, []), free_inodes.get(number, [])
            group.free_blocks = sum(run.length for run in blocks)
            group.free_inodes = sum(run.length for run in inodes)
            bitmap = bitmap_of(blocks, number * BLOCKS_PER_GROUP, BLOCK)
            self._disk.write_at(group.block_bitmap * BLOCK, bitmap)
            bitmap = bitmap_of(inodes, number * per_group, BLOCK)
            self._disk.write_at(group.inode_bitmap * BLOCK, bitmap)
        self._disk.write_at(BLOCK, encode_groups(self._groups))
        raw = self._super.with_free(self._blocks.free, self._inodes.free)
        self._disk.write_at(SUPERBLOCK_OFFSET, raw)
