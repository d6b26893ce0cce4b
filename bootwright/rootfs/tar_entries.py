"""What a tarball of a root file system may contain, and what is refused. Pure.

Decoded headers become entries, and entries are put into a tree of names; otherwise
:class:`EntryRefused` is raised. The archive is untrusted input. Its names are never used in file
systems of this machine, but the result is mounted on a board. An ambiguous archive could be
understood in different ways by different programs, so it is refused.

Accepted: files, directories, symbolic links, hard links to an earlier entry, FIFOs,
and device nodes under ``dev/``. A name may be repeated: a directory gets new attributes, and what
is no directory replaces what is none, as both GNU tar and bsdtar do. A directory in place of
something else, or the reverse, is refused: those two differ there.

Format: POSIX.1-2008, utility ``pax``; the header blocks themselves are decoded by
:mod:`bootwright.rootfs.io.tar_stream`.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from bootwright.core.errors import InputError

NAME_MAX = 255
"""The most bytes in one component of a path (Linux ``limits.h``)."""

PATH_MAX = 4095
"""The most bytes in a path or in a symbolic link's target (Linux ``limits.h``, without the NUL)."""

_CACHED_PATHS_MAX = 512
"""The most directories whose paths are cached; the paths of all could need much memory."""

_PAX_TIME = re.compile(rb"(-?)(\d{1,18})(?:\.(\d*))?")
_PLAIN_KEYS = frozenset(
    (b"path", b"linkpath", b"size", b"uid", b"gid", b"mtime", b"atime", b"ctime")
)
_SCHILY = b"SCHILY.xattr."
_LIBARCHIVE = b"LIBARCHIVE.xattr."
_TEXT_ACL = b"SCHILY.acl."
_SELINUX = b"RHT.security.selinux"


class EntryRefused(ValueError):
    """An entry may not be part of a root file system; the reason is without the entry's name."""


def entry_error(archive: object, name: bytes, why: object) -> InputError:
    """Return an error with the names of the archive and of the entry, and why it was refused."""
    return InputError(f"{archive}: {quote_name(name)}: {why}")


def quote_name(name: bytes) -> str:
    """Return ``name`` in quotes for a message; control characters and bytes that are not UTF-8 are
    escaped.
    """
    text = name if len(name) <= NAME_MAX else name[:NAME_MAX] + b"..."
    return repr(text.decode("utf-8", "surrogateescape"))


class EntryKind(Enum):
    """What an entry is; the value is the text for messages."""

    FILE = "a file"
    DIRECTORY = "a directory"
    SYMLINK = "a symbolic link"
    HARD_LINK = "a hard link"
    CHAR_DEVICE = "a character device"
    BLOCK_DEVICE = "a block device"
    FIFO = "a FIFO"


_KINDS = {
    b"\0": EntryKind.FILE,
    b"0": EntryKind.FILE,
    b"7": EntryKind.FILE,
    b"1": EntryKind.HARD_LINK,
    b"2": EntryKind.SYMLINK,
    b"3": EntryKind.CHAR_DEVICE,
    b"4": EntryKind.BLOCK_DEVICE,
    b"5": EntryKind.DIRECTORY,
    b"6": EntryKind.FIFO,
}


class TarHeader(NamedTuple):
    """One header block, decoded; ``mtime`` is in seconds since 1970, ``size`` in bytes."""

    name: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    flag: bytes
    link: bytes
    device: tuple[int, int]


class TarEntry(NamedTuple):
    """One entry of the archive, with the values of its extended headers.

    ``size`` is the number of bytes of content (0 unless it is a file), ``link`` the target of a
    symbolic or hard link, ``device`` a (major, minor) pair, ``xattrs`` the extended attributes by
    their full names. Of a sparse file, ``size`` is that of the whole file, and ``stored`` the bytes
    of its map and its data in the archive; ``None`` for other files.
    """

    kind: EntryKind
    name: bytes
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    link: bytes
    device: tuple[int, int]
    xattrs: Mapping[bytes, bytes]
    stored: int | None = None


