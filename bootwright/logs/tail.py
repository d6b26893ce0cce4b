"""``inv logs tail``: the last records of a board, and those that arrive."""

import sys
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bootwright.core import paths
from bootwright.core.errors import InputError
from bootwright.core.result import to_json
from bootwright.logs.io.store import LogCursor, LogStore
from bootwright.logs.query import Query, parse_pattern, parse_severity, parse_since
from bootwright.logs.record import LogRecord

SCHEMA = "bootwright.logs/1"

DEFAULT_LINES = 50
"""Records that are shown if no time is given since when."""

MAX_RECORDS = 1_000_000
"""Records that are shown at most."""

_POLL_S = 0.25
"""Seconds between two checks for new records."""

_WARNING = 4

_COLOURS = {0: "1;31", 1: "1;31", 2: "1;31", 3: "31", 4: "33", 7: "2"}
"""The colour of a severity, as the parameter of the terminal's sequence SGR."""


@dataclass(frozen=True)
class TailOptions:
    """What the command line asks for.

    Attributes:
        query: which records.
        lines: how many records at most.
        follow: go on with those that arrive.
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
        """Return them as one JSON document."""
        records = [_record_json(record) for record in self.records]
        return {"schema": SCHEMA, "target": self.target, "records": records}

    def lines(self) -> list[str]:
        """Return them as lines for the operator."""
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
    """Return what the command line asks for.

    Raises:
        InputError: a value is wrong, or two options contradict each other.
    """
    if follow and json:
        raise InputError("--follow never ends, and --json is one document: give one of them")
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
            " Does inv logs serve run, and was the board provisioned with a server for logs?"
        )
    found: list[LogRecord] = []
    for record in store.newest_first(board, options.query, cursor):
        found.append(record)
        if len(found) == options.lines:
            break
    return LogsResult(board, tuple(reversed(found)))


def follow(store: LogStore, board: str, options: TailOptions) -> None:
    """Print the last records, and go on with what arrives until interrupted."""
    # Up to the cursor, then from it on: no record is left out, and none is shown twice.
    cursor = store.end(board)
    for record in last_records(store, board, options, cursor).records:
        _print(record)
    while True:
        for record in store.follow(board, cursor):
            if options.query.matches(record):
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
