"""What the collector's syslog-ng passes on to Loki and to OpenSearch."""

import json
import signal
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from bootwright.core.secret import Secret
from bootwright.logs.record import LogContainer, LogRecord, format_record
from bootwright.logs.syslog_ng import (
    PASSWORD_FILE,
    Forward,
    SyslogServer,
    password_include,
)
from bootwright.pki.certificates import ServerNames, make_authority, sign
from tests.support.collecting import (
    NOW,
    Daemon,
    folder,
    running,
    until,
    write_key_pair,
)
from tests.support.opensearch import guide_template

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(120),
]


class Sink(ThreadingHTTPServer):
    """What Loki and OpenSearch have in common here: requests, and answers that a test chooses."""

    daemon_threads = True
    path = ""
    media_type = ""
    credentials = ""

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Taker)
        self.lock = threading.Lock()
        self.refusals: list[int] = []
        """Statuses for the next requests, which are not taken."""
        self.unanswered = 0
        """How many of the next requests are taken, but never answered."""
        self.answered: list[int] = []
        self.wrong: list[str] = []
        self.taken: list[tuple[str, str]] = []
        """Board and text, in order of arrival; also what came again."""

    def texts(self, board: str) -> list[str]:
        """Return what is kept of a board, each once."""
        raise NotImplementedError

    def take(self, body: bytes) -> int:
        """Take a request; return the status."""
        raise NotImplementedError

    def check(self, condition: object, what: str) -> None:
        if not condition:
            self.wrong.append(what)


class _Taker(BaseHTTPRequestHandler):
    server: Sink
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        sink = self.server
        with sink.lock:
            sink.check(self.path == sink.path, f"path {self.path}")
            sink.check(self.headers["Content-Type"] == sink.media_type, "media type")
            sink.check(self.headers.get("Authorization", "") == sink.credentials, "credentials")
            sink.check(len(body) < 1 << 20, f"{len(body)} bytes")
            if sink.refusals:
                self._answer(sink.refusals.pop(0))
                return
            try:
                status = sink.take(body)
            except (ValueError, KeyError, TypeError) as error:
                sink.wrong.append(f"{error!r}: {body[:500]!r}")
                status = 400
            if sink.unanswered:
                sink.unanswered -= 1
                self.close_connection = True
                return
        self._answer(status)

    def _answer(self, status: int) -> None:
        self.server.answered.append(status)
        self.send_response(status)
        self.send_header("Content-Length", "0")
        if status == 302:
            self.send_header("Location", self.path)
        self.end_headers()

    def do_GET(self) -> None:
        self.server.wrong.append("GET")

    def log_message(self, format: str, *args: object) -> None:
        pass


