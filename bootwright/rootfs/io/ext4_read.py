"""Reading an ext4 file system inside an image file, without mounting it and without root.

It is read by debugfs of e2fsprogs, which opens it read-only as ``IMAGE?offset=BYTES``. debugfs
ends with status 0 even if a command fails, and does not follow a symbolic link at the end of a
path. So this module names files only by their inode number (such as ``<12>``, which needs no
quotes), follows paths itself and checks the length of everything that it reads.

The journal is not replayed: after a power cut the newest changes may be missing
(:attr:`FileSystemFacts.needs_recovery`).
"""

import re
import stat
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bootwright.core.errors import FailedError, InputError
from bootwright.core.io.process import Finished, run

ROOT_INODE = 2
"""The inode of ``/`` in every ext2, ext3 and ext4."""

MAX_LINKS = 40
"""The most symbolic links that are followed in one path; the same limit as in Linux."""

# One line of `ls -p`: /inode/mode/uid/gid/name/size/. The name may contain everything except a
# slash, also a newline. The size is empty for a directory. User and group numbers from 2^31 on are
# printed as negative numbers.
_ENTRY = re.compile(rb"/(\d+)/([0-7]+)/(-?\d+)/(-?\d+)/([^/]*)/(\d*)/\n")
_FAST_LINK = re.compile(rb'^Fast link dest: "(.*)"$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class DirectoryEntry:
    """A name in a directory.

    ``mode`` is the type and the permissions as in ``st_mode``; ``size`` is in bytes, 0 for a
    directory.
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

    @property
    def is_setuid(self) -> bool:
        """Whether it runs with the rights of its owner."""
        return bool(self.mode & stat.S_ISUID)


@dataclass(frozen=True)
class FileSystemFacts:
    """Facts in the superblock: the UUID, and the names of the features in use."""

    uuid: str
    features: frozenset[str]

    @property
    def needs_recovery(self) -> bool:
        """Whether the journal contains changes that this reader does not see."""
        return "needs_recovery" in self.features


class Ext4Reader:
    """The files of one ext4 in an image file.

    Args:
        image: the image; it must not change while the reader is in use, since
            directories are read once and cached.
        offset: bytes in the image before the file system.

    Paths are absolute, with ``/`` as separator; symbolic links are followed inside
    the image and never leave it. Bytes in a name that are not UTF-8 are returned as surrogate
    escapes.
    """

    def __init__(self, image: Path, offset: int = 0) -> None:
        if "?" in str(image):
            raise InputError(f"{image}: debugfs cannot open a path with a question mark; rename it")
        self.image = image
        self._device = f"{image}?offset={offset}" if offset else str(image)
        self._where = f"{image}, byte {offset}" if offset else str(image)
        self._directories: dict[int, dict[str, DirectoryEntry]] = {}

    def superblock(self) -> FileSystemFacts:
        """Return the facts in the superblock.

        Raises:
            InputError: the image cannot be read, or there is no ext4 at the offset.
        """
        text = self._ask("show_super_stats -h").text
        fields = {
            name.strip(): value.strip()
            for name, colon, value in (line.partition(":") for line in text.splitlines())
            if colon
        }
        return FileSystemFacts(
            uuid=fields["Filesystem UUID"],
            features=frozenset(fields["Filesystem features"].split()),
        )

    def resolve(self, path: str) -> str | None:
        """Return ``path`` with all symbolic links followed; ``None`` if it does not exist."""
        found = self._walk(path, follow_last=True)
        return found[0] if found else None

    def lookup(self, path: str, *, follow: bool = True) -> DirectoryEntry | None:
        """Return the entry ``path``; ``None`` if it does not exist.

        Args:
            path: an absolute path.
            follow: whether a symbolic link at its end is followed.

        Raises:
            InputError: not an ext4, or too many symbolic links.
        """
        found = self._walk(path, follow_last=follow)
        return found[1] if found else None

    def exists(self, path: str) -> bool:
        """Return whether ``path`` exists, with symbolic links followed."""
        return self.lookup(path) is not None

    def readlink(self, path: str) -> str:
        """Return the target of the symbolic link ``path``, as it is stored.

        Raises:
            InputError: ``path`` is not a symbolic link.
        """
        entry = self.lookup(path, follow=False)
        if entry is None or not entry.is_link:
            raise InputError(f"{self._where}: {path} is not a symbolic link")
        return self._link(entry)

    def list_dir(self, path: str) -> tuple[DirectoryEntry, ...]:
        """Return the entries of the directory ``path``, sorted by name, without ``.`` and ``..``.

        Raises:
            InputError: ``path`` is not a directory.
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
        """Return the content of several regular files, by path; one debugfs reads them all.

        Args:
            paths: absolute paths in the image.
            directory: for the temporary copies, in a private folder. The default is the system's
                folder for temporary files, which must not be used for secrets.

        Raises:
            InputError: there is no such file.
            FailedError: the file system is damaged.
        """
        with tempfile.TemporaryDirectory(prefix="bootwright-", dir=directory) as folder:
            copies = {path: Path(folder, str(index)) for index, path in enumerate(paths)}
            self.dump(copies)
            return {path: copy.read_bytes() for path, copy in copies.items()}

    def dump(self, copies: Mapping[str, Path]) -> None:
        """Copy regular files out of the image with one debugfs.

        Args:
            copies: the file to write (replaced if it exists), by the path in the image.

        Raises:
            InputError: there is no such file in the image.
            FailedError: a copy could not be written or is shorter than the file.
        """
        wanted = {path: self._file(path) for path in copies}
        commands = []
        for path, entry in wanted.items():
            # If debugfs fails, an older copy must not look like this one.
            copies[path].unlink(missing_ok=True)
            commands.append(f"dump <{entry.inode}> {_quoted(copies[path])}")
        done = self._run(["-f", "-"], "\n".join(commands).encode("utf-8", "surrogateescape"))
        for path, entry in wanted.items():
            got = copies[path].stat().st_size if copies[path].exists() else None
            if got != entry.size:
                errors = done.stderr.decode("utf-8", "replace").strip().splitlines()[1:]
                raise FailedError(
                    f"{self._where}: could not copy {path} to {copies[path]}: "
                    f"{'; '.join(errors) or f'{got} of {entry.size} bytes'}"
                )

    def _file(self, path: str) -> DirectoryEntry:
        entry = self.lookup(path)
        if entry is None or not entry.is_file:
            raise InputError(f"{self._where}: there is no file {path}")
        return entry

    def _walk(self, path: str, follow_last: bool) -> tuple[str, DirectoryEntry] | None:
        """Return the path with links followed, and its entry; ``None`` if it does not exist."""
        root = self._root()
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

    def _root(self) -> DirectoryEntry:
        return replace(self._directory(ROOT_INODE)["."], name="/")

    def _link(self, entry: DirectoryEntry) -> str:
        # A target of up to 59 bytes is stored in the inode ("fast"), a longer one in a block.
        fast = _FAST_LINK.search(self._ask(f"stat <{entry.inode}>").stdout)
        target = fast[1] if fast else self._content(entry, entry.name)
        return target.decode("utf-8", "surrogateescape")

    def _content(self, entry: DirectoryEntry, path: str) -> bytes:
        # The content may be secret (/etc/shadow), so the log of the run does not get it.
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
        # The first line of standard error is the version; an error of opening is the second.
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
    """Return ``path`` as one word for debugfs: in double quotes; quotes inside are doubled."""
    text = str(path)
    if "\n" in text:
        raise InputError(f"{text!r}: debugfs cannot write to a path with a line break")
    return '"' + text.replace('"', '""') + '"'