def entry_of(header: TarHeader, extended: Mapping[bytes, bytes]) -> TarEntry:
    """Return the entry that a header and its extended headers describe.

    Args:
        header: the header block.
        extended: the pax records before it; GNU long names are passed as the records ``path`` and
            ``linkpath``.

    Raises:
        EntryRefused: a sparse file in an old format, an unknown type, a number out of range.
    """
    special = extended.keys() - _PLAIN_KEYS
    is_sparse = any(key.startswith(b"GNU.sparse.") for key in special)
    version = (extended.get(b"GNU.sparse.major"), extended.get(b"GNU.sparse.minor"))
    if header.flag == b"S" or (is_sparse and version != (b"1", b"0")):
        raise EntryRefused(
            "a sparse file in an old format of GNU tar; pack the archive again, with"
            " --format=posix or without --sparse (bsdtar: --no-read-sparse)"
        )
    kind = _KINDS.get(header.flag)
    if kind is None:
        raise EntryRefused(f"type {header.flag!r} is not allowed in a root file system")
    name = extended.get(b"GNU.sparse.name") or extended.get(b"path") or header.name
    size = _decimal(extended, b"size", header.size)
    if size < 0:
        raise EntryRefused(f"its size is {size}")
    stored = None
    if is_sparse:
        stored, size = size, _decimal(extended, b"GNU.sparse.realsize", -1)
        if kind is not EntryKind.FILE or size < 0:
            raise EntryRefused("a sparse file without a size, or that is no file")
    if kind is EntryKind.FILE and name.endswith(b"/") and not size:
        kind = EntryKind.DIRECTORY  # the format of archivers before POSIX
    if kind is EntryKind.HARD_LINK and size:
        raise EntryRefused("a hard link with content")
    uid = _decimal(extended, b"uid", header.uid)
    gid = _decimal(extended, b"gid", header.gid)
    if not (0 <= uid < 1 << 32 and 0 <= gid < 1 << 32):
        raise EntryRefused(f"owner {uid}:{gid} is out of range")
    return TarEntry(
        kind=kind,
        name=name,
        mode=header.mode & 0o7777,
        uid=uid,
        gid=gid,
        mtime_ns=_mtime_ns(extended, header.mtime),
        size=size if kind is EntryKind.FILE else 0,
        link=extended.get(b"linkpath") or header.link,
        device=header.device,
        xattrs=_xattrs(extended) if special else {},
        stored=stored,
    )


def sparse_map(numbers: list[int], size: int, stored: int) -> list[tuple[int, int]]:
    """Return where the data of a sparse file are in it: (offset, bytes), in order.

    Args:
        numbers: of the map: an offset and a number of bytes for each range.
        size: of the whole file, in bytes.
        stored: bytes of data in the archive.

    Raises:
        EntryRefused: the ranges overlap, are not in order, or do not fit.
    """
    ranges = list(zip(numbers[::2], numbers[1::2], strict=True))
    end = 0
    for offset, length in ranges:
        if offset < end:
            raise EntryRefused("a damaged map of a sparse file")
        end = offset + length
    if end > size or sum(length for _, length in ranges) != stored:
        raise EntryRefused("a damaged map of a sparse file")
    return [(offset, length) for offset, length in ranges if length]


def _decimal(extended: Mapping[bytes, bytes], key: bytes, default: int) -> int:
    text = extended.get(key)
    if not text:
        return default
    if not text.isdigit() or len(text) > 20:
        raise EntryRefused(f"extended header {key.decode()!r} is not a number")
    return int(text)


def _mtime_ns(extended: Mapping[bytes, bytes], default_s: int) -> int:
    text = extended.get(b"mtime")
    if not text:
        return default_s * 10**9
    match = _PAX_TIME.fullmatch(text)
    if match is None:
        raise EntryRefused("extended header 'mtime' is not a time")
    fraction = int((match[3] or b"")[:9].ljust(9, b"0"))
    time_ns = int(match[2]) * 10**9 + fraction
    return -time_ns if match[1] else time_ns


