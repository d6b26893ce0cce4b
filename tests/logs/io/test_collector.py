"""The collector's syslog-ng, as configured: who may write where, what is stored, what goes on."""

import json
import os
import random
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bootwright.core.io.process import environment
from bootwright.core.paths import checkout
from bootwright.core.secret import Secret
from bootwright.core.templates import Renderer
from bootwright.logs.io.store import LogStore
from bootwright.logs.record import LogContainer, LogRecord, format_record, parse_record, safe
from bootwright.logs.syslog_ng import (
    PASSWORD_FILE,
    Certificates,
    Forward,
    SyslogServer,
    collector_command,
    collector_config,
    opensearch_template,
    password_include,
)
from bootwright.pki.certificates import KeyPair, ServerNames, make_authority, sign

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(120),
]

NOW = datetime.now(UTC)
LIMIT_S = 20.0
GREETING = "greeting"
NOBODY = 65534 if os.geteuid() == 0 else None
"""Who syslog-ng runs as: it is to need no root."""


def until(happened: Callable[[], object], what: str) -> None:
    """Wait for something to happen."""
    deadline = time.monotonic() + LIMIT_S
    while not happened():
        assert time.monotonic() < deadline, f"did not happen: {what}"
        time.sleep(0.02)


given: set[int] = set()
"""Ports that were given out: what is free now may be free once more."""


def free_port() -> int:
    """Return a port that is free for TCP and UDP, and was not given out before."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            with suppress(OSError):
                udp.bind(("127.0.0.1", port))
                if port not in given:
                    given.add(port)
                    return port


@contextmanager
def folder() -> Iterator[Path]:
    """Make a folder that syslog-ng's user can use; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for inner in ("logs", "run", "pki"):
            (place / inner).mkdir()
        give(place, *place.iterdir())
        # So that it can read what a test writes as root, from the first moment.
        (place / "logs").chmod(0o2775)
        yield place


def give(*paths: Path) -> None:
    if NOBODY is not None:
        for path in paths:
            os.chown(path, NOBODY, NOBODY)


@dataclass
class Daemon:
    """syslog-ng with the rendered configuration."""

    place: Path
    collector: SyslogServer
    variables: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def stderr_text(self) -> str:
        return (self.place / "said").read_text(errors="replace")

    @property
    def store(self) -> LogStore:
        return LogStore(self.collector.folder)

    def start(self) -> None:
        config = self.place / "syslog-ng.conf"
        text = collector_config(self.collector, Renderer(checkout() / "templates"))
        config.write_text(text.replace("follow-freq(1)", "follow-freq(0.1)"))
        with (self.place / "said").open("wb") as said:
            self.process = subprocess.Popen(
                collector_command(self.collector, config),
                env=environment(self.variables),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                user=NOBODY,
                group=NOBODY,
                extra_groups=None if NOBODY is None else (),
            )
        until(lambda: "starting up" in self.stderr_text or self.ended, "syslog-ng runs")
        assert not self.ended, self.stderr_text

    @property
    def ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None and not self.ended:
            self.process.send_signal(number)
            self.process.wait(LIMIT_S)

    def lines(self, board: str) -> list[str]:
        """Return all lines of a board, in order, without greetings."""
        return [line for line in self._all_lines(board) if not line.endswith(GREETING)]

    def greetings(self) -> int:
        boards = [path.name for path in self.collector.folder.iterdir()]
        return sum(line.endswith(GREETING) for name in boards for line in self._all_lines(name))

    def _all_lines(self, board: str) -> list[str]:
        files = sorted((self.collector.folder / board).glob("*.log"))
        return [line for file in files for line in file.read_bytes().decode().split("\n")[:-1]]

    def records(self, board: str, count: int) -> list[LogRecord]:
        """Return a board's records, once there are so many."""
        until(lambda: len(self.lines(board)) >= count, f"{count} lines of {board}")
        found = [parse_record(line, board) for line in self.lines(board)]
        assert len(found) == count, found
        return found

    def boards(self) -> list[str]:
        """Return who has lines."""
        names = [path.name for path in self.collector.folder.iterdir()]
        return sorted(name for name in names if self.lines(name))


@contextmanager
def running(daemon: Daemon) -> Iterator[Daemon]:
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.end()
        daemon.end(signal.SIGKILL)


# Certificates.

AUTHORITY = make_authority("logs", NOW)
FOREIGN = make_authority("logs", NOW)


def server_pair() -> KeyPair:
    """Return what the collector proves itself with."""
    return sign(AUTHORITY, "server", "collector", ServerNames(("localhost",), ("127.0.0.1",)), NOW)


