"""The HTTPS server that boards deliver their logs to.

A board is identified by its certificate. A delivery is acknowledged when it is on the disk. If it
cannot be stored, it is not acknowledged; then the board keeps it and tries again.
"""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime

from aiohttp import web

from bootwright.core.errors import BootwrightError
from bootwright.logs.deduplicator import REMEMBERED_LINES, Deduplicator
from bootwright.logs.delivery import parse_delivery
from bootwright.logs.io.listener import Listener, Notify, board_of
from bootwright.logs.io.quotas import Quotas, clear_refusal, note_refusal
from bootwright.logs.io.store import LogStore
from bootwright.logs.syslog_ng import Certificates

PATH = "/v1/records"

MAX_DELIVERY_BYTES = 2 * 1024 * 1024
"""The most bytes of a delivery; a relay sends at most 512 KiB plus one record, which has at most
512 KiB when it is escaped."""

MAX_RECORDS = 2000
"""The most records of a delivery; a relay sends at most 500."""

READ_S = 60.0
"""Seconds within which a delivery has to arrive after its beginning."""

DELIVERIES_AT_ONCE = 64
"""How many deliveries are received at the same time, one for each board: so many bodies are in
memory. More wait. A board that has lost its network in the middle of a delivery has one of these
places for up to :data:`READ_S`, so there are many more than can be stored at the same time."""

STORED_AT_ONCE = 2
"""How many deliveries are parsed and stored at the same time; this takes many times the memory of
the delivery. More would not be faster: Python runs one thread at a time."""

SHOWN_AGAIN_S = 600.0
"""Seconds after which the same failure of a board is shown again."""

REMEMBERED_BOARDS = 256
"""Of how many boards the last records are remembered, to find repeated ones: about 0.6 MiB each.
Those of other boards are read from the disk again."""


_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def server_context(files: Certificates) -> ssl.SSLContext:
    """Return the TLS settings of the server: clients need a certificate of the authority.

    Raises:
        OSError: a file cannot be read, or is not a certificate or key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(files.authority)
    context.load_cert_chain(files.certificate, files.key)
    return context


class IngestServer:
    """The server that stores deliveries.

    Args:
        store: where records are stored.
        notify: shows new boards, losses and failures.
        quotas: makes room for what boards write; ``None``: boards may fill the disk.
    """

    def __init__(self, store: LogStore, notify: Notify, quotas: Quotas | None = None) -> None:
        self._store = store
        self._quotas = quotas
        self._notify = notify
        self._deduplicators: dict[str, Deduplicator] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._known_boards: set[str] = set()
        self._failures: dict[str, str] = {}
        self._shown: dict[str, tuple[str, float]] = {}
        self._received = asyncio.Semaphore(DELIVERIES_AT_ONCE)
        self._stored = asyncio.Semaphore(STORED_AT_ONCE)
        self.listener: Listener | None = None
        """Is informed of each request."""

    def application(self) -> web.Application:
        """Return the application that answers requests."""
        application = web.Application(
            client_max_size=MAX_DELIVERY_BYTES, middlewares=[self._inform]
        )
        application.router.add_post(PATH, self._post)
        return application

    @web.middleware
    async def _inform(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if self.listener is not None:
            self.listener.requested(_board_of(request), request.protocol)
        return await handler(request)

    async def _post(self, request: web.Request) -> web.Response:
        board = _board_of(request)
        if "Content-Encoding" in request.headers:
            return web.Response(status=415, text="plain text only\n")
        # Only one delivery of a board at a time, so that no board uses all the memory.
        async with self._locks.setdefault(board, asyncio.Lock()), self._received:
            try:
                async with asyncio.timeout(READ_S):
                    body = await request.read()
            except TimeoutError:
                return web.Response(status=408, text="too slow\n")
            except OSError:
                # The connection is lost, so nobody gets this answer. The board delivers again.
                return web.Response(status=400, text="incomplete\n")
            if body.count(b"\n") > MAX_RECORDS:
                return web.Response(status=413, text=f"more than {MAX_RECORDS} records\n")
            try:
                async with self._stored:
                    repeated = await asyncio.to_thread(self._store_delivery, board, body)
            except (OSError, BootwrightError) as error:
                # The same error is shown once, not at each attempt of the board.
                why = str(error)
                if self._failures.get(board) != why:
                    self._failures[board] = why
                    self._show_failure(board, why)
                    await asyncio.to_thread(self._note_refusal, board, why)
                return web.Response(status=503, text="not stored\n")
        # A board is moved to the end by each of its deliveries.
        while len(self._deduplicators) > REMEMBERED_BOARDS:
            self._deduplicators.pop(next(iter(self._deduplicators)))
        return web.Response(text=f"stored, {repeated} of them before\n")

    def _store_delivery(self, board: str, body: bytes) -> int:
        # Put back only when everything is stored: after a failure it is rebuilt from the disk.
        deduplicator = self._deduplicators.pop(board, None)
        if deduplicator is None:
            lines = self._store.last_lines(board, REMEMBERED_LINES)
            deduplicator = Deduplicator(board, lines, self._store.losses(board))
        now = datetime.now(UTC)
        added = deduplicator.add(parse_delivery(body, board), now)
        if added.lines:
            if self._quotas is not None:
                size = sum(len(line.encode("utf-8", "replace")) + 1 for line in added.lines)
                self._quotas.make_room(board, size, now.date())
            self._store.append(board, added.lines, now.date())
        if added.lost:
            self._store.store_losses(board, added.totals)
        self._deduplicators[board] = deduplicator
        is_new = board not in self._known_boards
        if added.lines and (self._failures.pop(board, "") or is_new):
            clear_refusal(self._store, board)
        if is_new:
            self._known_boards.add(board)
            self._notify(f"{board} delivers")
        if added.lost:
            self._notify(f"{board}: {added.lost} records are lost: its queue was full")
        return added.repeated

    def _show_failure(self, board: str, why: str) -> None:
        # Near a limit some deliveries fit and others do not.
        last, shown = self._shown.get(board, ("", 0.0))
        if why != last or time.monotonic() - shown > SHOWN_AGAIN_S:
            self._shown[board] = why, time.monotonic()
            self._notify(f"{board}: cannot store: {why}")

    def _note_refusal(self, board: str, why: str) -> None:
        # Not for a name that cannot be that of a board.
        with suppress(BootwrightError):
            note_refusal(self._store, board, why)


def _board_of(request: web.Request) -> str:
    assert request.transport is not None
    return board_of(request.transport)
