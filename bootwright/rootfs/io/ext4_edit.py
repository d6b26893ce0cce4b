"""Changing files inside an ext4 image with debugfs, without mounting it and without root.

Only for a file system that was never mounted or that was cleanly unmounted: replaying a journal
would undo the changes. debugfs ends with status 0 even if a command fails, so every line on its
standard error counts as a failure, and the files that were written are read back.
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
        InputError: the path of a change is a folder but should be a file, or the reverse; it goes
            through a link to nothing; or it has characters that debugfs cannot accept.
        FailedError: debugfs failed, or a file does not read back as it was written.
    """
    reader = Ext4Reader(image)
    if reader.superblock().needs_recovery:
        raise FailedError(f"{image}: was mounted and not unmounted; run e2fsck on it first")
    with tempfile.TemporaryDirectory(dir=image.parent, prefix="edit-") as folder:
        commands = _Script(reader, Path(folder))
        for change in changes:
            commands.add(change)
        _debugfs(image, commands.lines, Path(folder))
        _read_back(image, changes, Path(folder))


def set_identity(image: Path, root_uuid: str, hash_seed: str) -> None:
    """Set the UUID and the directory hash seed of the ext4 ``image``."""
    for value in (root_uuid, hash_seed):
        uuid.UUID(value)
    lines = [f"set_super_value uuid {root_uuid}", f"set_super_value hash_seed {hash_seed}"]
    with tempfile.TemporaryDirectory(dir=image.parent, prefix="edit-") as folder:
        _debugfs(image, lines, Path(folder))


def check(image: Path) -> None:
    """Check the ext4 ``image`` with e2fsck; nothing is changed.

    Raises:
        FailedError: it is not consistent.
    """
    finished = run(["e2fsck", "-f", "-n", str(image)], check=False)
    if finished.returncode != 0:
        raise failure(finished)


class _Script:
    """The debugfs commands that make changes, depending on what is in the file system."""

    def __init__(self, reader: Ext4Reader, staging: Path) -> None:
        self.lines: list[str] = []
        self._reader = reader
        self._staging = staging
        # The paths that this script has made ("folder", "file") or removed (None).
        self._changed: dict[str, str | None] = {}

    def add(self, change: Change) -> None:
        path = self._real(posixpath.normpath(change.path))
        if isinstance(change, Removal):
            self._remove(path)
        elif isinstance(change, DirectoryChange):
            path = self._make_folder(path)
            self._set_attributes(path, _FOLDER | change.mode, change.uid, change.gid)
        else:
            self._make_folder(posixpath.dirname(path))
            self._remove(path)
            self._enter_parent(path)
            name = posixpath.basename(path)
            if isinstance(change, SymlinkChange):
                self.lines.append(f"symlink {_quoted(name)} {_quoted(change.target)}")
            else:
                staged = self._staging / str(len(self.lines))
                staged.write_bytes(change.data)
                self.lines.append(f"write {_quoted(str(staged))} {_quoted(name)}")
                self._set_attributes(path, _FILE | change.mode, change.uid, change.gid)
            self._changed[path] = "file"

    def _enter_parent(self, path: str) -> None:
        # debugfs makes a file in its current folder, even if the path is absolute.
        self.lines.append(f"cd {_quoted(posixpath.dirname(path))}")

    def _set_attributes(self, path: str, mode: int, uid: int, gid: int) -> None:
        for field, value in (("mode", f"0{mode:o}"), ("uid", str(uid)), ("gid", str(gid))):
            self.lines.append(f"set_inode_field {_quoted(path)} {field} {value}")

    def _real(self, path: str) -> str:
        """Return ``path`` with the links in its parent followed; debugfs does not follow them."""
        parent, name = posixpath.split(path)
        if parent == "/" or self._changed.get(parent) == "folder":
            return path
        resolved = self._reader.resolve(parent) or self._real(parent)
        return posixpath.join(resolved, name)

    def _kind(self, path: str) -> str | None:
        if path in self._changed:
            return self._changed[path]
        entry = self._reader.lookup(path, follow=False)
        if entry is None:
            return None
        return "folder" if entry.is_dir else "file"

    def _make_folder(self, path: str) -> str:
        """Make the folder ``path`` if it is missing; return its path with links followed."""
        if path == "/" or self._changed.get(path) == "folder":
            return path
        if self._changed.get(path) == "file":
            raise InputError(f"{path} is written as a file or a link, so it cannot be a folder too")
        entry = None if path in self._changed else self._reader.lookup(path, follow=False)
        if entry is None:
            self._make_folder(posixpath.dirname(path))
            self._enter_parent(path)
            self.lines.append(f"mkdir {_quoted(posixpath.basename(path))}")
            self._set_attributes(path, _FOLDER | 0o755, 0, 0)
        elif entry.is_link:
            path = self._linked_folder(path)
        elif not entry.is_dir:
            raise InputError(f"{path} is a file in the root file system, not a folder")
        self._changed[path] = "folder"
        return path

    def _linked_folder(self, link: str) -> str:
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

    def _remove(self, path: str) -> None:
        """Remove the file or link ``path`` if it exists."""
        kind = self._kind(path)
        if kind == "folder":
            raise InputError(f"{path} is a folder in the root file system, not a file")
        if kind == "file":
            self.lines.append(f"rm {_quoted(path)}")
            self._changed[path] = None


def _quoted(text: str) -> str:
    if _UNQUOTABLE.search(text):
        raise InputError(f"{text!r}: debugfs cannot take quotes or line breaks in a name")
    return f'"{text}"'


def _debugfs(image: Path, lines: Iterable[str], folder: Path) -> None:
    script = folder / "script"
    text = "".join(f"{line}\n" for line in lines)
    # The reader returns bytes in names that are not UTF-8 as surrogates.
    script.write_bytes(text.encode("utf-8", "surrogateescape"))
    finished = run(["debugfs", "-w", "-f", str(script), str(image)])
    errors = finished.stderr.decode("utf-8", "replace").splitlines()[1:]  # [0]: the version
    if any(line.strip() for line in errors):
        raise failure(finished, f"{image}: not every change was made; discard this image")


def _read_back(image: Path, changes: Sequence[Change], folder: Path) -> None:
    last = {change.path: change for change in changes}
    files = {path: item for path, item in last.items() if isinstance(item, FileChange)}
    found = Ext4Reader(image).read_files(list(files), folder)
    for path, item in files.items():
        if found[path] != item.data:
            raise FailedError(f"{image}: {path} does not read back as it was written")
