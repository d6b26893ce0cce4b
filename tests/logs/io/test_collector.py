"""The collector's syslog-ng with our configuration: which sender writes which log, and what."""

import random
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from bootwright.logs.record import (
    LogContainer,
    LogRecord,
    escape_unsafe,
    format_record,
    parse_record,
)
from bootwright.logs.syslog_ng import (
    SyslogServer,
)
from bootwright.pki.certificates import KeyPair
from tests.support.collecting import (
    FOREIGN,
    GREETING,
    LIMIT_S,
    NOW,
    Daemon,
    board_pair,
    certificates,
    counted,
    folder,
    free_port,
    give,
    rfc5424,
    running,
    until,
    write_key_pair,
)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(120),
]


@dataclass(frozen=True)
class Senders:
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
        """Send each message in a separate TLS record; raise the error of the other side.

        The first message may arrive together with the handshake's end, and syslog-ng before 4.11
        does not know whose it is then. So that one says nothing.
        """
        context = context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.place / "pki" / "ca.pem")
        if pair is not None:
            context.load_cert_chain(*write_key_pair(self.place, "board", pair))
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
def senders() -> Iterator[Senders]:
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
            yield Senders(daemon, place)


def test_a_board_writes_only_its_own_log(senders: Senders) -> None:
    sent = [rfc5424(b"hello", host=b"other"), rfc5424(b"again", host=b"../../other")]
    senders.tls(*map(counted, sent), pair=board_pair("odroid"))
    first, second = senders.daemon.records("odroid", 2)
    assert (first.board, first.app, first.process) == ("odroid", "app", "12")
    assert (first.text, second.text) == ("hello", "again")
    assert first.severity_name == "info"
    assert first.time == datetime(2026, 11, 26, 1, 2, 3, 123456, UTC)
    assert senders.daemon.boards() == ["odroid"]
    assert "odroid" in senders.daemon.store.boards()
    # What it calls itself is kept as what it is: a claim.
    assert 'host="other"]' in senders.daemon.lines("odroid")[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("who", ["foreign", "nobody", "old TLS"])
def test_a_sender_without_our_certificate_is_refused(senders: Senders, who: str) -> None:
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
        senders.tls(counted(rfc5424(b"let me in")), pair=pair, context=context)
    # What is sent afterwards is the first that is stored.
    senders.tls(counted(rfc5424(b"mine")), pair=board_pair("odroid"))
    assert [record.text for record in senders.daemon.records("odroid", 1)] == ["mine"]
    assert senders.daemon.boards() == ["odroid"]


def test_a_server_s_certificate_is_not_one_of_a_client(senders: Senders) -> None:
    files = senders.daemon.collector.certificates
    assert files is not None
    context = ssl.create_default_context(cafile=files.authority)
    context.load_cert_chain(files.certificate, files.key)
    place = ("127.0.0.1", senders.daemon.collector.tls or 0)
    with (
        socket.create_connection(place, LIMIT_S) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1") as line,
    ):
        line.sendall(counted(rfc5424(b"let me in")))
        until(lambda: "purpose is invalid" in senders.daemon.stderr_text, "it has connected")
        line.sendall(counted(rfc5424(b"let me in again")))
    until(lambda: "Syslog connection closed" in senders.daemon.stderr_text, "it has ended")
    senders.tls(counted(rfc5424(b"mine")), pair=board_pair("odroid"))
    assert [record.text for record in senders.daemon.records("odroid", 1)] == ["mine"]
    # The first message may arrive together with the handshake's end. syslog-ng before 4.11 does not
    # know then whose it is, and it is in the log of the address.
    assert set(senders.daemon.boards()) <= {"odroid", "127.0.0.1"}
    assert not any("let me in again" in line for line in senders.daemon.lines("127.0.0.1"))


@pytest.mark.parametrize("name", ["../../evil", "..", ".hidden", "a/b", "a\nb", "ä"])
def test_a_certificate_cannot_name_another_place(senders: Senders, name: str) -> None:
    senders.tls(counted(rfc5424(b"text")), pair=board_pair(name))
    assert [record.text for record in senders.daemon.records("127.0.0.1", 1)] == ["text"]
    assert senders.daemon.boards() == ["127.0.0.1"]
    assert not [*senders.place.rglob("*evil*"), *senders.place.parent.glob("*evil*")]


def test_several_messages_in_one_record_are_stored_in_the_right_log(senders: Senders) -> None:
    messages = [counted(rfc5424(b"%d" % number, host=b"other")) for number in range(20)]
    senders.tls(b"".join(messages), pair=board_pair("odroid"))
    boards = "odroid", "127.0.0.1"
    until(lambda: sum(len(senders.daemon.lines(board)) for board in boards) >= 20, "20 lines")
    texts = [
        parse_record(line, board).text for board in boards for line in senders.daemon.lines(board)
    ]
    assert sorted(texts, key=int) == [str(number) for number in range(20)]
    assert set(senders.daemon.boards()) <= set(boards)


def test_a_file_for_each_sender_by_its_address(senders: Senders) -> None:
    senders.udp(rfc5424(b"one", host=b"127.0.0.3"), address="127.0.0.2")
    senders.tcp(rfc5424(b"two") + b"\n", address="127.0.0.3")
    for number, text in ((2, "one"), (3, "two")):
        (record,) = senders.daemon.records(f"127.0.0.{number}", 1)
        assert (record.board, record.text) == (f"127.0.0.{number}", text)
    # Two that are equal stay two.
    senders.udp(rfc5424(b"four"), rfc5424(b"four"), address="127.0.0.5")
    assert len(senders.daemon.records("127.0.0.5", 2)) == 2
    assert len(set(senders.daemon.lines("127.0.0.5"))) == 2
    file = senders.daemon.store.path("127.0.0.2", datetime.now(UTC).date())
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
            Senders(daemon, place).udp(rfc5424(b"four"))
            assert [record.text for record in daemon.records("0::1", 1)] == ["six"]
            assert [record.text for record in daemon.records("127.0.0.1", 1)] == ["four"]
            assert daemon.store.boards() == ("0::1", "127.0.0.1")


def test_rfc_3164_and_unstructured_lines(senders: Senders) -> None:
    senders.tcp(
        b"<34>Oct 11 22:14:15 mymachine su[12]: 'su root' failed\n"
        b"<13>Nov  1 00:00:00 router %LINK-3-UPDOWN: down\r\n"
        b"lost\n"
        b"<999>1 - - - - - - out of range\n"
        b"<30>1 2026-11-26T01:02:03Z - a - - [broken text\n"
        + b"w" * 200
        + b" long word\n"
        + rfc5424(b"proper")
    )
    found = senders.daemon.records("127.0.0.1", 7)
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


def test_senders_cannot_forge_the_elements_of_the_collector(senders: Senders) -> None:
    claims = b'[meta sequenceId="7"][lost@32473 records="9"][arrival@32473 number="1" x="y"]'
    kept = b'[docker@32473 name="web\\]\\"" image="i" id="0123456789ab"]'
    message = b"<30>1 2026-11-26T01:02:03Z - web - - " + claims + kept + b" text"
    senders.tls(counted(message), pair=board_pair("odroid"))
    (record,) = senders.daemon.records("odroid", 1)
    assert record.sequence is None
    assert not record.lost
    assert record.container == LogContainer('web]"', "i", "0123456789ab")
    assert 'x="y"' not in senders.daemon.lines("odroid")[0]


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
def test_each_message_is_one_safe_line_with_all_that_was_in_it(senders: Senders, way: str) -> None:
    texts = hostile_texts(150)
    board = "127.0.0.1"
    if way == "tls":
        board = "odroid"
        senders.tls(*(counted(rfc5424(text)) for text in texts), pair=board_pair(board))
    elif way == "udp":
        senders.udp(*map(rfc5424, texts))
    else:
        # Here a line is a message: that is how it is sent.
        texts = [text.replace(b"\n", b" ") for text in texts]
        senders.tcp(b"".join(rfc5424(text) + b"\n" for text in texts))
    records = senders.daemon.records(board, len(texts))
    expected = {escape_unsafe(text.decode("utf-8", "surrogateescape")) for text in texts}
    assert {record.text for record in records} == expected
    assert {(record.board, record.app) for record in records} == {(board, "app")}
    # Already in the file, not only by the reader's own care.
    assert all(escape_unsafe(line) == line for line in senders.daemon.lines(board))


def test_headers_are_as_safe_as_texts(senders: Senders) -> None:
    apps = ["a\u00a0b", "\x1b[2J", "a\u2003b", "a\u202eb", "ä", "a\tb", "a\x0bb"]
    messages = [rfc5424(b"text", app=app.encode()) for app in apps]
    messages += [rfc5424(b"text", app=b"a\xffb"), rfc5424(b"text", app=b"a\nb")]
    senders.udp(*messages)
    found = [record.app for record in senders.daemon.records("127.0.0.1", len(messages))]
    assert found == [
        *("a_b", "#033[2J", "a_b", "a#342#200#256b", "ä", "a_b", "a#013b", "a#377b", "a#012b")
    ]


def test_long_lines(senders: Senders) -> None:
    whole = b"x" * 65_000 + b" end"
    senders.udp(rfc5424(b"y" * 65_000))
    senders.tcp(rfc5424(whole) + b"\n" + rfc5424(b"after") + b"\n", address="127.0.0.2")
    longer = b"z" * 200_000
    messages = counted(rfc5424(longer)), counted(rfc5424(b"after"))
    senders.tls(*messages, pair=board_pair("odroid"))
    assert senders.daemon.records("127.0.0.1", 1)[0].text == "y" * 65_000
    texts = [record.text for record in senders.daemon.records("127.0.0.2", 2)]
    assert texts == [whole.decode(), "after"]
    cut, after = senders.daemon.records("odroid", 2)
    assert longer.decode().startswith(cut.text)
    assert len(cut.text) > 100_000
    assert after.text == "after"


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12"])
def test_the_day_is_that_of_arrival_in_utc(zone: str) -> None:
    with folder() as place:
        collector = SyslogServer(place / "logs", place / "run", listen="127.0.0.1", udp=free_port())
        with running(Daemon(place, collector, {"TZ": zone})) as daemon:
            before = datetime.now(UTC).date()
            Senders(daemon, place).udp(rfc5424(b"text"), b"<13>Jan  1 10:00:00 h a: zoneless")
            record, zoneless = daemon.records("127.0.0.1", 2)
            (file,) = (collector.folder / "127.0.0.1").iterdir()
            assert before <= date.fromisoformat(file.stem) <= datetime.now(UTC).date()
            assert record.time == datetime(2026, 11, 26, 1, 2, 3, 123456, UTC)
            assert zoneless.time is not None
            assert zoneless.time.hour == 10


def test_syslog_messages_and_deliveries_share_a_file(senders: Senders) -> None:
    def deliver(text: str) -> None:
        day = datetime.now(UTC).date()
        record = LogRecord(30, NOW, "odroid", "app", "", text, sequence=1)
        senders.daemon.store.append("odroid", [format_record(record)], day)
        path = senders.daemon.store.path("odroid", day)
        give(path, path.parent)

    deliver("first")
    senders.tls(counted(rfc5424(b"second")), pair=board_pair("odroid"))
    assert len(senders.daemon.records("odroid", 2)) == 2
    deliver("third")
    senders.tls(counted(rfc5424(b"fourth")), pair=board_pair("odroid"))
    texts = [record.text for record in senders.daemon.records("odroid", 4)]
    assert texts == ["first", "second", "third", "fourth"]