def board_pair(name: str, authority: KeyPair = AUTHORITY) -> KeyPair:
    return sign(authority, "log", name, ServerNames(), NOW)


def lay(place: Path, name: str, pair: KeyPair) -> tuple[Path, Path]:
    assert pair.key is not None
    certificate, key = place / f"{name}.pem", place / f"{name}-key.pem"
    certificate.write_bytes(pair.certificate_pem())
    key.touch(0o600)
    key.write_bytes(pair.key.reveal())
    give(certificate, key)
    return certificate, key


def certificates(place: Path) -> Certificates:
    authority = place / "pki" / "ca.pem"
    authority.write_bytes(AUTHORITY.certificate_pem())
    return Certificates(authority, *lay(place / "pki", "collector", server_pair()))


# What boards send.


def counted(message: bytes) -> bytes:
    return b"%d %s" % (len(message), message)


def rfc5424(text: bytes, app: bytes = b"app", host: bytes = b"-") -> bytes:
    return b"<30>1 2026-11-26T01:02:03.123456Z %s %s 12 ID - %s" % (host, app, text)


@dataclass(frozen=True)
class Ways:
    """The open ports of the collector that all tests of this kind share."""

    daemon: Daemon
    place: Path

    def udp(self, *messages: bytes, address: str = "127.0.0.1") -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as line:
            line.bind((address, 0))
            for message in messages:
                line.sendto(message, ("127.0.0.1", self._port("udp")))

    def tcp(self, data: bytes, address: str = "127.0.0.1") -> None:
        place = ("127.0.0.1", self._port("tcp"))
        with socket.create_connection(place, source_address=(address, 0)) as line:
            line.sendall(data)

    def tls(
        self, *messages: bytes, pair: KeyPair | None, context: ssl.SSLContext | None = None
    ) -> None:
        """Send each message in a record of its own; raise what the other side says against it.

        The first message may arrive together with the handshake's end, and syslog-ng before 4.11
        does not know whose it is then. So that one says nothing.
        """
        context = context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.place / "pki" / "ca.pem")
        if pair is not None:
            context.load_cert_chain(*lay(self.place, "board", pair))
        place = ("127.0.0.1", self._port("tls"))
        before = self.daemon.greetings()
        with (
            socket.create_connection(place, LIMIT_S) as raw,
            context.wrap_socket(raw, server_hostname="127.0.0.1") as line,
        ):
            line.sendall(counted(rfc5424(GREETING.encode())))
            until(lambda: self.daemon.greetings() > before, "the board is known")
            for message in messages:
                line.sendall(message)

    def _port(self, name: str) -> int:
        port: int = getattr(self.daemon.collector, name)
        return port


@pytest.fixture
def ways() -> Iterator[Ways]:
    with folder() as place:
        collector = SyslogServer(
            place / "logs",
            place / "run",
            listen="127.0.0.1",
            tls=free_port(),
            tcp=free_port(),
            udp=free_port(),
            certificates=certificates(place),
        )
        with running(Daemon(place, collector)) as daemon:
            yield Ways(daemon, place)


