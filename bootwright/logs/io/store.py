"""The folder with every board's log: ``BOARD/YYYY-MM-DD.log``, later ``.log.gz``.

The day is that of arrival, in UTC: files only ever grow at their end, whatever a board's clock
says. Whoever appends opens the file anew, so that others may write to it as well.
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
from bootwright.core.io.fsync import sync_path
from bootwright.logs.query import Query
from bootwright.logs.record import LogRecord, parse_record

_BOARD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,62}")
_DAY = re.compile(r"(\d{4}-\d{2}-\d{2})\.log(\.gz)?")

_LOSSES = ".losses"
"""The file beside a board's logs that says what is known of its losses."""

_FIRST = date(2026, 1, 1)
"""Before this program was; a clock that says so has not been set yet."""

_MOST = 64 << 20
"""Characters that :meth:`LogStore.last_lines` reads at most."""

_BLOCK = 1 << 16
"""Bytes read at once when reading from the end."""


@dataclass
class LogCursor:
    """Between two lines of one board; it stays what it is when records arrive or are compressed."""

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
        return self._of(board) / f"{day.isoformat()}.log"

    def _of(self, board: str) -> Path:
        if not _BOARD.fullmatch(board):
            raise InputError(f"{board!r} is not a board's name")
        return self.folder / board

    def append(self, board: str, lines: Sequence[str], day: date) -> None:
        """Add lines; they are on the disk when this returns.

        What a crash left half written at the end gets an end of line first.

        Raises:
            OSError: they are not, such as on a full disk, or since this machine's clock is wrong;
                none of them is there then.
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
                # Others write to it as well: what is theirs stays, and half a line is no harm.
                if os.fstat(descriptor).st_size == size + written:
                    with suppress(OSError):
                        os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
        if is_new:
            sync_path(path.parent)

    def _check_clock(self, board: str, day: date) -> None:
        """Raise if the day cannot be: its file would hide others, or be taken for an old one."""
        files = self._files(board)
        last, of = files[-1] if files else (None, _FIRST)
        if last is None and day < of:
            raise OSError(errno.EINVAL, f"this machine's clock says {day}; set it")
        if last is not None and (day < of or (day == of and last.suffix == ".gz")):
            raise OSError(
                errno.EINVAL,
                f"this machine's clock says {day}, and there is {last} already: set the clock, or"
                " move that file away if it was wrong then",
            )

    def losses(self, board: str) -> dict[str, int]:
        """Return what is known of a board's losses; see :mod:`bootwright.logs.losses`."""
        try:
            found = json.loads((self._of(board) / _LOSSES).read_text(encoding="utf-8"))
            return {str(start): int(total) for start, total in found.items()}
        except (FileNotFoundError, ValueError, AttributeError, TypeError):
            return {}

    def keep_losses(self, board: str, totals: Mapping[str, int]) -> None:
        """Keep what is known of a board's losses."""
        path = self._of(board) / _LOSSES
        new = path.with_name(f"{_LOSSES}.new")
        new.write_text(json.dumps(totals), encoding="utf-8")
        new.rename(path)

    def newest_first(
        self, board: str, query: Query | None = None, place: LogCursor | None = None
    ) -> Iterator[LogRecord]:
        """Return a board's records, from the last that arrived (before ``place``) to the first.

        Raises:
            InputError: no board has such a name.
        """
        since = query.since.date() if query is not None and query.since is not None else None
        for _, line in self.backwards(board, place, since):
            record = parse_record(line, board)
            if query is None or query.matches(record):
                yield record

    def backwards(
        self, board: str, place: LogCursor | None = None, first: date | None = None
    ) -> Iterator[tuple[LogCursor, str]]:
        """Return a board's lines, each with the place before it, from the last to the first.

        Args:
            board: whose.
            place: only what is before it.
            first: the day that no wanted record was written before.

        Raises:
            InputError: no board has such a name.
        """
        for file, day in reversed(self._files(board)):
            name = file.name.removesuffix(".gz")
            if place is not None and name > place.day:
                continue
            # What arrived before then was written before then.
            if first is not None and day < first:
                return
            end = place.offset if place is not None and name == place.day else sys.maxsize
            for offset, line in _reversed_lines(file, end):
                yield LogCursor(name, offset), line

    def last_lines(self, board: str, count: int) -> list[str]:
        """Return the last lines of what is not compressed, the oldest first: 64 MiB at most."""
        found, size = [], 0
        plain = [file for file, _ in self._files(board) if file.suffix != ".gz"]
        for file in reversed(plain):
            for _, line in _reversed_lines(file, sys.maxsize):
                found.append(line)
                size += len(line)
                if len(found) == count or size > _MOST:
                    return found[::-1]
        return found[::-1]

    def end(self, board: str) -> LogCursor:
        """Return the place behind the last whole line, for :meth:`follow` and :meth:`backwards`."""
        files = self._files(board)
        if not files:
            return LogCursor("", 0)
        last = files[-1][0]
        if last.suffix == ".gz":
            return LogCursor(last.name.removesuffix(".gz"), sys.maxsize)
        with last.open("rb") as reader:
            return LogCursor(last.name, _last_line_end(reader, sys.maxsize) + 1)

    def behind(self, board: str, place: LogCursor) -> int:
        """Return how many bytes :meth:`follow` has not read yet."""
        waiting = 0
        for file, _ in self._files(board):
            if file.suffix != ".gz" and file.name >= place.day:
                read = place.offset if file.name == place.day else 0
                waiting += max(0, file.stat().st_size - read)
        return waiting

    def follow(self, board: str, place: LogCursor, most: int = 1 << 20) -> list[LogRecord]:
        """Return what has arrived behind ``place``, which is moved on.

        A line that is only half there is left for the next time, and so is what exceeds ``most``
        bytes by more than a line.
        """
        found: list[LogRecord] = []
        for file, _ in self._files(board):
            if file.suffix == ".gz" or file.name < place.day:
                continue
            if file.name != place.day:
                place.day, place.offset = file.name, 0
            with file.open("rb") as reader:
                reader.seek(place.offset)
                data = reader.read(most)
                full = len(data) == most
                if full:
                    data += reader.readline()
            whole = data[: data.rfind(b"\n") + 1]
            place.offset += len(whole)
            text = whole.decode("utf-8", "surrogateescape")
            found += [parse_record(line, board) for line in text.split("\n")[:-1]]
            if full:
                break
        return found

    def tidy(self, keep_days: int, plain_days: int = 2) -> None:
        """Compress what is old, and remove what is older.

        Days are counted by files, not by the clock: it may be wrong for a while.

        Args:
            keep_days: so many of a board's newest files stay.
            plain_days: so many of them stay as they are.

        Raises:
            OSError: some could not be tidied up; the others were.
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
        folder = self._of(board)
        if not folder.is_dir():
            return []
        found = []
        for path in folder.iterdir():
            match = _DAY.fullmatch(path.name)
            # A crash between the two leaves both; the text is whole then.
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
    """Return a file's whole lines that end by ``before``, each with where it begins, backwards."""
    with _opened(file) as reader:
        end = _last_line_end(reader, before)
        if end < 0:
            return
        behind, rest = end, b""
        while True:
            start = max(0, end - _BLOCK)
            reader.seek(start)
            rest, *lines = (reader.read(end - start) + rest).split(b"\n")
            for line in reversed(lines):
                behind -= len(line)
                yield behind, line.decode("utf-8", "surrogateescape")
                behind -= 1
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
        end, start = start, max(0, start - _BLOCK)
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
