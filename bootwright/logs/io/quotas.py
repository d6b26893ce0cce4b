"""Keeping each board's logs within its quota, and a reserve of the disk free.

What happened to a board's logs is written beside them, so that ``inv logs tail``,
``inv logs check`` and the page, which are other processes, can show it.
"""

import json
import os
import threading
from collections.abc import Callable, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from bootwright.core.io.fsync import replace_file
from bootwright.core.units import format_size
from bootwright.logs.io.listener import Notify
from bootwright.logs.io.store import LogStore
from bootwright.logs.quota import Disk, Excess, excess_of_board, excess_of_disk, stopped_senders

_TROUBLE = ".trouble"
"""The name of the file in a board's folder with its trouble, as JSON."""

_REFUSED, _REMOVED, _STOPPED = "refused", "removed", "stopped"

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


@dataclass(frozen=True)
class _OldDay:
    """A file that is removed to make room: whose it is, its bytes, and why it is removed."""

    board: str
    file: Path
    size: int
    why: str


class Quotas:
    """Makes room for what boards write.

    Args:
        store: the logs.
        keep_bytes: the most bytes of each board's logs.
        notify: shows which files were removed.
        disk: returns the space of the file system.
    """

    def __init__(
        self,
        store: LogStore,
        keep_bytes: int,
        notify: Notify,
        disk: Callable[[Path], Disk] = disk_of,
    ) -> None:
        self._store = store
        self._keep_bytes = keep_bytes
        self._notify = notify
        self._disk = disk
        self._lock = threading.Lock()
        self._stopped: tuple[str, ...] = ()

    def make_room(self, board: str, size: int, day: date) -> None:
        """Remove files of earlier days as far as a board's records need their room.

        Nothing is removed if that would not be enough.

        Args:
            board: the board that writes.
            size: the bytes that it writes.
            day: the day that it writes to. Files of this day are not removed.

        Raises:
            NoRoomError: it may not write now.
            OSError: a file cannot be removed; others may have been.
        """
        with self._lock:
            used = self._store.used(board)
            excess = excess_of_board(used, size, self._keep_bytes, board)
            found = self._enough(excess, day)
            # If the board's own old days free as much as it writes, the disk does not get fuller.
            growth = size - sum(old.size for old in found)
            disk = self._disk(self._store.folder)
            if growth > 0 and Disk(disk.total, disk.free - growth).scarce:
                names = {*self._store.boards(), board}
                all_used = {name: self._store.used(name) for name in names}
                excess = excess_of_disk(all_used, growth, disk, board)
                found += self._enough(excess, day, {old.file for old in found})
            self._remove(found, f"{board}: removed to make room for its records")

    def trim(self) -> None:
        """Remove the oldest days of all boards over their quota.

        This is for boards whose records syslog-ng writes. Their newest day always stays.

        Raises:
            OSError: a file cannot be removed; others may have been.
        """
        with self._lock:
            found: list[_OldDay] = []
            for board in self._store.boards():
                used = self._store.used(board)
                if excess := excess_of_board(used, 0, self._keep_bytes, board):
                    files = self._store.sizes(board)[:-1]
                    found += _oldest(board, files, excess.bytes, excess.removal)
            self._remove(found, "removed, because of keep_bytes")

    def stopped(self, today: date) -> tuple[str, ...]:
        """Return the boards of which syslog-ng may store nothing more; write down why.

        Call it after :meth:`trim`. A board whose newest day is over its quota may write again on
        the next day, because the newest day can be removed then.

        Args:
            today: the day that is written to.
        """
        with self._lock:
            boards = self._store.boards()
            used = {board: self._store.used(board) for board in boards}
            found = stopped_senders(used, self._keep_bytes, self._disk(self._store.folder))
        for board in boards:
            is_over = used[board] > self._keep_bytes
            if is_over and self._store.sizes(board, today) == self._store.sizes(board):
                found.pop(board, None)
            _note(self._store, board, _STOPPED, found.get(board, ""))
            if board in found and board not in self._stopped:
                self._notify(f"{board}: nothing more is stored by syslog-ng: {found[board]}")
        self._stopped = tuple(found)
        return self._stopped

    def nothing_stopped(self) -> None:
        """Remove the notes of :meth:`stopped`, where syslog-ng does not run any more."""
        for board in self._store.boards():
            _note(self._store, board, _STOPPED, "")

    def _enough(
        self, excess: Excess | None, day: date, without: Set[Path] = frozenset()
    ) -> list[_OldDay]:
        """Return the files before a day that have to be removed, except those in ``without``.

        Raises:
            NoRoomError: all of them together are not enough.
        """
        found: list[_OldDay] = []
        left = excess.bytes if excess is not None else 0
        if excess is None or left <= 0:
            return found
        for board in excess.boards:
            files = [one for one in self._store.sizes(board, day) if one[0] not in without]
            more = _oldest(board, files, left, excess.removal)
            left -= sum(old.size for old in more)
            found += more
        if left > 0:
            raise NoRoomError(excess.refusal)
        return found

    def _remove(self, found: Sequence[_OldDay], message: str) -> None:
        removed: list[_OldDay] = []
        try:
            for old in found:
                old.file.unlink(missing_ok=True)
                removed.append(old)
        finally:
            # Also of those before one that cannot be removed.
            for board, why in {old.board: old.why for old in removed}.items():
                _note(self._store, board, _REMOVED, why)
            if removed:
                names = ", ".join(f"{old.board}/{old.file.name}" for old in removed)
                self._notify(f"{message}: {names}")


def _oldest(board: str, files: Sequence[tuple[Path, int]], size: int, why: str) -> list[_OldDay]:
    """Return the first files that together have ``size`` bytes; all files if they have less."""
    found: list[_OldDay] = []
    for file, bytes_of_file in files:
        if size <= 0:
            break
        found.append(_OldDay(board, file, bytes_of_file, why))
        size -= bytes_of_file
    return found


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
    if stopped := found.get(_STOPPED):
        since = f"{stopped[0]:%Y-%m-%d %H:%M}Z"
        sentences.append(
            f"what it sends by the syslog protocol is not stored since {since}: {stopped[1]}"
        )
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
    """Write a note; an empty text removes it. An unchanged one keeps its time, but a removal."""
    notes = _read(store, board)
    if not text and kind not in notes:
        return
    if kind != _REMOVED and kind in notes and notes[kind][1] == text:
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
