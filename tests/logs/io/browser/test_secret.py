"""A server on another port of this machine learns nothing that opens the page of the logs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import expect

from bootwright.logs.io.store import LogStore
from tests.support.logbrowser import Open
from tests.support.logpages import Served, add, record

pytestmark = pytest.mark.integration


@dataclass
class Other:
    """A server of another user: what browsers sent to it."""

    url: str
    requests: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def other_server() -> Iterator[Other]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            other.requests.append({key.lower(): value for key, value in self.headers.items()})
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Set-Cookie", "from=other; Path=/")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>other</title>")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    other = Other(f"http://127.0.0.1:{server.server_address[1]}/")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield other
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_another_port_gets_neither_a_cookie_nor_the_secret(
    store: LogStore, served: Served, visit: Open
) -> None:
    add(store, record("text"))
    with other_server() as other, other_server() as control:
        page = visit(served)
        expect(page.locator("#rows .text")).to_have_text(["text"])
        assert page.context.cookies() == []
        # As a link or a redirect would do it.
        page.evaluate("url => { location.href = url }", other.url)
        page.wait_for_url(other.url)
        assert served.path not in str(other.requests)
        assert "cookie" not in other.requests[0]
        assert "referer" not in other.requests[0]
        # Whoever does not know the path gets nothing, also with all that this browser has.
        base = f"http://127.0.0.1:{served.port}"
        for options in ("{credentials: 'include'}", "{credentials: 'include', mode: 'no-cors'}"):
            answer = page.evaluate(
                f"url => fetch(url, {options}).then(one => one.text(), () => '')",
                f"{base}/api/boards",
            )
            assert answer == ""
        page.goto(f"{base}/api/boards")
        assert "needs the secret in the URL" in page.locator("body").inner_text()
        # That the test would see a cookie: browsers ignore the port of a cookie.
        page.goto(control.url)
        assert control.requests[0]["cookie"] == "from=other"