class Loki(Sink):
    """As strict as Loki is about the form, and about times."""

    path = "/loki/api/v1/push"
    media_type = "application/json"
    refused = ""
    """A text that it never takes."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self.kept: dict[tuple[str, str, str], dict[str, str]] = {}

    def take(self, body: bytes) -> int:
        document = json.loads(body)
        self.check(list(document) == ["streams"], "only streams")
        status = 204
        for stream in document["streams"]:
            self.check(set(stream) == {"stream", "values"}, "a stream")
            labels = stream["stream"]
            self.check(set(labels) == {"board", "app", "severity", "day"}, f"labels {labels}")
            self.check(all(0 < len(value) < 256 for value in labels.values()), f"{labels}")
            for moment, text in stream["values"]:
                self.taken.append((labels["board"], text))
                self.check(isinstance(moment, str) and len(moment) == 19, f"time {moment}")
                away = time.time() - int(moment) / 1e9
                if not -600 < away < 7 * 86400 or (self.refused and self.refused in text):
                    status = 400
                else:
                    self.kept[json.dumps(labels, sort_keys=True), moment, text] = labels
        return status

    def texts(self, board: str) -> list[str]:
        with self.lock:
            return [key[2] for key, labels in self.kept.items() if labels["board"] == board]


FIELDS = set(guide_template()["template"]["mappings"]["properties"])


class OpenSearch(Sink):
    """As strict as OpenSearch is about the form of a bulk request."""

    path = "/logs/_bulk"
    media_type = "application/x-ndjson"
    credentials = "Basic " + b64encode(b'forwarder:a "pass\\word$`x`').decode()

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self.kept: dict[tuple[str, str], dict[str, Any]] = {}

    def take(self, body: bytes) -> int:
        self.check(body.endswith(b"\n"), "the last line ends")
        lines = body.decode().split("\n")[:-1]
        self.check(len(lines) % 2 == 0, "pairs of lines")
        for action, text in zip(lines[::2], lines[1::2], strict=True):
            place = json.loads(action)
            self.check(set(place) == {"create"}, f"action {action}")
            self.check(set(place["create"]) == {"_index", "_id"}, f"action {action}")
            days = NOW, datetime.now(UTC)
            indices = [f"bootwright-{day:%Y.%m.%d}" for day in days]
            self.check(place["create"]["_index"] in indices, f"index {action}")
            document = json.loads(text)
            self.check(set(document) <= FIELDS, f"fields {set(document)}")
            self.check({"@timestamp", "board", "app", "severity"} <= set(document), text)
            # OpenSearch knows no difference between an empty text and none.
            document.setdefault("message", "")
            self.taken.append((document["board"], document["message"]))
            # What is there already is a conflict for that item alone: 409.
            key = place["create"]["_index"], place["create"]["_id"]
            self.kept.setdefault(key, document)
        return 200

    def texts(self, board: str) -> list[str]:
        with self.lock:
            kept = [found for found in self.kept.values() if found["board"] == board]
        return [found["message"] for found in kept]


@contextmanager
def serving(sink: Sink, context: ssl.SSLContext | None = None) -> Iterator[None]:
    if context is not None:
        sink.socket = context.wrap_socket(sink.socket, server_side=True)
    thread = threading.Thread(target=sink.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        sink.shutdown()
        thread.join()
        sink.server_close()
        assert sink.wrong == []


def numbered(name: str, count: int) -> list[str]:
    return [f"{name} {number}" for number in range(count)]


@dataclass
class Forwarding:
    """A collector that passes on to a sink."""

    daemon: Daemon
    sink: Sink

    def write(self, board: str, texts: list[str]) -> None:
        """Write records as the intake does."""
        now = datetime.now(UTC)
        records = [
            LogRecord(30, now, board, "web", "12", text, sequence=number)
            for number, text in enumerate(texts, 1)
        ]
        self.write_lines(board, [format_record(record) for record in records])

    def write_lines(self, board: str, lines: list[str]) -> None:
        self.daemon.store.append(board, lines, datetime.now(UTC).date())

    def arrived(self, board: str, texts: list[str]) -> None:
        """Wait until all of a board's texts are there, each once."""
        until(lambda: len(self.sink.texts(board)) >= len(texts), f"{len(texts)} of {board}")
        assert sorted(self.sink.texts(board)) == sorted(texts)

    def answers(self, status: int, times: int) -> None:
        until(lambda: self.sink.answered.count(status) >= times, f"{times} times {status}")


@pytest.fixture(params=["loki", "opensearch"])
def forwarding(request: pytest.FixtureRequest) -> Iterator[Forwarding]:
    """Both sinks: Loki; OpenSearch with TLS and a password."""
    with ExitStack() as stack:
        place = stack.enter_context(folder())
        sink: Sink
        if request.param == "loki":
            sink = Loki()
            stack.enter_context(serving(sink))
            url = f"http://127.0.0.1:{sink.server_address[1]}/"
            forward = Forward("loki", url)
        else:
            sink = OpenSearch()
            authority = make_authority("docker", NOW)
            pair = sign(authority, "server", "search", ServerNames((), ("127.0.0.1",)), NOW)
            ca_file = place / "pki" / "search-ca.pem"
            ca_file.write_bytes(authority.certificate_pem())
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*write_key_pair(place / "pki", "search", pair))
            stack.enter_context(serving(sink, context))
            url = f"https://127.0.0.1:{sink.server_address[1]}/logs"
            forward = Forward("opensearch", url, "forwarder", ca_file)
            password = password_include(Secret(b'a "pass\\word$`x`'))
            (place / "run" / PASSWORD_FILE).write_bytes(password.reveal())
        collector = SyslogServer(place / "logs", place / "run", forward=forward, retry_s=1)
        yield Forwarding(stack.enter_context(running(Daemon(place, collector))), sink)


