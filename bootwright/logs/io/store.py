"""The folder with the logs of all boards: ``BOARD/YYYY-MM-DD.log``, later ``.log.gz``.

The day is the day of arrival, in UTC: so files only grow at their end, whatever time a board's
clock has. The file is opened for each append, so that another program may append to it as well.
"""

import errno
import gzip
import io
import json
import os
import re
import shutil
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import BinaryIO

from bootwright.core import paths
from bootwright.core.errors import FailedError, InputError
from bootwright.core.io.fsync import replace_file, sync_path
from bootwright.logs.query import Query
from bootwright.logs.record import LogRecord, parse_record

_BOARD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,62}")
_DAY = re.compile(r"(\d{4}-\d{2}-\d{2})\.log(\.gz)?")

_LOSSES = ".losses"
"""The file beside a board's logs with its known losses, as JSON."""

_FIRST_DAY = date(2026, 1, 1)
"""No log is older than this program; an earlier day means that the clock is not set."""

_MAX_LAST_LINES = 64 << 20
"""Characters that :meth:`LogStore.last_lines` reads at most."""

_BLOCK_BYTES = 1 << 16
"""Bytes read at once when reading from the end."""


@dataclass
class LogCursor:
    """A position between two lines of a board's log; stable when records arrive or are compressed.

    Attributes:
        day: the name of the file without ``.gz``; empty: before all files.
        offset: bytes from the beginning of the uncompressed file.
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
        """Return a board's file of a day.

        Raises:
            InputError: no board has such a name.
        """
        return self._folder_of(board) / f"{day.isoformat()}.log"

    def _folder_of(self, board: str) -> Path:
        if not _BOARD.fullmatch(board):
            raise InputError(f"{board!r} is not a board's name")
        return self.folder / board

    def append(self, board: str, lines: Sequence[str], day: date) -> None:
        """Add lines; they are on the disk when this returns.

        If the file ends in half a line, which a crash has left, that line is ended first.

        Raises:
            OSError: none of them is stored, for example because the disk is full or this machine's
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
                # Not if another program has appended meanwhile; half a line does no harm.
                if os.fstat(descriptor).st_size == size + written:
                    with suppress(OSError):
                        os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
        if is_new:
            sync_path(path.parent)

    def _check_clock(self, board: str, day: date) -> None:
        """Raise if the day is before the newest file's: new records have to be in the last file."""
        files = self._files(board)
        last, of = files[-1] if files else (None, _FIRST_DAY)
        if last is None and day < of:
            raise OSError(errno.EINVAL, f"this machine's clock says {day}; set it")
        if last is not None and (day < of or (day == of and last.suffix == ".gz")):
            raise OSError(
                errno.EINVAL,
                f"this machine's clock says {day}, and there is {last} already: set the clock, or"
                " move that file away if it was wrong then",
            )

    def losses(self, board: str) -> dict[str, int]:
        """Return the known losses of a board; see :mod:`bootwright.logs.losses`."""
        try:
            found = json.loads((self._folder_of(board) / _LOSSES).read_text(encoding="utf-8"))
            return {str(start): int(total) for start, total in found.items()}
        except (FileNotFoundError, ValueError, AttributeError, TypeError):
            return {}

    def store_losses(self, board: str, totals: Mapping[str, int]) -> None:
        """Store the known losses of a board."""
        path = self._folder_of(board) / _LOSSES
        replace_file(path, json.dumps(totals))

    def newest_first(
        self, board: str, query: Query | None = None, cursor: LogCursor | None = None
    ) -> Iterator[LogRecord]:
        """Return a board's records, from the last that arrived (before ``cursor``) to the first.

        Raises:
            InputError: no board has such a name.
        """
        since = query.since.date() if query is not None and query.since is not None else None
        for _, line in self.backwards(board, cursor, since):
            record = parse_record(line, board)
            if query is None or query.matches(record):
                yield record

    def backwards(
        self, board: str, cursor: LogCursor | None = None, first: date | None = None
    ) -> Iterator[tuple[LogCursor, str]]:
        """Return a board's lines, each with the cursor before it, from the last to the first.

        Args:
            board: the board's name.
            cursor: only lines before it.
            first: only files of this day and later.

        Raises:
            InputError: no board has such a name.
        """
        for file, day in reversed(self._files(board)):
            name = file.name.removesuffix(".gz")
            if cursor is not None and name > cursor.day:
                continue
            # A record that arrived before that day was written before it.
            if first is not None and day < first:
                return
            end = cursor.offset if cursor is not None and name == cursor.day else sys.maxsize
            for offset, line in _reversed_lines(file, end):
                yield LogCursor(name, offset), line

    def last_lines(self, board: str, count: int) -> list[str]:
        """Return the last lines of the uncompressed files, the oldest first: 64 MiB at most."""
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
        """Return the cursor after the last whole line, for :meth:`follow` and :meth:`backwards`."""
        files = self._files(board)
        if not files:
            return LogCursor("", 0)
        last = files[-1][0]
        if last.suffix == ".gz":
            return LogCursor(last.name.removesuffix(".gz"), sys.maxsize)
        with last.open("rb") as reader:
            return LogCursor(last.name, _last_line_end(reader, sys.maxsize) + 1)

    def unread_bytes(self, board: str, cursor: LogCursor) -> int:
        """Return how many bytes :meth:`follow` has not read yet."""
        waiting = 0
        for file, _ in self._files(board):
            if file.suffix != ".gz" and file.name >= cursor.day:
                read = cursor.offset if file.name == cursor.day else 0
                waiting += max(0, file.stat().st_size - read)
        return waiting

    def follow(self, board: str, cursor: LogCursor, most: int = 1 << 20) -> list[LogRecord]:
        """Return the records that have arrived after ``cursor``, and move it to their end.

        Half a line is left for the next call, and so is what exceeds ``most`` bytes by more than
        a line.
        """
        found: list[LogRecord] = []
        for file, _ in self._files(board):
            if file.suffix == ".gz" or file.name < cursor.day:
                continue
            if file.name != cursor.day:
                cursor.day, cursor.offset = file.name, 0
            with file.open("rb") as reader:
                reader.seek(cursor.offset)
                data = reader.read(most)
                full = len(data) == most
                if full:
                    data += reader.readline()
            whole = data[: data.rfind(b"\n") + 1]
            cursor.offset += len(whole)
            text = whole.decode("utf-8", "surrogateescape")
            found += [parse_record(line, board) for line in text.split("\n")[:-1]]
            if full:
                break
        return found

    def tidy(self, keep_days: int, plain_days: int = 2) -> None:
        """Compress old files, and remove older ones.

        Days are counted by files, not by the clock, which may be wrong for a while.

        Args:
            keep_days: how many of a board's newest files are kept.
            plain_days: how many of them stay uncompressed.

        Raises:
            OSError: some files could not be compressed or removed; the others were.
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
        folder = self._folder_of(board)
        if not folder.is_dir():
            return []
        found = []
        for path in folder.iterdir():
            match = _DAY.fullmatch(path.name)
            # A crash while a file was compressed leaves both; the uncompressed one is complete.
            if match and not (match[2] and path.with_suffix("").exists()):
                with suppress(ValueError):
                    found.append((path, date.fromisoformat(match[1])))
        return sorted(found)


def default_folder() -> Path:
    """Return where logs are kept: ``$BOOTWRIGHT_LOGS``, else the checkout's ``build/logs``."""
    if own := os.environ.get("BOOTWRIGHT_LOGS"):
        return Path(own).expanduser().absolute()
    return paths.build_dir() / "logs"


