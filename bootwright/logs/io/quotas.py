"""Keeping each board's logs within its quota, and a reserve of the disk free.

What happened to a board's logs is written beside them, so that ``inv logs tail``,
``inv logs check`` and the page, which are other processes, can show it.
"""

import json
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bootwright.core.io.fsync import replace_file
from bootwright.core.units import format_size
from bootwright.logs.io.store import LogStore
from bootwright.logs.quota import Disk, Excess, excess_of_board, excess_of_disk

_TROUBLE = ".trouble"
"""The name of the file in a board's folder with its trouble, as JSON."""

_REFUSED, _REMOVED = "refused", "removed"

_REMOVAL_SHOWN = timedelta(days=1)
"""How long it is shown that days were removed."""


class NoRoomError(OSError):
    """A board may not write now."""


def disk_of(folder: Path) -> Disk:
    """Return the space of the file system of a folder, or of its nearest existing parent."""
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    found = os.statvfs(folder)
    return Disk(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)


class Quotas:
    """Makes room for what boards write.

    Args:
        store: the logs.
        keep_bytes: the most bytes of each board's logs.
        disk: returns the space of the file system.
    """

    def __init__(
        self, store: LogStore, keep_bytes: int, disk: Callable[[Path], Disk] = disk_of
    ) -> None:
        self._store = store
        self._keep_bytes = keep_bytes
        self._disk = disk
        self._lock = threading.Lock()

    def make_room(self, board: str, size: int) -> tuple[str, ...]:
        """Make room for a board's records; return the names of the removed files.

        Args:
            board: the board that writes.
            size: the bytes that it writes.

        Raises:
            NoRoomError: it may not write now.
            OSError: a file cannot be removed.
        """
        with self._lock:
            used = self._store.used(board)
            removed = self._remove(excess_of_board(used, size, self._keep_bytes, board))
            disk = self._disk(self._store.folder)
            if Disk(disk.total, disk.free - size).scarce:
                names = {*self._store.boards(), board}
                all_used = {name: self._store.used(name) for name in names}
                removed += self._remove(excess_of_disk(all_used, size, disk, board))
        return removed

    def trim(self) -> tuple[str, ...]:
        """Remove the oldest days of all boards over their quota; return the removed files.

        This is for boards whose records syslog-ng writes. Their newest day always stays.
        """
        removed: tuple[str, ...] = ()
        for board in self._store.boards():
            with suppress(NoRoomError):
                removed += self._remove(
                    excess_of_board(self._store.used(board), 0, self._keep_bytes, board)
                )
        return removed

    def _remove(self, excess: Excess | None) -> tuple[str, ...]:
        if excess is None:
            return ()
        left, removed = excess.bytes, list[str]()
        for board in excess.boards:
            before = len(removed)
            for file, size in self._store.sizes(board)[:-1]:
                if left <= 0:
                    break
                file.unlink(missing_ok=True)
                left -= size
                removed.append(f"{board}/{file.name}")
            if len(removed) > before:
                _note(self._store, board, _REMOVED, excess.removal)
        if left > 0:
            raise NoRoomError(excess.refusal)
        return tuple(removed)


def note_refusal(store: LogStore, board: str, reason: str) -> None:
    """Write down that a board's records are not stored."""
    _note(store, board, _REFUSED, reason)


def clear_refusal(store: LogStore, board: str) -> None:
    """Write down that a board's records are stored again."""
    _note(store, board, _REFUSED, "")


def trouble_of(store: LogStore, board: str, now: datetime) -> tuple[str, ...]:
    """Return what is wrong with a board's logs: sentences without a full stop; empty if nothing."""
    found = _read(store, board)
    sentences = []
    if refused := found.get(_REFUSED):
        since = f"{refused[0]:%Y-%m-%d %H:%M}Z"
        sentences.append(f"new records are not stored since {since}: {refused[1]}")
    removed = found.get(_REMOVED)
    if removed and now - removed[0] < _REMOVAL_SHOWN:
        when = f"{removed[0]:%Y-%m-%d %H:%M}Z"
        sentences.append(f"the oldest days were removed at {when}: {removed[1]}")
    return tuple(sentences)


def disk_trouble(disk: Disk) -> tuple[str, ...]:
    """Return what is wrong with the disk of the logs; empty if nothing."""
    if not disk.scarce:
        return ()
    return (
        f"{format_size(disk.free)} of the disk are free: less than {format_size(2 * disk.reserve)},"
        " so boards that use more than an equal share cannot write",
    )


_Notes = dict[str, tuple[datetime, str]]


def _read(store: LogStore, board: str) -> _Notes:
    try:
        found = json.loads((store.board_folder(board) / _TROUBLE).read_text(encoding="utf-8"))
        return {
            str(kind): (datetime.fromisoformat(when).astimezone(UTC), str(text))
            for kind, (when, text) in found.items()
        }
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _note(store: LogStore, board: str, kind: str, text: str) -> None:
    """Write a note; an empty text removes it. The time of an unchanged refusal stays."""
    notes = _read(store, board)
    if not text and kind not in notes:
        return
    if kind == _REFUSED and kind in notes and notes[kind][1] == text:
        return
    if text:
        notes[kind] = (datetime.now(UTC), text)
    else:
        del notes[kind]
    path = store.board_folder(board) / _TROUBLE
    # On a full disk it may not be possible.
    with suppress(OSError):
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        plain = {kind: (when.isoformat(), text) for kind, (when, text) in notes.items()}
        replace_file(path, json.dumps(plain))
