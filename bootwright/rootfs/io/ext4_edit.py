"""Changing files inside an ext4 image through debugfs: no mount, no root.

Only for a file system that was never mounted, or cleanly unmounted: a journal replay
would undo the edits. debugfs ends with 0 when a command fails, so every line on its
standard error counts as a failure, and what was laid is read back.
"""

import posixpath
import re
import tempfile
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

from bootwright.core.errors import FailedError, InputError
from bootwright.core.file_changes import Change, DirectoryChange, FileChange, Removal, SymlinkChange
from bootwright.core.io.process import failure, run
from bootwright.rootfs.io.ext4_read import Ext4Reader

_UNQUOTABLE = re.compile(r'["\n\r\0]')
_FILE, _FOLDER = 0o100000, 0o040000


def apply_changes(image: Path, changes: Sequence[Change]) -> None:
    """Make ``changes`` in the ext4 file system ``image``, in order.

    Missing parent folders are made, owned by root, mode 0755.

    Raises:
        InputError: a change names a folder where it needs a file, goes through a link to
            nothing, or has a name that debugfs cannot take.
        FailedError: debugfs failed, or a file does not read back as laid.
    """
    reader = Ext4Reader(image)
    if reader.superblock().needs_recovery:
        raise FailedError(f"{image}: was mounted and not unmounted; run e2fsck on it first")
    with tempfile.TemporaryDirectory(dir=image.parent, prefix="lay-") as folder:
        commands = _Script(reader, Path(folder))
        for change in changes:
            commands.add(change)
        _debugfs(image, commands.lines, Path(folder))
        _read_back(image, changes, Path(folder))


def set_identity(image: Path, root_uuid: str, hash_seed: str) -> None:
    """Give the ext4 ``image`` its own UUID and directory hash seed."""
    for value in (root_uuid, hash_seed):
        uuid.UUID(value)
    lines = [f"set_super_value uuid {root_uuid}", f"set_super_value hash_seed {hash_seed}"]
    with tempfile.TemporaryDirectory(dir=image.parent, prefix="lay-") as folder:
        _debugfs(image, lines, Path(folder))


def check(image: Path) -> None:
    """Prove with e2fsck that the ext4 ``image`` is consistent; nothing is changed.

    Raises:
        FailedError: it is not.
    """
    finished = run(["e2fsck", "-f", "-n", str(image)], check=False)
    if finished.returncode != 0:
        raise failure(finished)


class _Script:
    """debugfs commands for changes to a file system whose state is known."""

    def __init__(self, reader: Ext4Reader, staging: Path) -> None:
        self.lines: list[str] = []
        self._reader = reader
        self._staging = staging
        # What this script itself has made ("folder", "file") or removed (None).
        self._now: dict[str, str | None] = {}

    def add(self, change: Change) -> None:
        path = self._real(posixpath.normpath(change.path))
        if isinstance(change, Removal):
            self._clear(path)
        elif isinstance(change, DirectoryChange):
            path = self._folder(path)
            self._own(path, _FOLDER | change.mode, change.uid, change.gid)
        else:
            self._folder(posixpath.dirname(path))
            self._clear(path)
            self._enter(path)
            name = posixpath.basename(path)
            if isinstance(change, SymlinkChange):
                self.lines.append(f"symlink {_quoted(name)} {_quoted(change.target)}")
            else:
                staged = self._staging / str(len(self.lines))
                staged.write_bytes(change.data)
                self.lines.append(f"write {_quoted(str(staged))} {_quoted(name)}")
                self._own(path, _FILE | change.mode, change.uid, change.gid)
            self._now[path] = "file"

    def _enter(self, path: str) -> None:
        # debugfs makes what "/name" asks for in its current folder.
        self.lines.append(f"cd {_quoted(posixpath.dirname(path))}")

    def _own(self, path: str, mode: int, uid: int, gid: int) -> None:
        for field, value in (("mode", f"0{mode:o}"), ("uid", str(uid)), ("gid", str(gid))):
            self.lines.append(f"set_inode_field {_quoted(path)} {field} {value}")

    def _real(self, path: str) -> str:
        """Return ``path`` with links in its parent followed: debugfs does not do it."""
        parent, name = posixpath.split(path)
        if parent == "/" or self._now.get(parent) == "folder":
            return path
        resolved = self._reader.resolve(parent) or self._real(parent)
        return posixpath.join(resolved, name)

    def _kind(self, path: str) -> str | None:
        if path in self._now:
            return self._now[path]
        entry = self._reader.lookup(path, follow=False)
        if entry is None:
            return None
        return "folder" if entry.is_dir else "file"

    def _folder(self, path: str) -> str:
        """Return the folder that ``path`` names, links followed, made if it is missing."""
        if path == "/" or self._now.get(path) == "folder":
            return path
        if self._now.get(path) == "file":
            raise InputError(f"{path} is laid as a file or a link, so nothing can lie in it")
        there = None if path in self._now else self._reader.lookup(path, follow=False)
        if there is None:
            self._folder(posixpath.dirname(path))
            self._enter(path)
            self.lines.append(f"mkdir {_quoted(posixpath.basename(path))}")
            self._own(path, _FOLDER | 0o755, 0, 0)
        elif there.is_link:
            path = self._followed(path)
        elif not there.is_dir:
            raise InputError(f"{path} is a file in the root file system, not a folder")
        self._now[path] = "folder"
        return path

    def _followed(self, link: str) -> str:
        """Return the folder that a link of the root file system leads to."""
        real = self._reader.resolve(link)
        if real is None:
            raise InputError(
                f"{link} is a link to {self._reader.readlink(link)}, which is not in the root"
                " file system; add that folder to the root file system, or take the link out"
            )
        followed = self._reader.lookup(real)
        if followed is None or not followed.is_dir:
            raise InputError(f"{link} is a link to a file in the root file system, not to a folder")
        return real

    def _clear(self, path: str) -> None:
        kind = self._kind(path)
        if kind == "folder":
            raise InputError(f"{path} is a folder in the root file system, not a file")
        if kind == "file":
            self.lines.append(f"rm {_quoted(path)}")
            self._now[path] = None


def _quoted(text: str) -> str:
    if _UNQUOTABLE.search(text):
        raise InputError(f"{text!r}: debugfs cannot take quotes or line breaks in a name")
    return f'"{text}"'


def _debugfs(image: Path, lines: Iterable[str], folder: Path) -> None:
    script = folder / "script"
    text = "".join(f"{line}\n" for line in lines)
    # Names that are not UTF-8 come from the reader as surrogates.
    script.write_bytes(text.encode("utf-8", "surrogateescape"))
    finished = run(["debugfs", "-w", "-f", str(script), str(image)])
    errors = finished.stderr.decode("utf-8", "replace").splitlines()[1:]  # [0]: the version
    if any(line.strip() for line in errors):
        raise failure(finished, f"{image}: not all was changed; it is of no use")


def _read_back(image: Path, changes: Sequence[Change], folder: Path) -> None:
    last = {change.path: change for change in changes}
    files = {path: item for path, item in last.items() if isinstance(item, FileChange)}
    found = Ext4Reader(image).read_files(list(files), folder)
    for path, item in files.items():
        if found[path] != item.data:
            raise FailedError(f"{image}: {path} does not read back as it was laid")