def test_every_line_arrives_despite_errors_of_the_server(forwarding: Forwarding) -> None:
    daemon, sink = forwarding.daemon, forwarding.sink
    first, second = numbered("first", 300), numbered("second", 300)
    forwarding.write("odroid", first)
    forwarding.arrived("odroid", first)

    # It is overloaded, has moved away, then loses an acknowledgement.
    sink.refusals += [504, 504, 504, 302]
    sink.unanswered = 1
    forwarding.write("other", second)
    forwarding.arrived("other", second)
    assert sink.refusals == []
    assert len(sink.taken) > 600, "nothing came twice, so nothing was lost on the way"

    # The server accepts nothing; syslog-ng is asked to end, then killed.
    third, fourth = numbered("third", 300), numbered("fourth", 300)
    sink.refusals += [503] * 1000
    forwarding.write("odroid", third)
    forwarding.answers(503, 1)
    daemon.end()
    forwarding.write("other", fourth)
    daemon.start()
    forwarding.answers(503, sink.answered.count(503) + 1)
    daemon.end(signal.SIGKILL)
    with sink.lock:
        sink.refusals.clear()
    daemon.start()
    forwarding.arrived("odroid", first + third)
    forwarding.arrived("other", second + fourth)

    # The server accepts everything, but its answers are lost.
    fifth = numbered("fifth", 300)
    with sink.lock:
        sink.unanswered = 1000
    forwarding.write("odroid", fifth)
    until(lambda: any("fifth" in text for _, text in sink.taken), "a batch is taken")
    daemon.end(signal.SIGKILL)
    with sink.lock:
        sink.unanswered = 0
    daemon.start()
    forwarding.arrived("odroid", first + third + fifth)
    forwarding.write("last", ["one"])
    forwarding.arrived("last", ["one"])
    forwarding.arrived("odroid", first + third + fifth)


def test_records_that_are_not_accepted_wait(forwarding: Forwarding) -> None:
    texts = numbered("text", 10_000)
    forwarding.sink.refusals += [503] * 1000
    forwarding.write("odroid", texts)
    forwarding.answers(503, 1)
    forwarding.sink.refusals.clear()
    forwarding.arrived("odroid", texts)
    assert len(forwarding.sink.taken) == len(texts)
    assert "dropp" not in forwarding.daemon.stderr_text


def test_forwarded_records_are_not_forwarded_again(forwarding: Forwarding) -> None:
    texts = numbered("text", 500)
    forwarding.write("odroid", texts)
    forwarding.arrived("odroid", texts)
    forwarding.daemon.end()
    before = len(forwarding.sink.taken)
    forwarding.write("odroid", ["the last"])
    forwarding.daemon.start()
    forwarding.arrived("odroid", [*texts, "the last"])
    assert forwarding.sink.taken[before:] == [("odroid", "the last")]


def test_files_that_are_compressed_in_the_meantime_are_forwarded(forwarding: Forwarding) -> None:
    texts = numbered("text", 500)
    forwarding.sink.refusals += [503] * 1000
    forwarding.write("odroid", texts)
    forwarding.answers(503, 1)
    store = forwarding.daemon.store
    store.tidy(90, 0)
    assert [path.suffix for path in (store.folder / "odroid").iterdir()] == [".gz"]
    forwarding.sink.refusals.clear()
    forwarding.arrived("odroid", texts)
    # Compressed files are not forwarded.
    forwarding.daemon.end()
    before = len(forwarding.sink.taken)
    forwarding.daemon.start()
    forwarding.write("other", ["new"])
    forwarding.arrived("other", ["new"])
    assert forwarding.sink.taken[before:] == [("other", "new")]


def test_a_fleet_has_more_files_than_syslog_ng_usually_follows(forwarding: Forwarding) -> None:
    boards = [f"board{number}" for number in range(150)]
    for board in boards:
        forwarding.write(board, ["one", "two"])
    for board in boards:
        forwarding.arrived(board, ["one", "two"])


HOSTILE = [
    *('"quoted" and \\ and {"a": [1]}', "a\tb", "äöü €😀", "", " x ", "]}", "%s", "$MSG ${HOST}"),
    *("$(echo x)", '[a b="c"] text', "#033[2J", "2026-11-26"),
    # More than a request may be long.
    *(f"{number} " + "x" * 60_000 for number in range(20)),
]


