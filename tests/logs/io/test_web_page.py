"""The server of the web page of logs: access control and answers."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from bootwright.core.errors import FailedError, InputError
from bootwright.logs.io import web_api
from bootwright.logs.io.quotas import note_refusal
from bootwright.logs.io.store import LogCursor, LogStore
from tests.support.logpages import (
    WEB,
    Served,
    add,
    add_lines,
    ago,
    iso,
    of_web,
    pieces,
    record,
    serving,
    serving_app,
)

pytestmark = pytest.mark.integration


@pytest.fixture
def store(tmp_path: Path) -> LogStore:
    return LogStore(tmp_path / "logs")


@pytest.fixture
def served(store: LogStore) -> Iterator[Served]:
    with serving(store) as running:
        yield running


# Who may come in


def test_the_secret_in_the_path_opens_the_page_and_no_cookie_is_set(served: Served) -> None:
    assert len(served.path) >= 32
    page = served.ask("/", board="odroid")
    assert page.status == 200
    assert "set-cookie" not in page.headers
    assert served.ask("/api/boards").json == {"boards": []}
    assert served.raw(f"{served.path}x/").status == 403
    assert served.raw(f"{served.path[:-1]}/").status == 403


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/page.js",
        "/api/boards",
        "/api/records",
        "/api/tail",
        "/nothing",
        "/%C3%A9/",
        "//",
        "/x/",
    ],
)
def test_a_request_without_the_secret_is_refused_with_a_hint(served: Served, target: str) -> None:
    answer = served.raw(target)
    assert answer.status == 403
    assert "`inv logs web` printed" in answer.text


def test_two_starts_have_two_secrets(store: LogStore) -> None:
    with serving(store) as one, serving(store) as other:
        assert one.path != other.path
        assert other.raw(f"{one.path}/").status == 403


def test_requests_for_another_host_are_refused(served: Served) -> None:
    port = served.port
    for host in (
        *(f"evil.example:{port}", "evil.example", "127.0.0.1", f"127.0.0.1:{port + 1}"),
        *(f"127.0.0.1.evil.example:{port}", f"evil.example@127.0.0.1:{port}", f"[::2]:{port}"),
        "",
    ):
        answer = served.ask("/api/boards", {"Host": host})
        assert answer.status in (400, 403), host
        assert "boards" not in answer.text
        assert served.ask("/", {"Host": host}).status in (400, 403)
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}", f"[::1]:{port}"):
        assert served.ask("/api/boards", {"Host": host}).status == 200


def test_every_answer_has_the_headers_that_keep_a_page_safe(store: LogStore) -> None:
    add(store, record("x"))
    with serving(store) as served:
        answers = [served.ask(path) for path in ("/", "/page.css", "/page.js", "/api/boards")]
        answers += [served.raw("/"), served.ask("/nothing"), served.ask("/api/records", limit="x")]
        with served.tail() as tail:
            headers = [answer.headers for answer in answers] + [tail.headers]
    assert [answer.status for answer in answers] == [200, 200, 200, 200, 403, 404, 400]
    for one in headers:
        policy = dict(part.split(" ", 1) for part in one["content-security-policy"].split("; "))
        assert policy == {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "connect-src": "'self'",
            "img-src": "'self' data:",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
        }
        assert one["x-content-type-options"] == "nosniff"
        assert one["referrer-policy"] == "no-referrer"
        assert one["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in one


def test_only_this_machine_can_connect(served: Served) -> None:
    # All of 127/8 is this machine: a server that listens on all addresses would answer here too.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", served.port), timeout=5)


def test_a_port_that_cannot_be_opened_is_an_error(store: LogStore, served: Served) -> None:
    taken = f"port {served.port} of 127.0.0.1: .*or 0"
    with pytest.raises(FailedError, match=taken), serving(store, served.port):
        pass
    with pytest.raises(InputError, match="0 to 65535"), serving(store, 70000):
        pass


# Records


def test_record_has_all_that_is_known_of_it(store: LogStore, served: Served) -> None:
    gap = replace(record("gap", 5, severity=4), time=None, lost=12)
    full = replace(of_web('<b>&"', 1), sequence=7)
    add(store, gap, full)
    first, second = served.records()["records"]
    assert first == {
        "time": iso(full.time),
        "severity": "info",
        "facility": 3,
        "board": "odroid",
        "app": "web",
        "process": WEB.id,
        "container": {"name": "web", "image": "nginx:1.27", "id": WEB.id},
        "sequence": 7,
        "lost": 0,
        "text": '<b>&"',
    }
    assert (second["time"], second["lost"], second["container"]) == (None, 12, None)


def test_filters(store: LogStore, served: Served) -> None:
    add(
        store,
        *(record("two hours ago", 7200), record("Fan (a+)+$ stalled", 60, severity=3)),
        *(of_web("GET /", 50), record("elsewhere", 40, board="lab"), record("FAN on", 30)),
    )
    assert served.texts() == ["FAN on", "elsewhere", "GET /", "Fan (a+)+$ stalled", "two hours ago"]
    assert served.texts(board="lab") == ["elsewhere"]
    assert served.texts(board="lab", q="fan") == []
    assert served.texts(container="web") == ["GET /"]
    assert served.texts(container=WEB.id[:8]) == ["GET /"]
    assert served.texts(severity="warning") == ["Fan (a+)+$ stalled"]
    assert served.texts(q="fan") == ["FAN on", "Fan (a+)+$ stalled"]
    # It is no regular expression.
    assert served.texts(q="(A+)+$") == ["Fan (a+)+$ stalled"]
    assert served.texts(q=".") == []
    assert served.texts(since="1h") == ["FAN on", "elsewhere", "GET /", "Fan (a+)+$ stalled"]
    minute = iso(ago(45))
    assert served.texts(since=minute) == ["FAN on", "elsewhere"]
    assert served.texts(until=minute, since="1h") == ["GET /", "Fan (a+)+$ stalled"]
    assert served.texts(board="unknown") == []


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"severity": "loud"}, "severity: 'loud' is none of emerg, "),
        ({"since": "yesterday"}, "since 'yesterday': write it like"),
        ({"until": "9999999999999d"}, "until '9999999999999d': write it like"),
        ({"since": "1h", "until": "2h"}, "since '1h' is later than until '2h'"),
        ({"limit": "0"}, "limit '0': write a whole number from 1 to 500"),
        ({"limit": "501"}, "limit '501': write a whole number from 1 to 500"),
        ({"limit": "-1"}, "limit '-1'"),
        ({"limit": "٣"}, "limit '٣'"),
        ({"before": "!"}, "load the page again"),
        ({"board": "../etc"}, "'../etc' is not a board's name"),
    ],
)
def test_wrong_queries_are_refused(served: Served, query: dict[str, str], sentence: str) -> None:
    answer = served.ask("/api/records", **query)
    assert answer.status == 400
    assert sentence in answer.text
    if "limit" not in query and "before" not in query:
        assert served.ask("/api/tail", **query).status == 400


def test_a_stream_after_a_wrong_cursor_is_refused(served: Served) -> None:
    assert served.ask("/api/tail", after="!").status == 400
    assert served.ask("/api/tail", {"Last-Event-ID": "!"}).status == 400


def test_paging_and_tail_meet_exactly_while_records_arrive(store: LogStore, served: Served) -> None:
    boards = ("a", "b", "c")
    for number in range(25):
        add(store, record(f"old {number}", 1000 - number, boards[number % 3]))
    newest = served.records(limit=1)["newest"]
    found: list[str] = []
    for count, piece in enumerate(pieces(served, limit=4)):
        found += piece
        # Also such as pretend to be old.
        add(store, record(f"new {count}", 2000 - count, boards[count % 3]))
    assert found == [f"old {number}" for number in reversed(range(25))]
    with served.tail(after=newest) as tail:
        assert tail.texts(count + 1) == [f"new {number}" for number in range(count + 1)]


def test_cursor_of_all_boards_serves_for_one(store: LogStore, served: Served) -> None:
    add(store, *(record(f"{board}{n}", 9 - n, board) for n in range(3) for board in "ab"))
    before = served.records(limit=2)["before"]
    assert served.texts(before=before, board="a") == ["a1", "a0"]


def test_many_boards_have_a_cursor_too(store: LogStore, served: Served) -> None:
    add(store, *(record("x", n, f"board-with-a-long-name-{n:03}") for n in range(200)))
    answer = served.records(limit=150)
    assert len(answer["before"]) > 8190
    assert len(served.texts(before=answer["before"], limit=150)) == 50
    headers = {"Last-Event-ID": answer["newest"]}
    with served.tail(headers) as tail:
        add(store, record("new"))
        assert tail.texts(1) == ["new"]


def test_a_search_ends_in_time_and_can_be_continued(store: LogStore) -> None:
    add(store, record("needle", 9))
    lines = ["<14>1 2026-01-01T00:00:00Z odroid app - - - hay"] * 1500
    add_lines(store, lines)
    with serving_app(store, seconds=0) as served:
        found = [*pieces(served, q="needle")]
    assert found == [[], [], [], [], [], ["needle"]]


class _Slow(LogStore):
    """A store in which reading waits until the test continues it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.entered = threading.Event()
        self.released = threading.Event()

    def backwards(
        self, board: str, place: LogCursor | None = None, first: date | None = None
    ) -> Iterator[tuple[LogCursor, str]]:
        self.entered.set()
        assert self.released.wait(20)
        return super().backwards(board, place, first)


