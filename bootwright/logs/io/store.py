"""The folder with the logs of all boards: ``BOARD/YYYY-MM-DD.log``, later ``.log.gz``.

The day is that of arrival, in UTC, so files only grow at their end, even if a board's clock is
wrong. A file is opened for each append, because syslog-ng may append to it too.
"""

import errno
import gzip
import json
import os
import re
import shutil
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import BinaryIO

from bootwright.core import paths
from bootwright.core.errors import InputError
from bootwright.core.io.fsync import move_into_place, replace_file, sync_path
from bootwright.logs.arrival import ArrivalTimes
from bootwright.logs.io.packed import PackedReader
from bootwright.logs.query import Query
from bootwright.logs.record import LogRecord, parse_record

_BOARD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,62}")
_DAY = re.compile(r"(\d{4}-\d{2}-\d{2})\.log(\.gz)?")

_LOSSES = ".losses"
"""The name of the file in a board's folder with its known losses, as JSON."""

_FIRST_DAY = date(2026, 1, 1)
"""The earliest possible day of a log: if the clock has an earlier day, it is not set."""

_MAX_LAST_LINES = 64 << 20
"""The most characters that :meth:`LogStore.last_lines` reads."""

_BLOCK_BYTES = 1 << 16
"""How many bytes are read at once when reading from the end."""

_MAX_LINE_BYTES = 2 << 20
"""The most bytes of a line that are shown. The collector writes no longer ones: a message of syslog
or of a board has at most 256 KiB, and an escaped byte takes four."""


@dataclass
class LogCursor:
    """A position between two lines of a board's log.

    It stays valid when records are added and when files are compressed.

    Attributes:
        day: the name of the file without ``.gz``; empty: before all files.
        offset: the byte in the uncompressed file.
    """

    day: str
    offset: int