def test_a_board_writes_its_own_log_whatever_it_calls_itself(ways: Ways) -> None:
    sent = [rfc5424(b"hello", host=b"other"), rfc5424(b"again", host=b"../../other")]
    ways.tls(*map(counted, sent), pair=board_pair("odroid"))
    first, second = ways.daemon.records("odroid", 2)
    assert (first.board, first.app, first.process) == ("odroid", "app", "12")
    assert (first.text, second.text) == ("hello", "again")
    assert first.severity_name == "info"
    assert first.time == datetime(2026, 11, 26, 1, 2, 3, 123456, UTC)
    assert ways.daemon.boards() == ["odroid"]
    assert "odroid" in ways.daemon.store.boards()
    # What it calls itself is kept as what it is: a claim.
    assert 'host="other"]' in ways.daemon.lines("odroid")[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("who", ["foreign", "nobody", "old TLS"])
def test_who_has_no_certificate_of_ours_is_refused(ways: Ways, who: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    pair: KeyPair | None = board_pair("odroid")
    if who == "foreign":
        pair = board_pair("odroid", FOREIGN)
    elif who == "nobody":
        pair = None
    else:
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.options |= ssl.OP_NO_TLSv1_2 | ssl.OP_NO_TLSv1_3
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ways.tls(counted(rfc5424(b"let me in")), pair=pair, context=context)
    # What is sent afterwards is the first that is stored.
    ways.tls(counted(rfc5424(b"mine")), pair=board_pair("odroid"))
    assert [record.text for record in ways.daemon.records("odroid", 1)] == ["mine"]
    assert ways.daemon.boards() == ["odroid"]


@pytest.mark.parametrize("name", ["../../evil", "..", ".hidden", "a/b", "a\nb", "ä"])
def test_a_certificate_cannot_name_another_place(ways: Ways, name: str) -> None:
    ways.tls(counted(rfc5424(b"text")), pair=board_pair(name))
    assert [record.text for record in ways.daemon.records("127.0.0.1", 1)] == ["text"]
    assert ways.daemon.boards() == ["127.0.0.1"]
    assert not [*ways.place.rglob("*evil*"), *ways.place.parent.glob("*evil*")]


def test_several_messages_in_one_record_are_all_there_and_in_nobody_elses_log(ways: Ways) -> None:
    messages = [counted(rfc5424(b"%d" % number, host=b"other")) for number in range(20)]
    ways.tls(b"".join(messages), pair=board_pair("odroid"))
    boards = "odroid", "127.0.0.1"
    until(lambda: sum(len(ways.daemon.lines(board)) for board in boards) >= 20, "20 lines")
    texts = [
        parse_record(line, board).text for board in boards for line in ways.daemon.lines(board)
    ]
    assert sorted(texts, key=int) == [str(number) for number in range(20)]
    assert set(ways.daemon.boards()) <= set(boards)


def test_a_file_for_each_sender_by_its_address(ways: Ways) -> None:
    ways.udp(rfc5424(b"one", host=b"127.0.0.3"), address="127.0.0.2")
    ways.tcp(rfc5424(b"two") + b"\n", address="127.0.0.3")
    for number, text in ((2, "one"), (3, "two")):
        (record,) = ways.daemon.records(f"127.0.0.{number}", 1)
        assert (record.board, record.text) == (f"127.0.0.{number}", text)
    # Two that are equal stay two.
    ways.udp(rfc5424(b"four"), rfc5424(b"four"), address="127.0.0.5")
    assert len(ways.daemon.records("127.0.0.5", 2)) == 2
    assert len(set(ways.daemon.lines("127.0.0.5"))) == 2
    file = ways.daemon.store.path("127.0.0.2", datetime.now(UTC).date())
    assert file.is_file()
    assert file.stat().st_mode & 0o777 == 0o640
    assert file.parent.stat().st_mode & 0o777 == 0o750


def test_addresses_of_ipv6_are_names_too() -> None:
    with folder() as place, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as line:
        try:
            line.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 here")
        collector = SyslogServer(place / "logs", place / "run", listen="::", udp=free_port())
        with running(Daemon(place, collector)) as daemon:
            line.sendto(rfc5424(b"six"), ("::1", collector.udp))
            Ways(daemon, place).udp(rfc5424(b"four"))
            assert [record.text for record in daemon.records("0::1", 1)] == ["six"]
            assert [record.text for record in daemon.records("127.0.0.1", 1)] == ["four"]
            assert daemon.store.boards() == ("0::1", "127.0.0.1")


def test_the_old_form_and_no_form_at_all(ways: Ways) -> None:
    ways.tcp(
        b"<34>Oct 11 22:14:15 mymachine su[12]: 'su root' failed\n"
        b"<13>Nov  1 00:00:00 router %LINK-3-UPDOWN: down\r\n"
        b"lost\n"
        b"<999>1 - - - - - - out of range\n"
        b"<30>1 2026-11-26T01:02:03Z - a - - [broken text\n"
        + b"w" * 200
        + b" long word\n"
        + rfc5424(b"proper")
    )
    found = ways.daemon.records("127.0.0.1", 7)
    old, router, lost, beyond, broken, long, proper = found
    assert (old.app, old.process, old.text) == ("su", "12", "'su root' failed")
    assert old.time is not None
    assert old.time.strftime("%m-%d %H:%M:%S") == "10-11 22:14:15"
    assert (router.app, router.text) == ("%LINK-3-UPDOWN", "down")
    assert (lost.app, lost.text, lost.priority) == ("", "lost", 13)
    assert (beyond.priority, beyond.text) == (13, "out of range")
    assert "[broken text" in broken.text.replace(">@<", "")
    assert (long.app, long.text) == ("", "w" * 200 + " long word")
    assert proper.text == "proper"
    assert all(record.time is not None for record in found)


def test_nobody_can_count_as_the_relay_does(ways: Ways) -> None:
    claims = b'[meta sequenceId="7"][lost@32473 records="9"][arrival@32473 number="1" x="y"]'
    kept = b'[docker@32473 name="web\\]\\"" image="i" id="0123456789ab"]'
    message = b"<30>1 2026-11-26T01:02:03Z - web - - " + claims + kept + b" text"
    ways.tls(counted(message), pair=board_pair("odroid"))
    (record,) = ways.daemon.records("odroid", 1)
    assert record.sequence is None
    assert not record.lost
    assert record.container == LogContainer('web]"', "i", "0123456789ab")
    assert 'x="y"' not in ways.daemon.lines("odroid")[0]


def hostile_texts(count: int) -> list[bytes]:
    """Return texts of which a third is what terminals, lines and UTF-8 are broken with."""
    chance = random.Random(7)
    pieces = [
        *(b"\n", b"\r\n", b"\0", b"\x1b[2J", b"\x1b]0;title\x07", b"\x7f", b"\x08", b"\t", b"\x85"),
        *("\u202e".encode(), "\u2028".encode(), "\x9b2J".encode(), "ä€😀".encode(), b"\xff\xfe"),
        *(b"\xc3", b"\xe2\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xffxx"),
        *(b"#033", b"$(echo x)", b"${HOST}", b"`id`", b'"\\', b"<13>1 - x - - - - forged"),
        *(b"\n<13>1 2026-11-26T01:02:03Z evil evil - - - forged", b"%s%n", b"]", b'[a b="c"]'),
    ]
    texts = []
    for number in range(count):
        parts = [bytes(chance.choices(range(256), k=3)), *chance.choices(pieces, k=6)]
        chance.shuffle(parts)
        texts.append(b"(%d) " % number + b" x ".join(parts) + b" end")
    return texts


@pytest.mark.parametrize("way", ["tls", "udp", "tcp"])
def test_each_message_is_one_safe_line_with_all_that_was_in_it(ways: Ways, way: str) -> None:
    texts = hostile_texts(150)
    board = "127.0.0.1"
    if way == "tls":
        board = "odroid"
        ways.tls(*(counted(rfc5424(text)) for text in texts), pair=board_pair(board))
    elif way == "udp":
        ways.udp(*map(rfc5424, texts))
    else:
        # Here a line is a message: that is how it is sent.
        texts = [text.replace(b"\n", b" ") for text in texts]
        ways.tcp(b"".join(rfc5424(text) + b"\n" for text in texts))
    records = ways.daemon.records(board, len(texts))
    expected = {safe(text.decode("utf-8", "surrogateescape")) for text in texts}
    assert {record.text for record in records} == expected
    assert {(record.board, record.app) for record in records} == {(board, "app")}
    # Already in the file, not only by the reader's own care.
    assert all(safe(line) == line for line in ways.daemon.lines(board))


def test_headers_are_as_safe_as_texts(ways: Ways) -> None:
    apps = ["a\u00a0b", "\x1b[2J", "a\u2003b", "a\u202eb", "ä", "a\tb", "a\x0bb"]
    messages = [rfc5424(b"text", app=app.encode()) for app in apps]
    messages += [rfc5424(b"text", app=b"a\xffb"), rfc5424(b"text", app=b"a\nb")]
    ways.udp(*messages)
    found = [record.app for record in ways.daemon.records("127.0.0.1", len(messages))]
    assert found == [
        *("a_b", "#033[2J", "a_b", "a#342#200#256b", "ä", "a_b", "a#013b", "a#377b", "a#012b")
    ]


def test_long_lines(ways: Ways) -> None:
    whole = b"x" * 65_000 + b" end"
    ways.udp(rfc5424(b"y" * 65_000))
    ways.tcp(rfc5424(whole) + b"\n" + rfc5424(b"after") + b"\n", address="127.0.0.2")
    longer = b"z" * 200_000
    messages = counted(rfc5424(longer)), counted(rfc5424(b"after"))
    ways.tls(*messages, pair=board_pair("odroid"))
    assert ways.daemon.records("127.0.0.1", 1)[0].text == "y" * 65_000
    texts = [record.text for record in ways.daemon.records("127.0.0.2", 2)]
    assert texts == [whole.decode(), "after"]
    cut, after = ways.daemon.records("odroid", 2)
    assert longer.decode().startswith(cut.text)
    assert len(cut.text) > 100_000
    assert after.text == "after"


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12"])
def test_the_day_is_that_of_arrival_in_utc(zone: str) -> None:
    with folder() as place:
        collector = SyslogServer(place / "logs", place / "run", listen="127.0.0.1", udp=free_port())
        with running(Daemon(place, collector, {"TZ": zone})) as daemon:
            before = datetime.now(UTC).date()
            Ways(daemon, place).udp(rfc5424(b"text"), b"<13>Jan  1 10:00:00 h a: zoneless")
            record, zoneless = daemon.records("127.0.0.1", 2)
            (file,) = (collector.folder / "127.0.0.1").iterdir()
            assert before <= date.fromisoformat(file.stem) <= datetime.now(UTC).date()
            assert record.time == datetime(2026, 11, 26, 1, 2, 3, 123456, UTC)
            assert zoneless.time is not None
            assert zoneless.time.hour == 10


def test_what_is_sent_and_what_a_relay_delivers_share_a_file(ways: Ways) -> None:
    def deliver(text: str) -> None:
        day = datetime.now(UTC).date()
        record = LogRecord(30, NOW, "odroid", "app", "", text, sequence=1)
        ways.daemon.store.append("odroid", [format_record(record)], day)
        path = ways.daemon.store.path("odroid", day)
        give(path, path.parent)

    deliver("first")
    ways.tls(counted(rfc5424(b"second")), pair=board_pair("odroid"))
    assert len(ways.daemon.records("odroid", 2)) == 2
    deliver("third")
    ways.tls(counted(rfc5424(b"fourth")), pair=board_pair("odroid"))
    texts = [record.text for record in ways.daemon.records("odroid", 4)]
    assert texts == ["first", "second", "third", "fourth"]


# What goes on to others.


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


FIELDS = set(opensearch_template()["template"]["mappings"]["properties"])


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
            context.load_cert_chain(*lay(place / "pki", "search", pair))
            stack.enter_context(serving(sink, context))
            url = f"https://127.0.0.1:{sink.server_address[1]}/logs"
            forward = Forward("opensearch", url, "forwarder", ca_file)
            password = password_include(Secret(b'a "pass\\word$`x`'))
            (place / "run" / PASSWORD_FILE).write_bytes(password.reveal())
        collector = SyslogServer(place / "logs", place / "run", forward=forward, retry_s=1)
        yield Forwarding(stack.enter_context(running(Daemon(place, collector))), sink)


def test_every_line_arrives_whatever_the_other_side_does(forwarding: Forwarding) -> None:
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

    # It does not take anything; syslog-ng is told to end, then killed.
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

    # It takes all, and nobody hears of it.
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


def test_what_is_not_taken_waits(forwarding: Forwarding) -> None:
    texts = numbered("text", 10_000)
    forwarding.sink.refusals += [503] * 1000
    forwarding.write("odroid", texts)
    forwarding.answers(503, 1)
    forwarding.sink.refusals.clear()
    forwarding.arrived("odroid", texts)
    assert len(forwarding.sink.taken) == len(texts)
    assert "dropp" not in forwarding.daemon.stderr_text


def test_what_was_passed_on_is_not_passed_on_again(forwarding: Forwarding) -> None:
    texts = numbered("text", 500)
    forwarding.write("odroid", texts)
    forwarding.arrived("odroid", texts)
    forwarding.daemon.end()
    before = len(forwarding.sink.taken)
    forwarding.write("odroid", ["the last"])
    forwarding.daemon.start()
    forwarding.arrived("odroid", [*texts, "the last"])
    assert forwarding.sink.taken[before:] == [("odroid", "the last")]


def test_what_is_compressed_meanwhile_arrives_all_the_same(forwarding: Forwarding) -> None:
    texts = numbered("text", 500)
    forwarding.sink.refusals += [503] * 1000
    forwarding.write("odroid", texts)
    forwarding.answers(503, 1)
    store = forwarding.daemon.store
    store.tidy(90, 0)
    assert [path.suffix for path in (store.folder / "odroid").iterdir()] == [".gz"]
    forwarding.sink.refusals.clear()
    forwarding.arrived("odroid", texts)
    # What is compressed is read by nobody here.
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


def test_texts_are_passed_on_as_they_are(forwarding: Forwarding) -> None:
    forwarding.write("odroid", HOSTILE)
    forwarding.arrived("odroid", HOSTILE)


def test_what_is_no_record_is_passed_on_as_text(forwarding: Forwarding) -> None:
    lines = ["half a rec", "<30>1 when odroid app - - - text", "<30>1 - odroid app - - - no time"]
    forwarding.write_lines("odroid", lines)
    forwarding.arrived("odroid", [*lines[:2], "no time"])


def loki(forwarding: Forwarding) -> Loki:
    assert isinstance(forwarding.sink, Loki)
    return forwarding.sink


only_loki = pytest.mark.parametrize("forwarding", ["loki"], indirect=True)


@only_loki
def test_equal_records_stay_apart_in_loki(forwarding: Forwarding) -> None:
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
def test_a_record_that_loki_never_takes_holds_nobody_up(forwarding: Forwarding) -> None:
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
