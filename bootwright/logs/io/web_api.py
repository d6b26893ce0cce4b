"""The requests of the web page of ``inv logs web``: boards, records, stream of new records.

Answers are JSON; the answer to a wrong request is status 400 with a message.
"""

import asyncio
import json
import re
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime

from aiohttp import web

from bootwright.core.errors import InputError
from bootwright.logs.io.quotas import trouble_of
from bootwright.logs.io.scan import (
    BoardSummary,
    Cursors,
    ScanResult,
    decode_cursors,
    encode_cursors,
    end_cursors,
    new_records,
    scan,
    summary,
)
from bootwright.logs.io.store import LogCursor, LogStore
from bootwright.logs.query import Query, parse_severity, parse_since
from bootwright.logs.record import LogRecord

SEARCH_S = 5.0
"""The most seconds that one request may search."""

_MAX_RECORDS = 500
"""The most records in one answer."""

_POLL_S = 0.25
"""Seconds between two checks for new records."""

_KEEP_ALIVE_S = 15.0
"""Seconds after which a stream without records sends a comment, so that it stays open."""

_MAX_BACKLOG_BYTES = 4 << 20
"""The most missed bytes that a stream sends to a page; if there are more, the page is reloaded."""

_BUSY_LINES = 100
"""If this many new lines were read at once, the next read follows without waiting."""

_SUMMARY_LINES = 1000
"""How many of a board's last lines are used to list its containers and programs."""


class LogApi:
    """Answers the requests. Files are read in other threads."""

    def __init__(self, store: LogStore, seconds: float) -> None:
        self._store = store
        self._seconds = seconds
        self._closing = asyncio.Event()
        # Searches must not use all threads, because streams need some too.
        self._searches = asyncio.Semaphore(2)
        self._summaries: dict[str, tuple[LogCursor, BoardSummary]] = {}

    async def close(self, _app: web.Application) -> None:
        """End the streams."""
        self._closing.set()

    async def boards(self, _request: web.Request) -> web.StreamResponse:
        """Answer with all boards: the time of the last record, and the containers and programs."""
        found = await asyncio.to_thread(lambda: [*map(self._board, self._store.boards())])
        return web.json_response({"boards": found})

    def _board(self, board: str) -> dict[str, object]:
        end = self._store.end(board)
        known = self._summaries.get(board)
        if known is None or known[0] != end:
            known = self._summaries[board] = end, summary(self._store, board, _SUMMARY_LINES)
        return {
            "name": board,
            "last": _iso(known[1].last),
            "containers": known[1].containers,
            "programs": known[1].programs,
            "trouble": "; ".join(trouble_of(self._store, board, datetime.now(UTC))) or None,
        }

    async def records(self, request: web.Request) -> web.StreamResponse:
        """Answer with the newest records before a cursor, and the cursor for the next request."""
        given = request.query
        query, board, limit = _query(given), given.get("board", ""), _limit(given)
        newest = await asyncio.to_thread(end_cursors, self._store, board)
        start = newest
        if before := given.get("before", ""):
            start = {
                name: cursor
                for name, cursor in decode_cursors(before).items()
                if board in ("", name)
            }
        found = await self._searched(start, query, limit)
        return web.json_response(
            {
                "records": [_plain(record) for record in found.records],
                "more": found.older is not None,
                "before": None if found.older is None else encode_cursors(found.older),
                "newest": encode_cursors(newest),
                "reached": _iso(found.reached),
            }
        )

    async def _searched(self, start: Cursors, query: Query, limit: int) -> ScanResult:
        given_up = threading.Event()

        def search() -> ScanResult:
            last = time.monotonic() + self._seconds
            return scan(
                *(self._store, start, query, limit),
                lambda: given_up.is_set() or self._closing.is_set() or time.monotonic() >= last,
            )

        try:
            async with self._searches:
                return await asyncio.to_thread(search)
        finally:
            # Also if the browser has closed the request, for example to send another one.
            given_up.set()

    async def tail(self, request: web.Request) -> web.StreamResponse:
        """Stream new records: from now on, or after the last cursor that the page received."""
        query, board = _query(request.query), request.query.get("board", "")
        cursors = await asyncio.to_thread(end_cursors, self._store, board)
        if after := request.headers.get("Last-Event-ID") or request.query.get("after"):
            cursors = decode_cursors(after)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        with suppress(ConnectionError):
            await self._stream(response, cursors, board, query)
        return response

    async def _stream(
        self, response: web.StreamResponse, cursors: Cursors, board: str, query: Query
    ) -> None:
        if await asyncio.to_thread(self._unread_bytes, cursors, board) > _MAX_BACKLOG_BYTES:
            await response.write(_event("behind", ""))
            return
        await response.write(f"retry: 1000\nid: {encode_cursors(cursors)}\n\n".encode())
        sent = time.monotonic()
        while not self._closing.is_set():
            try:
                records, lines = await asyncio.to_thread(self._new, cursors, board, query)
            except OSError as error:
                await response.write(_event("problem", f"the logs cannot be read: {error}"))
                return
            if records:
                event = _event("records", [_plain(record) for record in records])
                await response.write(f"id: {encode_cursors(cursors)}\n".encode() + event)
                sent = time.monotonic()
            elif time.monotonic() - sent >= _KEEP_ALIVE_S:
                await response.write(f": still here\nid: {encode_cursors(cursors)}\n\n".encode())
                sent = time.monotonic()
            if lines < _BUSY_LINES:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), _POLL_S)

    def _new(self, cursors: Cursors, board: str, query: Query) -> tuple[list[LogRecord], int]:
        return new_records(self._store, cursors, self._names(board), query)

    def _names(self, board: str) -> tuple[str, ...]:
        return (board,) if board else self._store.boards()

    def _unread_bytes(self, cursors: Cursors, board: str) -> int:
        start = LogCursor("", 0)
        return sum(
            self._store.unread_bytes(name, cursors.get(name, start)) for name in self._names(board)
        )


def _event(kind: str, data: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


def _query(given: Mapping[str, str]) -> Query:
    """Return the query of a request.

    Raises:
        InputError: a value is wrong.
    """
    now = datetime.now(UTC)
    since, until = given.get("since", ""), given.get("until", "")
    query = Query(
        container=given.get("container", ""),
        severity=parse_severity(given.get("severity") or "debug", "severity"),
        since=parse_since(since, now, "since") if since else None,
        until=parse_since(until, now, "until") if until else None,
        # Not a regular expression: some would take years to match.
        pattern=re.compile(re.escape(given["q"]), re.IGNORECASE) if given.get("q") else None,
    )
    if query.since is not None and query.until is not None and query.since > query.until:
        raise InputError(f"since {since!r} is later than until {until!r}")
    return query


def _limit(given: Mapping[str, str]) -> int:
    text = given.get("limit") or "200"
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= _MAX_RECORDS:
        raise InputError(f"limit {text!r}: write a whole number from 1 to {_MAX_RECORDS}")
    return int(text)


def _plain(record: LogRecord) -> dict[str, object]:
    return {
        "time": _iso(record.time),
        "severity": record.severity_name,
        "facility": record.priority >> 3,
        "board": record.board,
        "app": record.app,
        "process": record.process,
        "container": None if record.container is None else asdict(record.container),
        "sequence": record.sequence,
        "lost": record.lost,
        "text": record.text,
    }


def _iso(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat().replace("+00:00", "Z")
