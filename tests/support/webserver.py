"""A small HTTP server on the loopback interface whose faults a test chooses."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Resource:
    """What one path serves, and how it misbehaves."""

    body: bytes
    etag: str | None = None
    last_modified: str | None = None
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    """For each coming request: bytes of its body after which the connection is cut."""
    stall_after: int | None = None
    """Bytes of the body after which nothing comes until the server is told to stop."""
    promised: int | str | None = None
    """A wrong Content-Length."""
    status: int | None = None
    """An error to answer with."""
    whole_status: int = 200
    """The status of an answer with the whole body."""
    location: str | None = None
    """Where to redirect to."""
    chunked: bool = False
    """Do not announce the body's length."""
    trailers: bytes = b""
    """Lines after a chunked body."""
    content_range: str | None = None
    """A wrong Content-Range; empty: none."""
    ignores_if_range: bool = False
    """Send a part even of another version than the one in If-Range."""
    silent: bool = False
    """Never answer."""


@dataclass(frozen=True)
class Seen:
    """One request, and how many bytes of a body the server was about to send for it."""

    method: str
    path: str
    range: str | None
    if_range: str | None
    status: int
    length: int


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.site: dict[str, Resource] = {}
        self.seen: list[Seen] = []
        self.released = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def requests(self, path: str, method: str = "GET") -> list[Seen]:
        return [one for one in self.seen if one.path == path and one.method == method]


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self, body: bool) -> None:
        path = urlsplit(self.path).path
        resource = self.server.site.get(path)
        if resource is None or resource.status:
            self._start(path, resource.status or 404 if resource else 404, 0, {})
            return
        if resource.silent:
            self.server.released.wait()
            return
        if resource.location:
            self._start(path, 302, 0, {"Location": resource.location})
            return
        if resource.etag and self.headers.get("If-None-Match") == resource.etag:
            self._start(path, 304, 0, {})
            return
        headers = {"ETag": resource.etag, "Last-Modified": resource.last_modified}
        start, size = self._first(resource), len(resource.body)
        if start is not None and start >= size:
            self._start(path, 416, 0, {"Content-Range": f"bytes */{size}"})
            return
        part = resource.body[start or 0 :]
        length = len(part) if resource.promised is None else resource.promised
        if resource.chunked:
            headers["Transfer-Encoding"] = "chunked"
        else:
            headers["Content-Length"] = str(length)
        if start is not None:
            usual = f"bytes {start}-{size - 1}/{size}"
            wrong = resource.content_range
            headers["Content-Range"] = usual if wrong is None else wrong or None
        status = resource.whole_status if start is None else 206
        self._start(path, status, len(part), headers)
        if body:
            self._send(resource, part)

    def _first(self, resource: Resource) -> int | None:
        """Return the first byte wanted; None for the whole file."""
        wanted = self.headers.get("Range")
        condition = self.headers.get("If-Range")
        if not wanted or not resource.ranges:
            return None
        known = (None, resource.etag, resource.last_modified)
        if condition not in known and not resource.ignores_if_range:
            return None
        return int(wanted.removeprefix("bytes=").removesuffix("-"))

    def _send(self, resource: Resource, part: bytes) -> None:
        cut = resource.cuts.pop(0) if resource.cuts else None
        with suppress(ConnectionError):
            if resource.chunked:
                part = b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(part), part, resource.trailers)
            self.wfile.write(part[: cut if cut is not None else resource.stall_after])
            if resource.stall_after is not None and cut is None:
                self.server.released.wait()

    def _start(self, path: str, status: int, length: int, headers: dict[str, str | None]) -> None:
        seen = Seen(
            *(self.command, path, self.headers.get("Range"), self.headers.get("If-Range")),
            *(status, length),
        )
        self.server.seen.append(seen)
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
