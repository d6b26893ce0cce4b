"""The page of the logs on a real port, in a thread of its own."""

import asyncio
import json
import socket
import threading
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlencode, urlsplit

from aiohttp import web

from bootwright.logs.io.store import LogStore
from bootwright.logs.io.web_page import page_app, serve_page
from bootwright.logs.record import LogContainer, LogRecord, format_record

SECRET = "a-secret-that-a-test-knows"
TIMEOUT = 20
WEB = LogContainer("web", "nginx:1.27", "0123456789ab")


def add(store: LogStore, *records: LogRecord) -> None:
    """Store records as arriving now, one after the other."""
    for record in records:
        add_lines(store, [format_record(record)], record.board)


def add_lines(store: LogStore, lines: Sequence[str], board: str = "odroid") -> None:
    """Store lines as arriving now, at once."""
    store.append(board, lines, datetime.now(UTC).date())


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def iso(time: datetime | None) -> str:
    return time.isoformat().replace("+00:00", "Z") if time else ""


def record(
    text: str, seconds_ago: float = 0, board: str = "odroid", severity: int = 6
) -> LogRecord:
    return LogRecord(24 + severity, ago(seconds_ago), board, "app", "17", text)


def of_web(text: str, seconds_ago: float = 0, board: str = "odroid") -> LogRecord:
    return replace(record(text, seconds_ago, board), app="web", process=WEB.id, container=WEB)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Served:
    """A page that is being served."""

    url: str
    cut: Callable[[], None]
    """Break all connections."""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    @property
    def path(self) -> str:
        """The secret path, without the slash at its end."""
        return urlsplit(self.url).path.removesuffix("/")

    def ask(self, path: str, headers: dict[str, str] | None = None, /, **query: object) -> Answer:
        """Ask as somebody who knows the secret path; nothing is followed."""
        return self.raw(f"{self.path}{path}?{urlencode(query)}", headers)

    def raw(self, target: str, headers: dict[str, str] | None = None) -> Answer:
        """Ask for just that."""
        line = HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        try:
            line.putrequest("GET", target, skip_host="Host" in (headers or {}))
            for name, value in (headers or {}).items():
                if value:
                    line.putheader(name, value)
            line.endheaders()
            answer = line.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read().decode())
        finally:
            line.close()

    def records(self, **query: object) -> Any:
        answer = self.ask("/api/records", **query)
        assert answer.status == 200, answer.text
        return answer.json

    def texts(self, **query: object) -> list[str]:
        return [one["text"] for one in self.records(**query)["records"]]

    @contextmanager
    def tail(self, headers: dict[str, str] | None = None, /, **query: object) -> Iterator["Tail"]:
        url = f"{self.url}api/tail?{urlencode(query)}"
        request = urllib.request.Request(url, headers=headers or {})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=TIMEOUT) as answer:
            yield Tail(answer)


class Tail:
    """A stream of server-sent events."""

    def __init__(self, answer: HTTPResponse) -> None:
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        self.id = ""
        self._answer = answer
        self._lines = (line.decode().rstrip("\n") for line in answer)

    def event(self) -> tuple[str, Any] | None:
        """Return the next event; ``None`` if the stream has ended."""
        kind, data = "", ""
        for line in self._lines:
            if not line and data:
                return kind, json.loads(data)
            name, _, value = line.partition(": ")
            if name == "id":
                self.id = value
            elif name == "event":
                kind = value
            elif name == "data":
                data = value
        return None

    def rest(self) -> bytes:
        """Return what is left; fails if the stream was broken off rather than ended."""
        return self._answer.read()

    def texts(self, count: int) -> list[str]:
        found: list[str] = []
        while len(found) < count:
            event = self.event()
            assert event is not None and event[0] == "records", event
            found += [one["text"] for one in event[1]]
        return found


@contextmanager
def _running(
    serve: Callable[[Callable[[str], None], asyncio.Event], Awaitable[None]],
) -> Iterator[tuple[str, asyncio.AbstractEventLoop]]:
    ready = threading.Event()
    found: list[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = []
    wrong: list[BaseException] = []

    async def run() -> None:
        stop = asyncio.Event()

        def told(url: str) -> None:
            found.append((url, asyncio.get_running_loop(), stop))
            ready.set()

        try:
            await serve(told, stop)
        except BaseException as error:
            wrong.append(error)
            ready.set()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        assert ready.wait(TIMEOUT)
        if wrong:
            raise wrong[0]
        yield found[0][:2]
    finally:
        for _, loop, stop in found:
            loop.call_soon_threadsafe(stop.set)
        thread.join(TIMEOUT)
        assert not thread.is_alive()


@contextmanager
def serving(store: LogStore, port: int = 0) -> Iterator[Served]:
    """Serve a page as ``inv logs web`` does."""
    with _running(lambda ready, stop: serve_page(store, port, ready, stop)) as (url, _):
        yield Served(url, cut=lambda: None)


@contextmanager
def serving_app(store: LogStore, seconds: float = 5.0) -> Iterator[Served]:
    """Serve a page whose connections can be broken, and that searches for no longer than that."""
    runners: list[web.AppRunner] = []

    async def serve(ready: Callable[[str], None], stop: asyncio.Event) -> None:
        async with _site(store, seconds) as (port, runner):
            runners.append(runner)
            ready(f"http://127.0.0.1:{port}/{SECRET}/")
            await stop.wait()

    with _running(serve) as (url, loop):

        def cut() -> None:
            for connection in runners[0].server.connections if runners[0].server else []:
                if connection.transport is not None:
                    connection.transport.abort()

        yield Served(url, cut=lambda: _wait(loop, cut))


@asynccontextmanager
async def _site(store: LogStore, seconds: float) -> AsyncIterator[tuple[int, web.AppRunner]]:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    runner = web.AppRunner(page_app(store, port, SECRET, seconds=seconds), shutdown_timeout=2)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    try:
        yield port, runner
    finally:
        await runner.cleanup()


def _wait(loop: asyncio.AbstractEventLoop, act: Callable[[], None]) -> None:
    done = threading.Event()

    def run() -> None:
        act()
        done.set()

    loop.call_soon_threadsafe(run)
    assert done.wait(TIMEOUT)


def pieces(served: Served, **query: object) -> Iterator[Sequence[str]]:
    """Return the texts piece by piece, back to the first."""
    before = ""
    while True:
        answer = served.records(before=before, **query)
        yield [one["text"] for one in answer["records"]]
        if not answer["more"]:
            assert answer["before"] is None
            return
        before = answer["before"]