def _reversed_lines(file: Path, before: int) -> Iterator[tuple[int, str]]:
    """Return a file's lines that end before this byte, each with its first byte, backwards."""
    with _opened(file) as reader:
        end = _last_line_end(reader, before)
        if end < 0:
            return
        line_end, rest = end, b""
        while True:
            start = max(0, end - _BLOCK_BYTES)
            reader.seek(start)
            rest, *lines = (reader.read(end - start) + rest).split(b"\n")
            for line in reversed(lines):
                line_end -= len(line)
                yield line_end, line.decode("utf-8", "surrogateescape")
                line_end -= 1
            if start == 0:
                break
            end = start
        yield 0, rest.decode("utf-8", "surrogateescape")


def _opened(file: Path) -> BinaryIO:
    if file.suffix != ".gz":
        return file.open("rb")
    try:
        with gzip.open(file, "rb") as packed:
            return io.BytesIO(packed.read())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FailedError(f"{file} is damaged: {error}; move it away to see the rest") from error


def _last_line_end(reader: BinaryIO, before: int) -> int:
    """Return where the last end of line before a byte is; -1 if there is none."""
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
        raw.flush()
        os.fsync(raw.fileno())
        os.fchmod(raw.fileno(), file.stat().st_mode & 0o777)
    part.rename(packed)
    file.unlink()
