"""``inv logs tail``: the last records of a board, and with ``--follow`` those that arrive."""

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bootwright.core import paths
from bootwright.core.errors import InputError
from bootwright.core.result import to_json
from bootwright.core.target_names import CONFIG_NAME
from bootwright.logs.arrival import time_now
from bootwright.logs.io.store import LogCursor, LogStore
from bootwright.logs.query import Query, parse_pattern, parse_severity, parse_since
from bootwright.logs.record import LogRecord

SCHEMA = "bootwright.logs/1"

DEFAULT_LINES = 50
"""How many records are shown by default, if ``--since`` is not given."""

MAX_RECORDS = 1_000_000
"""The most records that are shown."""

_POLL_S = 0.25
"""Seconds between two checks for new records."""

_TROUBLE_S = 5.0
"""Seconds between two checks whether something is wrong with the board's logs."""

_WARNING = 4

_COLOURS = {0: "1;31", 1: "1;31", 2: "1;31", 3: "31", 4: "33", 7: "2"}
"""The colour of a severity, as the parameter of the terminal's sequence SGR."""


@dataclass(frozen=True)
class TailOptions:
    """What the command line asks for.

    Attributes:
        query: which records are wanted.
        lines: the most records.
        follow: continue with the records that arrive.
    """

    query: Query
    lines: int
    follow: bool


@dataclass(frozen=True)
class LogsResult:
    """The last records of a board, the oldest first."""

    target: str
    records: tuple[LogRecord, ...]

    def document(self) -> dict[str, Any]:
        """Return the records as a JSON document."""
        records = [_record_json(record) for record in self.records]
        return {"schema": SCHEMA, "target": self.target, "records": records}

    def lines(self) -> list[str]:
        """Return the records as lines for the operator."""
        return [line_of(record) for record in self.records]


def options_of(
    *,
    container: str,
    since: str,
    grep: str,
    severity: str,
    lines: int | None,
    follow: bool,
    json: bool,
    now: datetime,
) -> TailOptions:
    """Return the options of the command line.

    Raises:
        InputError: a value is wrong, or two options contradict each other.
    """
    if follow and json:
        raise InputError(
            "--follow does not end, and --json prints one document: give only one of them"
        )
    query = Query(
        container=container,
        severity=parse_severity(severity) if severity else 7,
        since=parse_since(since, now) if since else None,
        pattern=parse_pattern(grep) if grep else None,
    )
    return TailOptions(query, lines or (MAX_RECORDS if since else DEFAULT_LINES), follow)


def last_records(
    store: LogStore, board: str, options: TailOptions, cursor: LogCursor | None = None
) -> LogsResult:
    """Return the last records that are wanted (before ``cursor``), the oldest first.

    Raises:
        InputError: there are no logs of such a board.
    """
    if board not in store.boards():
        known = ", ".join(store.boards()) or "none"
        raise InputError(
            f"no logs of {board!r} in {paths.display_path(store.folder)}; boards there: {known}."
            " Is inv logs serve running, and does the board have a server for logs ([logs] in"
            f" {CONFIG_NAME}, then inv provision)?"
        )
    found: list[LogRecord] = []
    for record in store.newest_first(board, options.query, cursor):
        found.append(record)
        if len(found) == options.lines:
            break
    return LogsResult(board, tuple(reversed(found)))


def follow(
    store: LogStore, board: str, options: TailOptions, trouble: Callable[[], Iterable[str]] = tuple
) -> None:
    """Print the last records, then those that arrive, until interrupted.

    Args:
        store: the logs.
        board: the board's name.
        options: what is wanted.
        trouble: returns what is wrong with the board's logs; new sentences are printed on standard
            error.
    """
    # First the records before the cursor, then those after it: none is missing or shown twice.
    cursor = store.end(board)
    for record in last_records(store, board, options, cursor).records:
        _print(record)
    shown, checked = tuple(trouble()), time.monotonic()
    while True:
        if time.monotonic() - checked >= _TROUBLE_S:
            now = tuple(trouble())
            for sentence in now:
                if sentence not in shown:
                    print(f"warning: {board}: {sentence}", file=sys.stderr, flush=True)
            shown, checked = now, time.monotonic()
        arrived = datetime.now(UTC)
        for record in store.follow(board, cursor):
            if options.query.matches(record, time_now(record.time, arrived)):
                _print(record)
        sys.stdout.flush()
        time.sleep(_POLL_S)


def _print(record: LogRecord) -> None:
    text = line_of(record)
    colour = _COLOURS.get(record.severity, "") if sys.stdout.isatty() else ""
    print(f"\033[{colour}m{text}\033[0m" if colour else text)


def line_of(record: LogRecord) -> str:
    """Return a record as a line for the operator; the time is the board's, in UTC."""
    time_ = (
        f"{record.time:%Y-%m-%d %H:%M:%S}.{record.time.microsecond // 1000:03d}"
        if record.time
        else "-"
    )
    name = record.app or "-"
    if record.container is None and record.process:
        name = f"{name}[{record.process}]"
    urgent = f" {record.severity_name}:" if record.severity <= _WARNING else ""
    return f"{time_} {name}:{urgent} {record.text}"


def _record_json(record: LogRecord) -> dict[str, Any]:
    return {
        "time": to_json(record.time),
        "severity": record.severity_name,
        "app": record.app or None,
        "process": record.process or None,
        "container": to_json(record.container),
        "sequence": record.sequence,
        "lost": record.lost,
        "text": record.text,
    }
