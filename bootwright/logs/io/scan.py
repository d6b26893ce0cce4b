"""The records of several boards as one list, read backwards in pieces that fit together.

A cursor names a place in each board's log. Files only grow at their end, so that what arrives
meanwhile moves no place: nothing is lost between two pieces and nothing comes twice.
"""

import base64
import heapq
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice

from bootwright.core.errors import InputError
from bootwright.logs.io.store import LogCursor, LogStore
from bootwright.logs.query import Query
from bootwright.logs.record import NOTICE, LogRecord, parse_record, parse_time, safe

Places = dict[str, LogCursor]
"""One place for each board."""

_HEAD = re.compile(r"<(\d{1,3})>1 (\S+) ")
_PLACE_DAY = re.compile(r"(\d{4}-\d{2}-\d{2}\.log)?")

_BETWEEN_LOOKS = 256
"""Lines that are read before it is asked whether that is enough."""

_AT_ONCE = 1 << 16
"""Bytes of one board that a follower takes at once."""

_LONG_AGO = datetime.min.replace(tzinfo=UTC)

_NEAR = timedelta(hours=36)
"""How far from the noon of the day it arrived on a record's time may be: a day either way."""


@dataclass(frozen=True)
class Piece:
    """Some records, the newest first.

    Attributes:
        records: those that were asked for.
        older: the cursor to go on with; ``None`` if there is nothing more.
        reached: the time of the last line that was looked at.
    """

    records: list[LogRecord]
    older: Places | None
    reached: datetime | None


@dataclass(frozen=True)
class BoardSummary:
    """What a board has sent of late: when, and which containers and programs wrote it."""

    last: datetime | None
    containers: tuple[str, ...]
    programs: tuple[str, ...]


@dataclass(frozen=True)
class _Line:
    """A line, and the time it stands at among those of other boards."""

    board: str
    place: LogCursor
    text: str
    severity: int
    time: datetime | None
    order: datetime


def pack(places: Places) -> str:
    """Return a cursor as one word."""
    plain = {board: [place.day, place.offset] for board, place in places.items()}
    packed = json.dumps(plain, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def unpack(word: str) -> Places:
    """Return the cursor that :func:`pack` made a word of.

    Raises:
        InputError: it made no such word.
    """
    try:
        plain = json.loads(base64.urlsafe_b64decode(word + "=" * (-len(word) % 4)))
        places = {board: LogCursor(day, offset) for board, (day, offset) in plain.items()}
        if not all(_is_place(place) for place in places.values()):
            raise ValueError
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise InputError("the cursor is none that this page gave; load the page again") from None
    return places


def _is_place(place: LogCursor) -> bool:
    return (
        isinstance(place.day, str)
        and _PLACE_DAY.fullmatch(place.day) is not None
        and type(place.offset) is int
        and 0 <= place.offset <= sys.maxsize
    )


def ends(store: LogStore, board: str) -> Places:
    """Return the cursor behind everything: of one board, or of all if ``board`` is empty."""
    return {name: store.end(name) for name in ([board] if board else store.boards())}


def scan(
    store: LogStore, start: Places, query: Query, limit: int, enough: Callable[[], bool]
) -> Piece:
    """Return the newest records before a cursor.

    Args:
        store: where they are.
        start: the cursor.
        query: which are wanted.
        limit: how many.
        enough: asked now and then; when it says so, what was found until then is returned.
    """
    places, records = dict(start), list[LogRecord]()
    first = query.since.date() if query.since is not None else None
    boards = [_backwards(store, board, place, first) for board, place in start.items()]
    reached = None
    for count, line in enumerate(heapq.merge(*boards, key=lambda one: one.order, reverse=True), 1):
        places[line.board] = line.place
        reached = line.time or reached
        if _may_match(line, query):
            record = parse_record(line.text, line.board)
            if query.matches(record):
                records.append(record)
        if len(records) >= limit or (count % _BETWEEN_LOOKS == 0 and enough()):
            return Piece(records, places, reached)
    return Piece(records, None, reached)


def _backwards(
    store: LogStore, board: str, place: LogCursor, first: date | None
) -> Iterator[_Line]:
    """Return a board's lines.

    One whose clock was off when it was written, by what the day of its arrival tells, stands
    beside its newer neighbour.
    """
    order = datetime.max.replace(tzinfo=UTC)
    day, noon = "", order
    for where, text in store.backwards(board, place, first):
        head = _HEAD.match(text)
        severity, time = NOTICE & 7, None
        if head is not None:
            severity, time = int(head[1]) & 7, parse_time(head[2])
        if where.day != day:
            day, noon = where.day, _noon(where.day)
        if time is not None and abs(time - noon) < _NEAR:
            order = time
        yield _Line(board, where, text, severity, time, order)


def _noon(file: str) -> datetime:
    return datetime.fromisoformat(f"{file.removesuffix('.log')}T12:00:00+00:00")


def _may_match(line: _Line, query: Query) -> bool:
    """Tell quickly, without taking the line apart, whether it is worth that."""
    if query.since is not None and (line.time is None or line.time < query.since):
        return False
    if query.until is not None and (line.time is None or line.time > query.until):
        return False
    # What turns out to be no record counts as a notice, whatever its beginning says.
    if line.severity > query.severity and query.severity < (NOTICE & 7):
        return False
    if not query.container and query.pattern is None:
        return True
    text = safe(line.text)
    # An id may be given longer than the 12 digits that are kept. Some characters stand escaped.
    beginning = query.container[:8]
    if beginning not in text and not set(beginning) & set('\\"]'):
        return False
    return query.pattern is None or query.pattern.search(text) is not None


def arrived(
    store: LogStore, places: Places, boards: Sequence[str], query: Query
) -> tuple[list[LogRecord], int]:
    """Return what has arrived behind a cursor, which is moved on, and how many lines it was."""
    new = [
        store.follow(board, places.setdefault(board, LogCursor("", 0)), _AT_ONCE)
        for board in boards
    ]
    together = heapq.merge(*new, key=lambda record: record.time or _LONG_AGO)
    return [record for record in together if query.matches(record)], sum(map(len, new))


def summary(store: LogStore, board: str, lines: int) -> BoardSummary:
    """Return what is in a board's last lines."""
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
