"""The HTTPS server that boards deliver their logs to; what it acknowledges is on the disk.

Who delivers is who the certificate says. A delivery that cannot be stored is not acknowledged, and
the board keeps it and tries again.
"""

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, datetime

from aiohttp import web

from bootwright.core.errors import BootwrightError
from bootwright.logs.deduplicator import REMEMBERED, Deduplicator
from bootwright.logs.delivery import parse_delivery
from bootwright.logs.io.store import LogStore
from bootwright.logs.syslog_ng import Certificates

PATH = "/v1/records"

LARGEST = 4 * 1024 * 1024
"""Bytes of a delivery; a relay sends at most 512 KiB and one record."""

READ_S = 60.0
"""Seconds for a delivery to arrive, once it has begun."""

Tell = Callable[[str], None]


def server_context(files: Certificates) -> ssl.SSLContext:
    """Return the rules of the server's TLS: only who has a certificate of the authority comes in.

    Raises:
        OSError: a file cannot be read, or is none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(files.authority)
    context.load_cert_chain(files.certificate, files.key)
    return context


class IngestServer:
    """The server; one inbox for each board."""

    def __init__(self, store: LogStore, tell: Tell) -> None:
        """``tell``: where to tell of boards that appear, of losses and of trouble."""
        self._store = store
        self._tell = tell
        self._inboxes: dict[str, Deduplicator] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._met: set[str] = set()
        self._trouble = ""

    def application(self) -> web.Application:
        """Return what answers requests."""
        application = web.Application(client_max_size=LARGEST)
        application.router.add_post(PATH, self._post)
        return application

    async def _post(self, request: web.Request) -> web.Response:
        board = _board_of(request)
        if "Content-Encoding" in request.headers:
            return web.Response(status=415, text="plain text only\n")
        # One at a time for each board, so that no board takes all the memory.
        async with self._locks.setdefault(board, asyncio.Lock()):
            try:
                async with asyncio.timeout(READ_S):
                    body = await request.read()
                repeated = await asyncio.to_thread(self._take, board, body)
            except TimeoutError:
                return web.Response(status=408, text="too slow\n")
            except (OSError, BootwrightError) as error:
                # Told once, not at every try.
                if self._trouble != str(error):
                    self._trouble = str(error)
                    self._tell(f"{board}: cannot store: {error}")
                return web.Response(status=503, text="not stored\n")
        self._trouble = ""
        return web.Response(text=f"stored, {repeated} of them before\n")

    def _take(self, board: str, body: bytes) -> int:
        # Whatever happens before all is stored: the next one begins with what is.
        inbox = self._inboxes.pop(board, None)
        if inbox is None:
            lines = self._store.last_lines(board, REMEMBERED)
            inbox = Deduplicator(board, lines, self._store.losses(board))
        now = datetime.now(UTC)
        added = inbox.add(parse_delivery(body, board), now)
        if added.lines:
            self._store.append(board, added.lines, now.date())
        if added.lost:
            self._store.keep_losses(board, added.totals)
        self._inboxes[board] = inbox
        if board not in self._met:
            self._met.add(board)
            self._tell(f"{board} delivers")
        if added.lost:
            self._tell(f"{board}: {added.lost} records are lost: its queue was full")
        return added.repeated


def _board_of(request: web.Request) -> str:
    assert request.transport is not None
    certificate = request.transport.get_extra_info("peercert") or {}
    names = dict(pair for part in certificate.get("subject", ()) for pair in part)
    return str(names.get("commonName", ""))
