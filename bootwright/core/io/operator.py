"""The operator behind ``sudo``: whose home is searched, and whose the files are that a run makes.

In a run by sudo, such as ``sudo inv flash``, keys and cache are looked for in the operator's home,
and what the run has made in the folders for it is given to the operator, so that the next command
works without sudo.
"""

import os
import pwd
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SudoOperator:
    """The user who called sudo; ``home`` is ``None`` if ``/etc/passwd`` does not name it."""

    uid: int
    gid: int
    home: str | None


def sudo_operator(environment: Mapping[str, str], user: int) -> SudoOperator | None:
    """Return who called sudo; ``None`` if this is no run of root by sudo of another user.

    Args:
        environment: with ``SUDO_UID`` and ``SUDO_GID``, as sudo sets them.
        user: the effective user number of this process.
    """
    text = {name: environment.get(name, "") for name in ("SUDO_UID", "SUDO_GID")}
    if user != 0 or not all(t.isascii() and t.isdigit() and len(t) < 11 for t in text.values()):
        return None
    uid, gid = int(text["SUDO_UID"]), int(text["SUDO_GID"])
    if uid == 0 or max(uid, gid) >= 2**32 - 1:
        return None
    try:
        return SudoOperator(uid, gid, pwd.getpwuid(uid).pw_dir)
    except KeyError:
        return SudoOperator(uid, gid, None)


def use_home(operator: SudoOperator) -> None:
    """Make the operator's home that of this process and of the programs that it starts."""
    if operator.home is not None:
        os.environ["HOME"] = operator.home
        os.environ.pop("XDG_CACHE_HOME", None)  # of root


def give_back(operator: SudoOperator, path: Path) -> None:
    """Give a file, or a folder and all in it, to the operator, as far as it belongs to root.

    Nothing is changed unless the path lies in a folder of the operator's. Symbolic links are not
    followed, and files with several names are left out, since another name may be elsewhere.
    """
    way = [path.absolute()]
    while (owner := _owner(way[-1].parent)) == 0 and way[-1].parent != way[-1]:
        way.append(way[-1].parent)
    if owner != operator.uid:
        return
    for made in way:
        _give(operator, str(made), None)
    if path.is_dir() and not path.is_symlink():
        for _, folders, files, descriptor in os.fwalk(path, follow_symlinks=False):
            for name in (*folders, *files):
                _give(operator, name, descriptor)


def _owner(path: Path) -> int | None:
    try:
        return path.lstat().st_uid
    except OSError:
        return None


def _give(operator: SudoOperator, name: str, folder: int | None) -> None:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if found.st_uid == 0 and (stat.S_ISDIR(found.st_mode) or found.st_nlink == 1):
            os.chown(name, operator.uid, operator.gid, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return  # It was removed meanwhile, or the file system has no owners.