def _xattrs(extended: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the extended attributes. If an archiver has written one in both formats (bsdtar does),
    the SCHILY format is used, which is exact.
    """
    found: dict[bytes, bytes] = {}
    for key, value in extended.items():
        if key.startswith(_LIBARCHIVE):
            name = unquote_to_bytes(key[len(_LIBARCHIVE) :])
            try:
                found.setdefault(name, base64.b64decode(value + b"=" * (-len(value) % 4)))
            except binascii.Error:
                raise EntryRefused(f"extended attribute {quote_name(name)} is not base64") from None
        elif key.startswith(_SCHILY):
            found[key[len(_SCHILY) :]] = value
        elif key.startswith(_TEXT_ACL):
            found[key] = (
                value  # as text, which ext4 cannot store: returned so that a warning follows
            )
        elif key == _SELINUX:
            found[b"security.selinux"] = value + b"\0"
    return found


@dataclass(slots=True, eq=False)
class Node:
    """A file of any kind in the tree; hard links are one node with several names.

    Attributes:
        kind: what it is.
        inode: its number in the file system; 0 until one is assigned.
        links: how many names it has.
        runs: its blocks on disk as (first, count).
        children: of a directory, by name.
        attributes: the last entry of a directory; ``None`` if it has had none and is only in the
            path of another entry.
    """

    kind: EntryKind
    inode: int = 0
    links: int = 1
    runs: tuple[tuple[int, int], ...] = ()
    children: dict[bytes, "Node"] | None = None
    attributes: TarEntry | None = None


def directory_node() -> Node:
    """Return an empty directory."""
    return Node(EntryKind.DIRECTORY, children={})


class Placement(NamedTuple):
    """The node of an entry, and the file that it replaces, if any."""

    node: Node
    replaced: Node | None


class RootTree:
    """The names of a root file system; entries are added one by one."""

    def __init__(self) -> None:
        self.root = directory_node()
        self.directories = 1
        """How many directories there are, the root included."""
        # A cache of directories by path, because walking a path takes time for each component.
        self._cache = {b"": self.root}

    def place(self, entry: TarEntry) -> Placement:
        """Add ``entry``; parent directories that are missing are made.

        Raises:
            EntryRefused: see the module's description; the tree must not be used any more.
        """
        path = clean_path(entry.name)
        if entry.kind is EntryKind.DIRECTORY:
            node = self.directory(path)
            node.attributes = entry
            return Placement(node, None)
        if not path or entry.name.endswith(b"/"):
            raise EntryRefused(f"the name of a directory, but it is {entry.kind.value}")
        parent, _, base = path.rpartition(b"/")
        names = _children(self._cache.get(parent) or self.directory(parent))
        old = names.get(base)
        if old is not None and old.kind is EntryKind.DIRECTORY:
            raise EntryRefused(f"{entry.kind.value} in place of {old.kind.value} of the same name")
        if entry.kind is EntryKind.HARD_LINK:
            node = self._linked(entry.link)
            if node is old:
                return Placement(node, None)  # the same link again, or a link to itself
            node.links += 1
        else:
            _check_special(entry, path, parent)
            node = Node(entry.kind)
        names[base] = node
        return Placement(node, old)

    def _linked(self, target: bytes) -> Node:
        parent, _, base = clean_path(target).rpartition(b"/")
        directory = self._cache.get(parent) or self._find(parent)
        node = (directory.children or {}).get(base) if directory else None
        if node is None:
            raise EntryRefused(
                f"a hard link to {quote_name(target)}, but there is no earlier entry of that name"
            )
        if node.kind is EntryKind.DIRECTORY:
            raise EntryRefused(f"a hard link to {quote_name(target)}, which is {node.kind.value}")
        return node

    def directory(self, path: bytes) -> Node:
        """Return the directory ``path`` (a result of :func:`clean_path`); make it if it is missing.

        Raises:
            EntryRefused: it is something else, or there is a link in the path.
        """
        cached = self._cache.get(path)
        if cached is not None:
            return cached
        node, parts = self.root, path.split(b"/")
        for depth, base in enumerate(parts, 1):
            child = _children(node).get(base)
            if child is None:
                child = self._make_directory(node, base)
            elif child.kind is not EntryKind.DIRECTORY:
                raise _not_a_directory(b"/".join(parts[:depth]), child)
            node = child
        if len(self._cache) >= _CACHED_PATHS_MAX:
            self._cache = {b"": self.root}
        self._cache[path] = node
        return node

    def _make_directory(self, parent: Node, base: bytes) -> Node:
        node = _children(parent)[base] = directory_node()
        self.directories += 1
        return node

    def _find(self, path: bytes) -> Node | None:
        node: Node | None = self.root
        for base in path.split(b"/"):
            node = (node.children or {}).get(base) if node else None
        return node


def _not_a_directory(path: bytes, node: Node) -> EntryRefused:
    if node.kind is EntryKind.SYMLINK:
        return EntryRefused(f"{quote_name(path)} is a symbolic link, and this would go through it")
    return EntryRefused(f"{quote_name(path)} is {node.kind.value}, not a directory")


def _children(node: Node) -> dict[bytes, Node]:
    if node.children is None:
        raise AssertionError("only directories have children")
    return node.children


def _check_special(entry: TarEntry, path: bytes, parent: bytes) -> None:
    if entry.kind is EntryKind.SYMLINK:
        check_target(entry.link, parent)
    elif entry.kind in (EntryKind.CHAR_DEVICE, EntryKind.BLOCK_DEVICE):
        if not path.startswith(b"dev/"):
            raise EntryRefused("a device node outside dev/")
        major, minor = entry.device
        if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
            raise EntryRefused(f"device number {major}:{minor} is out of range")


def clean_path(name: bytes) -> bytes:
    """Return ``name`` without ``.`` and repeated slashes; the root directory is ``b""``.

    Raises:
        EntryRefused: it is empty, absolute, has ``..`` or NUL, or is longer than Linux allows.
    """
    if not name:
        raise EntryRefused("it has no name")
    if name[0] == 0x2F:
        raise EntryRefused("its name is absolute")
    if b"\0" in name:
        raise EntryRefused("NUL in a name")
    if len(name) > PATH_MAX:
        raise EntryRefused(f"a name of {len(name)} bytes; {PATH_MAX} is the limit")
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise EntryRefused("'..' in a name")
    if len(name) > NAME_MAX and any(len(part) > NAME_MAX for part in parts):
        raise EntryRefused(f"a component longer than {NAME_MAX} bytes")
    return b"/".join(parts)


def check_target(target: bytes, parent: bytes) -> None:
    """Check the target of a symbolic link.

    An absolute target starts at the root of the root file system, a relative one at the link's
    directory ``parent`` (a result of :func:`clean_path`). ``..`` may not lead above the root.

    Raises:
        EntryRefused: it is empty, too long, has NUL, or leads above the root.
    """
    if not target:
        raise EntryRefused("a symbolic link to nothing")
    if b"\0" in target:
        raise EntryRefused("NUL in the target of a symbolic link")
    if len(target) > PATH_MAX:
        raise EntryRefused(
            f"a symbolic link to a name of {len(target)} bytes; {PATH_MAX} is the limit"
        )
    depth = 0 if target[0] == 0x2F or not parent else parent.count(b"/") + 1
    for part in target.split(b"/"):
        if part == b"..":
            depth -= 1
        elif part not in (b"", b"."):
            depth += 1
        if depth < 0:
            raise EntryRefused(f"a symbolic link to {quote_name(target)}, which leaves the root")
