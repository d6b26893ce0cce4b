"""Reading an ext4 file system inside an image file: no mount, no root.

The reader is debugfs of e2fsprogs, opened read-only as ``IMAGE?offset=BYTES``.
debugfs ends with status 0 when a command fails and follows no symbolic link at
the end of a path, so this module asks it by inode number only (``<12>``: nothing
to quote), walks paths itself and checks every length it gets.

The journal is not replayed: after a hard power-off the newest changes may be
missing (:attr:`FileSystemFacts.needs_recovery`).
"""

import re
import stat
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bootwright.core.errors import FailedError, InputError
from bootwright.core.io.process import Finished, run

ROOT_INODE = 2
"""The inode of ``/`` in every ext2, ext3 and ext4."""

MAX_LINKS = 40
"""Symbolic links followed in one path before giving up; Linux's own limit."""

# One line of `ls -p`: /inode/mode/uid/gid/name/size/. The name may hold anything
# but a slash, a newline too; the size is empty for a directory. Owners from 2^31 on
# are shown as negative numbers.
_ENTRY = re.compile(rb"/(\d+)/([0-7]+)/(-?\d+)/(-?\d+)/([^/]*)/(\d*)/\n")
_FAST_LINK = re.compile(rb'^Fast link dest: "(.*)"$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class DirectoryEntry:
    """A name in a directory.

    ``mode`` holds type and permissions as in ``st_mode``; ``size`` is in bytes
    (0 for a directory, whatever its blocks take).
    """

    name: str
    inode: int
    mode: int
    uid: int
    gid: int
    size: int

    @property
    def is_dir(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return stat.S_ISLNK(self.mode)

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.mode)


@dataclass(frozen=True)
class FileSystemFacts:
    """What the superblock says of the file system; sizes in bytes."""

    uuid: str
    label: str
    features: frozenset[str]
    state: str
    block_size: int
    size: int

    @property
    def needs_recovery(self) -> bool:
        """Whether the journal holds changes that this reader does not see."""
        return "needs_recovery" in self.features


class Ext4Reader:
    """The files of one ext4 in an image file.

    Args:
        image: the image; it must not change while the reader is in use, since
            directories are read once and kept.
        offset: bytes before the file system, 0 for a bare one.

    Paths are absolute, with ``/`` as separator; symbolic links are followed inside
    the image and never leave it. Bytes in a name that are not UTF-8 are carried as
    surrogate escapes.
    """

    def __init__(self, image: Path, offset: int = 0) -> None:
        if "?" in str(image):
            raise InputError(f"{image}: debugfs cannot open a path with a question mark; rename it")
        self.image = image
        self._device = f"{image}?offset={offset}" if offset else str(image)
        self._where = f"{image}, byte {offset}" if offset else str(image)
        self._directories: dict[int, dict[str, DirectoryEntry]] = {}

    def superblock(self) -> FileSystemFacts:
        """Return the superblock's fields.

        Raises:
            InputError: the image cannot be read, or has no ext4 there.
        """
        text = self._ask("show_super_stats -h").text
        fields = {
            name.strip(): value.strip()
            for name, colon, value in (line.partition(":") for line in text.splitlines())
            if colon
        }
        label = fields["Filesystem volume name"]
        block_size = int(fields["Block size"])
        return FileSystemFacts(
            uuid=fields["Filesystem UUID"],
            label="" if label == "<none>" else label,
            features=frozenset(fields["Filesystem features"].split()),
            state=fields["Filesystem state"],
            block_size=block_size,
            size=block_size * int(fields["Block count"]),
        )

    def resolve(self, path: str) -> str | None:
        """Return ``path`` with every symbolic link followed, or ``None`` if it names nothing."""
        found = self._walk(path, follow_last=True)
        return found[0] if found else None

    def lookup(self, path: str, *, follow: bool = True) -> DirectoryEntry | None:
        """Return what ``path`` names, or ``None``.

        Args:
            path: an absolute path.
            follow: whether a symbolic link at its end is followed.

        Raises:
            InputError: not an ext4, or too many symbolic links.
        """
        found = self._walk(path, follow_last=follow)
        return found[1] if found else None

    def exists(self, path: str) -> bool:
        """Say whether ``path`` names something, symbolic links followed."""
        return self.lookup(path) is not None

    def readlink(self, path: str) -> str:
        """Return where the symbolic link ``path`` points, as written in it.

        Raises:
            InputError: ``path`` is no symbolic link.
        """
        entry = self.lookup(path, follow=False)
        if entry is None or not entry.is_link:
            raise InputError(f"{self._where}: {path} is not a symbolic link")
        return self._link(entry)

    def list_dir(self, path: str) -> tuple[DirectoryEntry, ...]:
        """Return the names in the directory ``path``, sorted, without ``.`` and ``..``.

        Raises:
            InputError: ``path`` is no directory.
        """
        entry = self.lookup(path)
        if entry is None or not entry.is_dir:
            raise InputError(f"{self._where}: {path} is not a directory")
        names = self._directory(entry.inode)
        return tuple(names[name] for name in sorted(names) if name not in (".", ".."))

    def read_file(self, path: str) -> bytes:
        """Return the content of the regular file ``path``.

        Raises:
            InputError: there is no such file.
            FailedError: the file system is damaged.
        """
        entry = self._file(path)
        return self._content(entry, path)

    def read_files(self, paths: Sequence[str], directory: Path | None = None) -> dict[str, bytes]:
        """Return the content of several regular files, read by one debugfs.

        Args:
            paths: absolute paths in the image.
            directory: where the copies lie meanwhile, in a private folder; secrets do
                not belong into the system's folder of temporary files, the default.

        Errors are those of :meth:`read_file`.
        """
        with tempfile.TemporaryDirectory(prefix="bootwright-", dir=directory) as folder:
            copies = {path: Path(folder, str(index)) for index, path in enumerate(paths)}
            self.dump(copies)
            return {path: copy.read_bytes() for path, copy in copies.items()}

    def dump(self, copies: Mapping[str, Path]) -> None:
        """Copy regular files out of the image with one debugfs.

        Args:
            copies: path in the image to the file to write (replaced if it exists).

        Raises:
            InputError: there is no such file in the image.
            FailedError: a copy could not be written or is shorter than the file.
        """
        wanted = {path: self._file(path) for path in copies}
        commands = []
        for path, entry in wanted.items():
            # An older copy must not be taken for this one if debugfs fails.
            copies[path].unlink(missing_ok=True)
            commands.append(f"dump <{entry.inode}> {_quoted(copies[path])}")
        done = self._run(["-f", "-"], "\n".join(commands).encode("utf-8", "surrogateescape"))
        for path, entry in wanted.items():
            got = copies[path].stat().st_size if copies[path].exists() else None
            if got != entry.size:
                said = done.stderr.decode("utf-8", "replace").strip().splitlines()[1:]
                raise FailedError(
                    f"{self._where}: could not copy {path} to {copies[path]}: "
                    f"{'; '.join(said) or f'{got} of {entry.size} bytes'}"
                )

    def _file(self, path: str) -> DirectoryEntry:
        entry = self.lookup(path)
        if entry is None or not entry.is_file:
            raise InputError(f"{self._where}: there is no file {path}")
        return entry

    def _walk(self, path: str, follow_last: bool) -> tuple[str, DirectoryEntry] | None:
        """Return the path without links and what it names."""
        root = DirectoryEntry("/", ROOT_INODE, stat.S_IFDIR | 0o755, 0, 0, 0)
        trail = [root]
        todo = [part for part in path.split("/") if part]
        links = 0
        while todo:
            name = todo.pop(0)
            if not trail[-1].is_dir:
                return None
            if name in (".", ".."):
                trail = trail[: -1 if name == ".." and len(trail) > 1 else None]
                continue
            entry = self._directory(trail[-1].inode).get(name)
            if entry is None:
                return None
            if not entry.is_link or not (todo or follow_last):
                trail.append(entry)
                continue
            links += 1
            if links > MAX_LINKS:
                raise InputError(f"{self._where}: too many symbolic links in {path}")
            target = self._link(entry)
            if target.startswith("/"):
                trail = [root]
            todo = [part for part in target.split("/") if part] + todo
        return "/" + "/".join(entry.name for entry in trail[1:]), trail[-1]

    def _link(self, entry: DirectoryEntry) -> str:
        # A target of up to 59 bytes lives in the inode ("fast"), a longer one in a block.
        fast = _FAST_LINK.search(self._ask(f"stat <{entry.inode}>").stdout)
        target = fast[1] if fast else self._content(entry, entry.name)
        return target.decode("utf-8", "surrogateescape")

    def _content(self, entry: DirectoryEntry, path: str) -> bytes:
        # The contents may be those of /etc/shadow.
        done = self._ask(f"cat <{entry.inode}>", log_output=False)
        if len(done.stdout) != entry.size:
            raise FailedError(
                f"{self._where}: {path} is damaged: read {len(done.stdout)} of {entry.size} bytes; "
                "check the file system with e2fsck"
            )
        return done.stdout

    def _directory(self, inode: int) -> dict[str, DirectoryEntry]:
        if inode not in self._directories:
            # The listing ends in one empty line.
            out = self._ask(f"ls -p <{inode}>").stdout.removesuffix(b"\n")
            matches = list(_ENTRY.finditer(out))
            if not matches or sum(len(match[0]) for match in matches) != len(out):
                raise FailedError(
                    f"{self._where}: cannot read the directory with inode {inode}; "
                    "check the file system with e2fsck"
                )
            entries = [_entry(match) for match in matches]
            self._directories[inode] = {entry.name: entry for entry in entries}
        return self._directories[inode]

    def _ask(self, command: str, log_output: bool = True) -> Finished:
        return self._run(["-R", command], log_output=log_output)

    def _run(
        self, arguments: Sequence[str], stdin: bytes = b"", log_output: bool = True
    ) -> Finished:
        argv = ["debugfs", *arguments, self._device]
        done = run(argv, stdin=stdin, check=False, log_output=log_output)
        # The first line of standard error is the version; opening comes next.
        for line in done.stderr.decode("utf-8", "replace").splitlines():
            if line.startswith("debugfs: ") and "while trying to open" in line:
                reason = line.removeprefix("debugfs: ").partition(" while trying")[0]
                raise InputError(f"{self._where}: no ext4 file system can be read here: {reason}")
        return done


def _entry(match: re.Match[bytes]) -> DirectoryEntry:
    inode, mode, uid, gid, name, size = match.groups()
    return DirectoryEntry(
        name=name.decode("utf-8", "surrogateescape"),
        inode=int(inode),
        mode=int(mode, 8),
        uid=int(uid) % 2**32,
        gid=int(gid) % 2**32,
        size=int(size or 0),
    )


def _quoted(path: Path) -> str:
    """Return ``path`` as one debugfs word: in double quotes, inner ones doubled."""
    text = str(path)
    if "\n" in text:
        raise InputError(f"{text!r}: debugfs cannot write to a path with a line break")
    return '"' + text.replace('"', '""') + '"'
