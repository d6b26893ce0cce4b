"""The web page of ``inv logs web``: the logs of boards in a browser on this machine.

The server listens on the loopback interface only. The path of the printed URL begins with a secret,
so that other users of the machine, and other web sites in the browser, cannot read the logs. It is
not in a cookie: a browser sends the cookies of 127.0.0.1 to all of its ports, so the server of
another user would get it (RFC 6265, section 8.5).
"""

import asyncio
import secrets
import socket
from collections.abc import Awaitable, Callable

from aiohttp import web

from bootwright.core import paths
from bootwright.core.errors import FailedError, InputError
from bootwright.logs.io.store import LogStore
from bootwright.logs.io.web_api import SEARCH_S, LogApi

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

_FILES = {
    "": ("page.html", "text/html"),
    "page.css": ("page.css", "text/css"),
    "page.js": ("page.js", "text/javascript"),
}

_NO_SECRET = (
    "This page needs the secret in the URL that `inv logs web` printed: open that complete URL.\n"
    "Each start of `inv logs web` makes a new secret.\n"
)

_MAX_HEADER_BYTES = 1 << 16
"""The most bytes of a header line of a request: a cursor has a part for each board."""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def serve_page(
    store: LogStore, port: int, ready: Callable[[str], None], stop: asyncio.Event
) -> None:
    """Serve the page until ``stop`` is set.

    Args:
        store: the logs that are shown.
        port: the port on 127.0.0.1; 0: any free one.
        ready: called with the URL when it can be opened.
        stop: ends the server.

    Raises:
        FailedError: the port cannot be opened.
        InputError: there is no such port.
    """
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OverflowError:
        raise InputError(f"port {port}: write a whole number from 0 to 65535") from None
    except OSError as error:
        raise FailedError(
            f"port {port} of 127.0.0.1: {error.strerror}; give another port, or 0 for any free one"
        ) from error
    port, secret = listener.getsockname()[1], secrets.token_urlsafe(24)
    runner = web.AppRunner(
        page_app(store, port, secret),
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=2,
        max_line_size=_MAX_HEADER_BYTES,
        max_field_size=_MAX_HEADER_BYTES,
    )
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        ready(f"http://127.0.0.1:{port}/{secret}/")
        await stop.wait()
    finally:
        await runner.cleanup()


def page_app(
    store: LogStore, port: int, secret: str, *, seconds: float = SEARCH_S
) -> web.Application:
    """Return the web application.

    Args:
        store: the logs that are shown.
        port: the port that it is served on; the Host header of each request has to have it.
        secret: the first part of each request's path has to be this.
        seconds: the most seconds that one request may search.
    """
    api, access = LogApi(store, seconds), _Access(port, secret)
    app = web.Application(middlewares=[access.check, _plain_errors])
    app.on_response_prepare.append(_secure)
    app.on_shutdown.append(api.close)
    for path in _FILES:
        app.router.add_get(f"/{secret}/{path}", _file)
    app.router.add_get(f"/{secret}/api/boards", api.boards)
    app.router.add_get(f"/{secret}/api/records", api.records)
    app.router.add_get(f"/{secret}/api/tail", api.tail, allow_head=False)
    return app


async def _secure(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)


@web.middleware
async def _plain_errors(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except InputError as error:
        return web.Response(status=400, text=f"{error}\n")
    except (OSError, FailedError) as error:
        return web.Response(status=500, text=f"the logs cannot be read: {error}\n")


async def _file(request: web.Request) -> web.StreamResponse:
    name, kind = _FILES[request.path.rpartition("/")[2]]
    text = (paths.checkout() / "templates" / "logs" / name).read_text(encoding="utf-8")
    return web.Response(text=text, content_type=kind, charset="utf-8")


class _Access:
    """Checks whether a request may be answered."""

    def __init__(self, port: int, secret: str) -> None:
        names = ("127.0.0.1", "localhost", "[::1]")
        self._hosts = {f"{name}:{port}" for name in names} | ({*names} if port == 80 else set())
        self._address = f"127.0.0.1:{port}"
        self._secret = secret

    @web.middleware
    async def check(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Answer a request that is for this host and whose path begins with the secret."""
        # Another site may make its own name resolve to this address (DNS rebinding); then the Host
        # header has that name.
        if request.headers.get("Host", "").lower() not in self._hosts:
            text = f"Open this page as http://{self._address}; no other address is allowed.\n"
            return web.Response(status=403, text=text)
        given = request.path.removeprefix("/").partition("/")[0]
        if not secrets.compare_digest(given.encode("utf-8", "replace"), self._secret.encode()):
            return web.Response(status=403, text=_NO_SECRET)
        return await handler(request)
