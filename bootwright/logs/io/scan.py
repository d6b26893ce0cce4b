"""Reading the records of several boards as one list, from the newest back, in parts.

A part ends at a cursor in each board's log, where the next part begins. Files only grow at their
end, so new records change no cursor: no record is missing, and none is read twice.
"""

import base64
import heapq
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import islice

from bootwright.core.errors import InputError
from bootwright.logs.arrival import ArrivalTimes, time_now
from bootwright.logs.io.store import LogCursor, LogStore
from bootwright.logs.query import Query
from bootwright.logs.record import (
    NOTICE,
    LogRecord,
    escape_unsafe,
    header_word,
    parse_record,
    parse_time,
)

Cursors = dict[str, LogCursor]
"""A cursor for each board, by name."""

_HEAD = re.compile(r"<(\d{1,3})>1 (\S+) ")
_CURSOR_DAY = re.compile(r"(\d{4}-\d{2}-\d{2}\.log)?")

_LINES_PER_CHECK = 256
"""How many lines are read between two checks whether the search should end."""

_FOLLOW_BYTES = 1 << 16
"""How many bytes of one board are read at once when new records are followed."""

_EARLIEST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class ScanResult:
    """The records of one search, the newest first.

    Attributes:
        records: the records that match the query.
        older: where the next search continues; ``None`` if there are no older records.
        reached: the time of the oldest line that was read.
    """

    records: list[LogRecord]
    older: Cursors | None
    reached: datetime | None


@dataclass(frozen=True)
class BoardSummary:
    """A summary of a board's last records: the time of the last one, and the containers and
    programs that wrote them.
    """

    last: datetime | None
    containers: tuple[str, ...]
    programs: tuple[str, ...]


@dataclass(frozen=True)
class _Line:
    """A line of a log.

    Attributes:
        order: the time for sorting it among the lines of other boards.
        searched: the time by which it is searched for.
    """

    board: str
    cursor: LogCursor
    text: str
    severity: int
    time: datetime | None
    order: datetime
    searched: datetime


def encode_cursors(cursors: Cursors) -> str:
    """Return cursors as one word that can be used in a URL."""
    plain = {board: [cursor.day, cursor.offset] for board, cursor in cursors.items()}
    packed = json.dumps(plain, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def decode_cursors(word: str) -> Cursors:
    """Return the cursors that :func:`encode_cursors` encoded.

    Raises:
        InputError: ``word`` is not from :func:`encode_cursors`.
    """
    try:
        plain = json.loads(base64.urlsafe_b64decode(word + "=" * (-len(word) % 4)))
        cursors = {board: LogCursor(day, offset) for board, (day, offset) in plain.items()}
        if not all(_is_cursor(cursor) for cursor in cursors.values()):
            raise ValueError
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise InputError("the cursor is not valid; load the page again") from None
    return cursors


def _is_cursor(cursor: LogCursor) -> bool:
    return (
        isinstance(cursor.day, str)
        and _CURSOR_DAY.fullmatch(cursor.day) is not None
        and type(cursor.offset) is int
        and 0 <= cursor.offset <= sys.maxsize
    )


def end_cursors(store: LogStore, board: str) -> Cursors:
    """Return the cursors at the end of one board's log, or of all logs if ``board`` is empty."""
    return {name: store.end(name) for name in ([board] if board else store.boards())}


def scan(
    store: LogStore, start: Cursors, query: Query, limit: int, enough: Callable[[], bool]
) -> ScanResult:
    """Return the newest records before the cursors.

    Args:
        store: the logs.
        start: the cursors.
        query: which records are wanted.
        limit: the most records.
        enough: called from time to time; the search ends if it returns true.
    """
    cursors, records = dict(start), list[LogRecord]()
    first = query.since.date() if query.since is not None else None
    boards = [_backwards(store, board, cursor, first) for board, cursor in start.items()]
    reached = None
    for count, line in enumerate(heapq.merge(*boards, key=lambda one: one.order, reverse=True), 1):
        cursors[line.board] = line.cursor
        reached = line.time or reached
        if _may_match(line, query):
            record = parse_record(line.text, line.board)
            if query.matches(record, line.searched):
                records.append(record)
        if len(records) >= limit or (count % _LINES_PER_CHECK == 0 and enough()):
            return ScanResult(records, cursors, reached)
    return ScanResult(records, None, reached)


def _backwards(
    store: LogStore, board: str, cursor: LogCursor, first: date | None
) -> Iterator[_Line]:
    """Yield a board's lines, from the last to the first.

    If the time of a line is far from the day of its arrival, the board's clock was wrong; then the
    line is sorted by the time of the line that follows it in the file.
    """
    times = ArrivalTimes()
    for where, text in store.backwards(board, cursor, first):
        head = _HEAD.match(text)
        severity, time = NOTICE & 7, None
        if head is not None:
            severity, time = int(head[1]) & 7, parse_time(head[2])
        order = times.time_of(where.day, time)
        yield _Line(board, where, text, severity, time, order, times.searched_time(time))


def _may_match(line: _Line, query: Query) -> bool:
    """Return whether a line may match; this is faster than parsing every line."""
    if query.since is not None and line.searched < query.since:
        return False
    if query.until is not None and line.searched > query.until:
        return False
    # A line that cannot be parsed has the severity notice, whatever it begins with.
    if line.severity > query.severity and query.severity < (NOTICE & 7):
        return False
    if not query.container and query.pattern is None:
        return True
    text = escape_unsafe(line.text)
    # An id in a query may have more than the 12 digits that are stored, so only the beginning is
    # compared; not if it has characters that are escaped in the file.
    beginning = query.container[:8]
    stored = header_word(query.container)[:8]
    if beginning not in text and stored not in text and not set(beginning) & set('\\"]'):
        return False
    return query.pattern is None or query.pattern.search(text) is not None


def new_records(
    store: LogStore, cursors: Cursors, boards: Sequence[str], query: Query
) -> tuple[list[LogRecord], int]:
    """Return the matching records after the cursors, and how many lines were read.

    The cursors are moved to the end of these lines.
    """
    new = [
        store.follow(board, cursors.setdefault(board, LogCursor("", 0)), _FOLLOW_BYTES)
        for board in boards
    ]
    together = heapq.merge(*new, key=lambda record: record.time or _EARLIEST)
    now = datetime.now(UTC)
    found = [record for record in together if query.matches(record, time_now(record.time, now))]
    return found, sum(map(len, new))


def summary(store: LogStore, board: str, lines: int) -> BoardSummary:
    """Return a summary of a board's last lines."""
    containers, programs = set[str](), set[str]()
    last: datetime | None = None
    for _, line in islice(store.backwards(board), lines):
        record = parse_record(line, board)
        last = last or record.time
        if record.container is not None:
            containers.add(record.container.name)
        else:
            programs.add(record.app)
    return BoardSummary(last, tuple(sorted(containers - {""})), tuple(sorted(programs - {""})))