def test_a_slow_search_does_not_delay_other_requests(store: LogStore) -> None:
    slow = _Slow(store.folder)
    add(store, record("x"))
    found: list[list[str]] = []
    with serving(slow) as served:
        searches = [
            threading.Thread(target=lambda: found.append(served.texts(q="x"))) for _ in range(8)
        ]
        for search in searches:
            search.start()
        try:
            assert slow.entered.wait(20)
            assert served.ask("/page.js").status == 200
            with served.tail() as tail:
                add(store, record("live"))
                assert tail.texts(1) == ["live"]
        finally:
            slow.released.set()
            for search in searches:
                search.join()
    assert len(found) == 8


def test_unreadable_logs_are_reported(store: LogStore, served: Served) -> None:
    add(store, record("x"))
    (store.folder / "odroid" / "2026-01-01.log.gz").write_bytes(b"no gzip")
    answer = served.ask("/api/records")
    assert answer.status == 500
    assert "2026-01-01.log.gz is damaged" in answer.text
    assert served.texts(limit=1) == ["x"]


# Boards


def test_boards_have_the_time_of_the_last_record_and_its_sources(
    store: LogStore, served: Served
) -> None:
    last = record("y", 30)
    add(store, of_web("x", 60), last, record("z", board="lab"))

    def boards() -> list[dict[str, object]]:
        found = served.ask("/api/boards").json["boards"]
        assert isinstance(found, list)
        return found

    odroid, lab = (next(b for b in boards() if b["name"] == name) for name in ("odroid", "lab"))
    assert odroid == {
        "name": "odroid",
        "last": iso(last.time),
        "containers": ["web"],
        "programs": ["app"],
        "trouble": None,
    }
    assert lab["containers"] == []
    add(store, of_web("new", board="lab"))
    assert next(b for b in boards() if b["name"] == "lab")["containers"] == ["web"]


