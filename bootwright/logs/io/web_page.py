"""The web page of ``inv logs web``: the logs of boards in a browser on this machine.

The server listens on the loopback interface only. The first request needs the token in the printed
URL, so that other users of the machine, and other web sites in the browser, cannot read the logs.
"""

import asyncio
import secrets
import socket
from collections.abc import Awaitable, Callable
from urllib.parse import urlencode

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
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}

_NO_TOKEN = (
    "This page needs the token of the URL that `inv logs web` printed: open that complete URL.\n"
    "Each start of `inv logs web` makes a new token.\n"
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
    port, token = listener.getsockname()[1], secrets.token_urlsafe(24)
    runner = web.AppRunner(
        page_app(store, port, token),
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=2,
        max_line_size=_MAX_HEADER_BYTES,
        max_field_size=_MAX_HEADER_BYTES,
    )
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        ready(f"http://127.0.0.1:{port}/?token={token}")
        await stop.wait()
    finally:
        await runner.cleanup()


def page_app(
    store: LogStore, port: int, token: str, *, seconds: float = SEARCH_S
) -> web.Application:
    """Return the web application.

    Args:
        store: the logs that are shown.
        port: the port that it is served on; the Host header of each request has to have it.
        token: the first request has to have it.
        seconds: the most seconds that one request may search.
    """
    api, access = LogApi(store, seconds), _Access(port, token)
    app = web.Application(middlewares=[access.check, _plain_errors])
    app.on_response_prepare.append(_secure)
    app.on_shutdown.append(api.close)
    for path in _FILES:
        app.router.add_get(path, _file)
    app.router.add_get("/api/boards", api.boards)
    app.router.add_get("/api/records", api.records)
    app.router.add_get("/api/tail", api.tail, allow_head=False)
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
    name, kind = _FILES[request.path]
    text = (paths.checkout() / "templates" / "logs" / name).read_text(encoding="utf-8")
    return web.Response(text=text, content_type=kind, charset="utf-8")


class _Access:
    """Checks whether a request may be answered."""

    def __init__(self, port: int, token: str) -> None:
        names = ("127.0.0.1", "localhost", "[::1]")
        self._hosts = {f"{name}:{port}" for name in names} | ({*names} if port == 80 else set())
        self._address = f"127.0.0.1:{port}"
        self._token = token
        # All ports of a host share their cookies, so the name contains the port.
        self._cookie = f"bootwright-logs-{port}"
        self._session = secrets.token_urlsafe(24)

    @web.middleware
    async def check(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Answer a request that is for this host and has the token or the session's cookie."""
        # Another site may make its own name resolve to this address (DNS rebinding); then the Host
        # header has that name.
        if request.headers.get("Host", "").lower() not in self._hosts:
            text = f"Open this page as http://{self._address}; no other address is allowed.\n"
            return web.Response(status=403, text=text)
        if _same(request.query.get("token", ""), self._token):
            return self._begin_session(request) if request.path == "/" else await handler(request)
        if _same(request.cookies.get(self._cookie, ""), self._session):
            return await handler(request)
        return web.Response(status=403, text=_NO_TOKEN)

    def _begin_session(self, request: web.Request) -> web.StreamResponse:
        """Set the cookie, and redirect to the URL without the token."""
        rest = urlencode([(key, value) for key, value in request.query.items() if key != "token"])
        response = web.Response(status=303, headers={"Location": f"/?{rest}" if rest else "/"})
        response.set_cookie(self._cookie, self._session, httponly=True, samesite="Strict", path="/")
        return response


def _same(given: str, secret: str) -> bool:
    return secrets.compare_digest(given.encode("utf-8", "replace"), secret.encode())