class LogStore:
    """The logs below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def boards(self) -> tuple[str, ...]:
        """Return the boards that have logs."""
        if not self.folder.is_dir():
            return ()
        found = (path.name for path in self.folder.iterdir() if path.is_dir())
        return tuple(sorted(name for name in found if _BOARD.fullmatch(name)))

    def path(self, board: str, day: date) -> Path:
        """Return the path of a board's file of a day.

        Raises:
            InputError: ``board`` cannot be the name of a board.
        """
        return self.board_folder(board) / f"{day.isoformat()}.log"

    def board_folder(self, board: str) -> Path:
        """Return the folder of a board's logs, which may not exist yet.

        Raises:
            InputError: ``board`` cannot be the name of a board.
        """
        if not _BOARD.fullmatch(board):
            raise InputError(f"{board!r} is not a board's name")
        return self.folder / board

    def append(self, board: str, lines: Sequence[str], day: date) -> None:
        """Append lines to a board's file of a day; they are on the disk when this returns.

        If the file ends with an incomplete line after a crash, a line end is added first.

        Raises:
            OSError: no line was stored, for example because the disk is full or this machine's
                clock is wrong.
        """
        path = self.path(board, day)
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._check_clock(board, day)
        is_new = not path.exists()
        data = "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                data = b"\n" + data
            written = 0
            try:
                while written < len(data):
                    written += os.write(descriptor, data[written:])
                os.fdatasync(descriptor)
            except OSError:
                # Not if another program has appended something in the meantime: then an incomplete
                # line stays.
                if os.fstat(descriptor).st_size == size + written:
                    with suppress(OSError):
                        os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
        if is_new:
            sync_path(path.parent)

    def _check_clock(self, board: str, day: date) -> None:
        """Check that no file is newer than the day: new records have to be in the newest file."""
        files = self._files(board)
        last, last_day = files[-1] if files else (None, _FIRST_DAY)
        if last is None and day < last_day:
            raise OSError(errno.EINVAL, f"this machine's clock says {day}; set the clock")
        if last is not None and (day < last_day or (day == last_day and last.suffix == ".gz")):
            raise OSError(
                errno.EINVAL,
                f"this machine's clock says {day}, but there is already {last}: set the clock, or"
                " move that file away if it was made with a wrong clock",
            )

    def losses(self, board: str) -> dict[str, int]:
        """Return the known losses of a board; see :mod:`bootwright.logs.losses`."""
        try:
            found = json.loads((self.board_folder(board) / _LOSSES).read_text(encoding="utf-8"))
            return {str(start): int(total) for start, total in found.items()}
        except (FileNotFoundError, ValueError, AttributeError, TypeError):
            return {}

    def store_losses(self, board: str, totals: Mapping[str, int]) -> None:
        """Store the known losses of a board."""
        path = self.board_folder(board) / _LOSSES
        replace_file(path, json.dumps(totals))

    def newest_first(
        self, board: str, query: Query | None = None, cursor: LogCursor | None = None
    ) -> Iterator[LogRecord]:
        """Yield a board's records (before ``cursor``), from the last that arrived to the first.

        Raises:
            InputError: ``board`` cannot be the name of a board.
        """
        since = query.since.date() if query is not None and query.since is not None else None
        times = ArrivalTimes()
        for where, line in self.backwards(board, cursor, since):
            record = parse_record(line, board)
            times.time_of(where.day, record.time)
            if query is None or query.matches(record, times.searched_time(record.time)):
                yield record

    def backwards(
        self, board: str, cursor: LogCursor | None = None, first: date | None = None
    ) -> Iterator[tuple[LogCursor, str]]:
        """Yield a board's lines, each with the cursor before it, from the last to the first.

        Args:
            board: the board's name.
            cursor: only lines before it; ``None``: all.
            first: only files of this day and later; ``None``: all.

        Raises:
            InputError: ``board`` cannot be the name of a board.
        """
        for file, day in reversed(self._files(board)):
            name = file.name.removesuffix(".gz")
            if cursor is not None and name > cursor.day:
                continue
            # Records in earlier files were written before that day.
            if first is not None and day < first:
                return
            end = cursor.offset if cursor is not None and name == cursor.day else sys.maxsize
            for offset, line in _reversed_lines(file, end):
                yield LogCursor(name, offset), line

    def last_lines(self, board: str, count: int) -> list[str]:
        """Return the last lines of the uncompressed files (at most 64 MiB), the oldest first."""
        found, size = [], 0
        plain = [file for file, _ in self._files(board) if file.suffix != ".gz"]
        for file in reversed(plain):
            for _, line in _reversed_lines(file, sys.maxsize):
                found.append(line)
                size += len(line)
                if len(found) == count or size > _MAX_LAST_LINES:
                    return found[::-1]
        return found[::-1]

    def end(self, board: str) -> LogCursor:
        """Return the cursor after the last complete line."""
        files = self._files(board)
        if not files:
            return LogCursor("", 0)
        last = files[-1][0]
        if last.suffix == ".gz":
            return LogCursor(last.name.removesuffix(".gz"), sys.maxsize)
        with last.open("rb") as reader:
            return LogCursor(last.name, _last_line_end(reader, sys.maxsize) + 1)

    def unread_bytes(self, board: str, cursor: LogCursor) -> int:
        """Return how many bytes there are after ``cursor``, which :meth:`follow` would read."""
        waiting = 0
        for file, _ in self._files(board):
            if file.suffix != ".gz" and file.name >= cursor.day:
                read = cursor.offset if file.name == cursor.day else 0
                waiting += max(0, file.stat().st_size - read)
        return waiting

    def follow(self, board: str, cursor: LogCursor, max_bytes: int = 1 << 20) -> list[LogRecord]:
        """Return the records that have arrived after ``cursor``, and move the cursor behind them.

        About ``max_bytes`` bytes are read at most. The rest, and an incomplete line, are left for
        the next call.
        """
        found: list[LogRecord] = []
        for file, _ in self._files(board):
            if file.suffix == ".gz" or file.name < cursor.day:
                continue
            if file.name != cursor.day:
                cursor.day, cursor.offset = file.name, 0
            with file.open("rb") as reader:
                reader.seek(cursor.offset)
                data = reader.read(max_bytes)
                full = len(data) == max_bytes
                if full:
                    data += reader.readline()
            complete = data[: data.rfind(b"\n") + 1]
            cursor.offset += len(complete)
            text = complete.decode("utf-8", "surrogateescape")
            found += [parse_record(line, board) for line in text.split("\n")[:-1]]
            if full:
                break
        return found

    def sizes(self, board: str, before: date = date.max) -> list[tuple[Path, int]]:
        """Return a board's files of the days before one, the oldest first, each with its bytes."""
        found = []
        for file, day in self._files(board):
            if day >= before:
                break
            with suppress(FileNotFoundError):
                found.append((file, file.stat().st_size))
        return found

    def used(self, board: str) -> int:
        """Return the bytes of all files of a board."""
        return sum(size for _, size in self.sizes(board))

    def tidy(self, keep_days: int, plain_days: int = 2) -> None:
        """Compress old files, and remove the oldest ones.

        Files are counted, not days by the clock, because the clock may be wrong.

        Args:
            keep_days: how many of a board's newest files are kept.
            plain_days: how many of them stay uncompressed.

        Raises:
            OSError: a file could not be compressed or removed; all others were.
        """
        errors = []
        for board in self.boards():
            newest_first = [file for file, _ in reversed(self._files(board))]
            for number, file in enumerate(newest_first):
                try:
                    if number >= keep_days:
                        file.unlink()
                    elif number >= plain_days and file.suffix != ".gz":
                        _compress(file)
                except OSError as error:
                    errors.append(error)
        if errors:
            raise errors[0]

    def _files(self, board: str) -> list[tuple[Path, date]]:
        folder = self.board_folder(board)
        if not folder.is_dir():
            return []
        found = []
        for path in folder.iterdir():
            match = _DAY.fullmatch(path.name)
            # After a crash during compression both files exist; the uncompressed one is complete.
            if match and not (match[2] and path.with_suffix("").exists()):
                with suppress(ValueError):
                    found.append((path, date.fromisoformat(match[1])))
        return sorted(found)