def test_texts_are_forwarded_unchanged(forwarding: Forwarding) -> None:
    forwarding.write("odroid", HOSTILE)
    forwarding.arrived("odroid", HOSTILE)


def test_lines_that_are_not_records_are_forwarded_as_text(forwarding: Forwarding) -> None:
    lines = ["half a rec", "<30>1 when odroid app - - - text", "<30>1 - odroid app - - - no time"]
    forwarding.write_lines("odroid", lines)
    forwarding.arrived("odroid", [*lines[:2], "no time"])


def loki(forwarding: Forwarding) -> Loki:
    assert isinstance(forwarding.sink, Loki)
    return forwarding.sink


only_loki = pytest.mark.parametrize("forwarding", ["loki"], indirect=True)


@only_loki
def test_equal_records_are_all_stored_in_loki(forwarding: Forwarding) -> None:
    sink = loki(forwarding)
    forwarding.write("odroid", ["the same"] * 30)
    forwarding.arrived("odroid", ["the same"] * 30)
    labels, moment, _ = min(sink.kept)
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    assert json.loads(labels) in [
        {"board": "odroid", "app": "web", "severity": "info", "day": day}
        for day in (day, f"{NOW:%Y-%m-%d}")
    ]
    assert moment.endswith("001")


@only_loki
def test_loki_gets_no_time_that_it_refuses(forwarding: Forwarding) -> None:
    sink = loki(forwarding)
    now = datetime.now(UTC)
    times = [
        now - timedelta(hours=20),
        datetime(1970, 1, 1, 0, 0, 12, tzinfo=UTC),
        now - timedelta(days=8),
        now + timedelta(hours=1),
        datetime(2106, 2, 7, 6, 28, 16, tzinfo=UTC),
        now,
    ]
    records = [LogRecord(30, moment, "odroid", "web", "", "text") for moment in times]
    forwarding.write_lines("odroid", [format_record(record) for record in records])
    changed = [f"{moment:%Y-%m-%dT%H:%M:%S.%f+00:00} text" for moment in times[1:5]]
    forwarding.arrived("odroid", ["text", "text", *changed])
    kept = {int(moment) // 1000 for _, moment, text in sink.kept if text == "text"}
    assert kept == {int(moment.timestamp()) * 10**6 + moment.microsecond for moment in times[::5]}
    assert 400 not in sink.answered


@only_loki
def test_a_record_that_loki_refuses_does_not_block_others(forwarding: Forwarding) -> None:
    sink = loki(forwarding)
    sink.refused = "poison"
    forwarding.write("odroid", ["before", "poison", "after"])
    forwarding.arrived("odroid", ["before", "after"])
    forwarding.write("other", ["later"])
    forwarding.arrived("other", ["later"])
    assert sink.answered.count(400) == 1


@pytest.mark.parametrize("forwarding", ["opensearch"], indirect=True)
def test_opensearch_gets_all_fields(forwarding: Forwarding) -> None:
    sink = forwarding.sink
    assert isinstance(sink, OpenSearch)
    container = LogContainer("a" * 60, "registry:5000/app:1", "0123456789ab")
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    record = LogRecord(27, moment, "odroid", "a" * 60, "77", "text", container, 41)
    plain = '<13>1 - odroid - - - [arrival@32473 number="1" host="claimed"] plain'
    forwarding.write_lines("odroid", [format_record(record), plain])
    forwarding.arrived("odroid", ["text", "plain"])
    first, second = sorted(sink.kept.values(), key=lambda found: str(found["severity"]))
    assert first == {
        "@timestamp": "2026-01-02T03:04:05.678901+00:00",
        "board": "odroid",
        "app": "a" * 60,
        "process": "77",
        "severity": "err",
        "facility": "daemon",
        "message": "text",
        "sequence": "41",
        "container": {"name": "a" * 60, "image": "registry:5000/app:1", "id": "0123456789ab"},
    }
    assert abs(datetime.fromisoformat(second.pop("@timestamp")) - datetime.now(UTC)) < timedelta(
        0, 60
    )
    assert second == {
        **{"board": "odroid", "app": "-", "severity": "notice", "facility": "user"},
        **{"message": "plain", "sender": "claimed"},
    }