def test_trouble_of_a_board_is_shown(store: LogStore, served: Served) -> None:
    add(store, record("x"))
    note_refusal(store, "odroid", "the disk is full")
    (board,) = served.ask("/api/boards").json["boards"]
    assert board["trouble"].endswith("Z: the disk is full")


# The stream


def test_a_stream_has_the_new_matching_records(store: LogStore, served: Served) -> None:
    add(store, record("before"))
    with served.tail(severity="warning", q="FAN") as tail:
        assert tail.headers["content-type"].startswith("text/event-stream")
        add(store, record("fan", severity=6), record("pump", severity=3))
        add(store, record("fan 1", severity=4), record("fan 2", board="new", severity=0))
        assert sorted(tail.texts(2)) == ["fan 1", "fan 2"]
    with served.tail(board="lab") as tail:
        add(store, record("odroid's"), record("lab's", board="lab"))
        assert tail.texts(1) == ["lab's"]


def test_a_stream_continues_after_the_last_event(store: LogStore, served: Served) -> None:
    add(store, record("0"))
    with served.tail(after=served.records()["newest"]) as tail:
        add(store, record("1"))
        assert tail.texts(1) == ["1"]
        last = tail.id
    add(store, record("2"), record("3", board="lab"))
    # The browser repeats the URL; its Last-Event-ID is newer.
    old = served.records()["newest"]
    add(store, record("4"))
    with served.tail({"Last-Event-ID": last}, after=old) as tail:
        assert sorted(tail.texts(3)) == ["2", "3", "4"]


def test_stream_that_has_missed_too_much_says_so(
    store: LogStore, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(store, record("x"))
    newest = served.records()["newest"]
    monkeypatch.setattr(web_api, "_MAX_BACKLOG_BYTES", 100)
    add(store, record("y" * 200))
    with served.tail(after=newest) as tail:
        assert tail.event() == ("behind", "")
        assert tail.event() is None


def test_a_stream_without_records_keeps_the_connection_and_the_cursor(
    store: LogStore, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_api, "_KEEP_ALIVE_S", 0)
    with served.tail(q="never") as tail:
        lines = [next(tail._lines) for _ in range(6)]
    assert lines[:2] == ["retry: 1000", f"id: {served.records()['newest']}"]
    assert lines[3:5] == [": still here", lines[1]]


def test_stream_ends_when_the_server_does(store: LogStore) -> None:
    with serving(store) as served:
        opened = served.tail()
        tail = opened.__enter__()
        add(store, record("x"))
        assert tail.texts(1) == ["x"]
    assert tail.rest() == b""