def default_folder() -> Path:
    """Return the folder of the logs: ``$BOOTWRIGHT_LOGS``, else the checkout's ``build/logs``."""
    if own := os.environ.get("BOOTWRIGHT_LOGS"):
        return paths.expand_user(own).absolute()
    return paths.build_dir() / "logs"


def _reversed_lines(file: Path, before: int) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file that end before byte ``before``, from the last to the first.

    Each comes with the position of its first byte.

    Raises:
        FailedError: the file is compressed, and damaged.
    """
    with _opened(file, before) as reader:
        end = _last_line_end(reader, before)
        if end < 0:
            return
        beginning = _LineBeginning()
        while True:
            start = max(0, end - _BLOCK_BYTES)
            reader.seek(start)
            first, *others = reader.read(end - start).split(b"\n")
            for part in reversed(others):
                end -= len(part)
                beginning.prepend(part)
                yield end, beginning.take()
                end -= 1
            beginning.prepend(first)
            if start == 0:
                break
            end = start
        yield 0, beginning.take()


class _LineBeginning:
    """The first :data:`_MAX_LINE_BYTES` of a line whose parts come from the last to the first."""

    def __init__(self) -> None:
        self._parts: deque[bytes] = deque()
        self._bytes = 0

    def prepend(self, part: bytes) -> None:
        """Add the part before those that were added; forget what is not needed at the end."""
        self._parts.appendleft(part)
        self._bytes += len(part)
        while self._bytes - len(self._parts[-1]) >= _MAX_LINE_BYTES:
            self._bytes -= len(self._parts.pop())

    def take(self) -> str:
        """Return the beginning of the line, and start with another line."""
        line = b"".join(self._parts)[:_MAX_LINE_BYTES]
        self._parts.clear()
        self._bytes = 0
        return line.decode("utf-8", "surrogateescape")


def _opened(file: Path, before: int) -> BinaryIO | PackedReader:
    return PackedReader(file, before) if file.suffix == ".gz" else file.open("rb")


def _last_line_end(reader: BinaryIO | PackedReader, before: int) -> int:
    """Return the position of the last line end before byte ``before``; -1 if there is none."""
    start = min(before, reader.seek(0, os.SEEK_END))
    while start:
        end, start = start, max(0, start - _BLOCK_BYTES)
        reader.seek(start)
        if (found := reader.read(end - start).rfind(b"\n")) >= 0:
            return start + found
    return -1


def _compress(file: Path) -> None:
    packed = file.with_name(f"{file.name}.gz")
    part = file.with_name(f".{file.name}.gz")
    with file.open("rb") as reader, part.open("wb") as raw:
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as writer:
            shutil.copyfileobj(reader, writer)
        os.fchmod(raw.fileno(), file.stat().st_mode & 0o777)
    move_into_place(part, packed)
    file.unlink()
