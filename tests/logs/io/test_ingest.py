"""Logs from a board's relay to the collector: everything once, in order, whatever breaks."""

import random
import shutil
import signal
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bootwright.logs.io.ingest import PATH, IngestServer
from bootwright.logs.io.store import LogStore
from bootwright.logs.record import LogContainer
from bootwright.logs.syslog_ng import Certificates
from bootwright.pki.certificate_store import CertificateSubject, reissue
from tests.support.logship import Operator, Relay, need_syslog_ng, relay, until

pytestmark = pytest.mark.integration


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    need_syslog_ng()
    return Operator(tmp_path / "operator")


@pytest.fixture
def board(tmp_path: Path, operator: Operator) -> Iterator[Relay]:
    with relay(tmp_path / "board", operator) as running:
        yield running


def numbers(first: int, last: int) -> list[bytes]:
    return [b"number %d" % number for number in range(first, last)]


def arrived(operator: Operator, count: int, board: str = "odroid") -> None:
    until(lambda: len(operator.texts(board)) >= count, f"{count} records arrive")


def test_a_record_arrives_with_all_that_is_known_of_it(operator: Operator, board: Relay) -> None:
    with operator.collecting():
        board.write([b"hello"])
        board.write([b"hello from Odroid"], tag="remote", priority=27)
        until(lambda: operator.texts("odroid", "remote"), "both arrive")
        (first,) = (record for record in operator.records("odroid") if record.app == "web")
        (second,) = (record for record in operator.records("odroid") if record.app == "remote")
    assert first.container == LogContainer("web", "registry:5000/app:1", "0123456789ab")
    assert (first.text, first.severity_name, first.board) == ("hello", "info", "odroid")
    assert first.time is not None
    assert first.time.isoformat() == "2026-11-26T02:00:00.123456+00:00"
    assert (second.text, second.severity_name) == ("hello from Odroid", "err")
    assert second.container is None


def test_everything_arrives_once_while_both_are_stopped_and_started(
    operator: Operator, board: Relay
) -> None:
    board.write(numbers(0, 3000))
    with operator.collecting():
        board.write(numbers(3000, 6000))
        arrived(operator, 4000)
    board.write(numbers(6000, 9000))
    board.end()
    board.start()
    board.write(numbers(9000, 12000))
    with operator.collecting():
        arrived(operator, 10000)
        board.end()
        board.start()
        board.write(numbers(12000, 15000))
        arrived(operator, 15000)
    assert operator.texts("odroid") == [f"number {n}" for n in range(15000)]


def test_a_killed_relay_loses_no_accepted_record(operator: Operator, board: Relay) -> None:
    board.write(numbers(0, 3000))
    until(lambda: board.figure("processed") >= 3000, "the relay has taken all")
    board.end(signal.SIGKILL)
    # systemd opened the socket, so records that are written in the meantime wait in it.
    board.write(numbers(3000, 3005))
    board.start()
    with operator.collecting():
        arrived(operator, 1000)
        board.end(signal.SIGKILL)
        board.start()
        arrived(operator, 3005)
    assert operator.texts("odroid") == [f"number {n}" for n in range(3005)]


def test_a_lost_acknowledgement_repeats_nothing(
    operator: Operator, board: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(5)
    take = IngestServer._store_delivery

    def forgetful(self: IngestServer, board: str, body: bytes) -> int:
        repeated = take(self, board, body)
        if chance.random() < 0.4:
            raise OSError("the acknowledgement is lost")
        return repeated

    monkeypatch.setattr(IngestServer, "_store_delivery", forgetful)
    with operator.collecting():
        board.write(numbers(0, 5000))
        arrived(operator, 5000)
        until(lambda: board.figure("queued") == 0, "the relay is rid of everything")
    assert operator.texts("odroid") == [f"number {n}" for n in range(5000)]


def test_a_full_disk_of_the_collector_loses_nothing(
    operator: Operator, board: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = threading.Event()
    full.set()
    append = LogStore.append

    def maybe(self: LogStore, board: str, lines: list[str], day: object) -> None:
        if full.is_set():
            raise OSError(28, "No space left on device")
        append(self, board, lines, day)  # type: ignore[arg-type]

    monkeypatch.setattr(LogStore, "append", maybe)
    with operator.collecting():
        board.write(numbers(0, 1000))
        until(lambda: any("No space left" in line for line in operator.messages), "it is reported")
        assert operator.records("odroid") == []
        full.clear()
        arrived(operator, 1000)
    assert operator.texts("odroid") == [f"number {n}" for n in range(1000)]
    assert len([line for line in operator.messages if "No space left" in line]) == 1


def test_losses_of_a_full_queue_are_counted_and_reported(
    tmp_path: Path, operator: Operator
) -> None:
    with relay(tmp_path / "board", operator, queue="1MiB") as board:
        # Nobody waits for the network: all of it is taken at once.
        board.write(numbers(0, 10000))
        until(lambda: board.figure("processed") >= 10000, "the relay has taken all")
        first = board.figure("dropped")
        assert first > 0
        # The losses of one run of the relay are reported by the next one.
        board.end()
        board.start()
        board.write(numbers(10000, 20000))
        until(lambda: board.figure("processed") >= 10000, "the relay has taken all")
        with operator.collecting():
            # Both starts of the relay, and each only once.
            until(lambda: lost(operator) == first + board.figure("dropped"), "it is reported")
            arrived(operator, 20000 - lost(operator))
        dropped = first + board.figure("dropped")
        kept = operator.texts("odroid")
        assert len(kept) == 20000 - dropped
        assert kept == sorted(kept, key=lambda text: int(text.split()[1]))
        assert any("records are lost: its queue was full" in line for line in operator.messages)
        # Also a restarted collector does not count twice.
        with operator.collecting():
            board.write([b"number 20000"])
            arrived(operator, len(kept) + 1)
            until(lambda: board.figure("queued") == 0, "the relay is rid of it")
        assert lost(operator) == dropped


def lost(operator: Operator) -> int:
    return sum(record.lost for record in operator.records("odroid"))


HOSTILE = {
    b"two\nlines": "two#012lines",
    b"a NUL \x00 and after": "a NUL #000 and after",
    b"\xff\xfe no UTF-8": "#377#376 no UTF-8",
    b"\x1b[31mred\x1b]0;title\x07": "#033[31mred#033]0;title#007",
    b"<script>alert('\"1\"')</script>": "<script>alert('\"1\"')</script>",
    b"back\\slash \\012 $(MSG) ${HOST} %s #{1}": "back\\slash \\012 $(MSG) ${HOST} %s #{1}",
    "caf\u00e9 \u202egpj.exe \u0085".encode(): "caf\u00e9 #342#200#256gpj.exe #302#205",
    b"tab\tkept": "tab\tkept",
    b"<34>1 2026-01-01T00:00:00Z other app 1 - - forged": "<34>1 2026-01-01T00:00:00Z other app"
    " 1 - - forged",
    b"x" * 16384: "x" * 16384,
    b"y" * 65536: "y" * 65536,
}


def test_hostile_text_is_one_safe_record_each(operator: Operator, board: Relay) -> None:
    with operator.collecting():
        board.write(list(HOSTILE))
        board.write([b"end"])
        until(lambda: "end" in operator.texts("odroid"), "the last one arrives")
    assert operator.texts("odroid") == [*HOSTILE.values(), "end"]
    (file,) = (operator.store.folder / "odroid").iterdir()
    assert not set(file.read_bytes()) & {*range(9), *range(11, 32), 127}


def test_logs_of_the_system_arrive_too(operator: Operator, board: Relay) -> None:
    (board.folder / "audit.log").write_text("type=SYSCALL msg=audit(1.2:3): key=docker\n")
    with operator.collecting():
        until(lambda: operator.texts("odroid", "audit"), "auditd's line arrives")
        until(lambda: operator.texts("odroid", "syslog-ng"), "messages of the relay arrive")
    (line,) = (record for record in operator.records("odroid") if record.app == "audit")
    assert line.text == "type=SYSCALL msg=audit(1.2:3): key=docker"
    assert line.time is not None


def deliver(operator: Operator, files: Certificates | None, authority: Path) -> int:
    context = ssl.create_default_context(cafile=authority)
    if files is not None:
        context.load_cert_chain(files.certificate, files.key)
    request = urllib.request.Request(
        f"https://127.0.0.1:{operator.port}{PATH}",
        b"1 <30>1 - other x - - - forged",
        {"Content-Type": "text/plain"},
    )
    with urllib.request.urlopen(request, context=context, timeout=10) as answer:
        status: int = answer.status
        return status


def test_a_sender_without_our_certificate_delivers_nothing(
    tmp_path: Path, operator: Operator
) -> None:
    own = operator.files(CertificateSubject("log", "odroid"))
    stranger = Operator(tmp_path / "stranger").files(CertificateSubject("log", "odroid"))
    # One for Docker's API is of another authority.
    client = operator.files(CertificateSubject("client", "mia"))
    refused = (urllib.error.URLError, ConnectionError, ssl.SSLError)
    with operator.collecting():
        for files in (None, stranger, client):
            with pytest.raises(refused):
                deliver(operator, files, own.authority)
        assert operator.store.boards() == ()
        # Whatever a board calls itself, its records are its own.
        assert deliver(operator, own, own.authority) == 200
    assert operator.store.boards() == ("odroid",)
    (record,) = operator.records("odroid")
    assert record.board == "odroid"


def test_a_relay_with_a_foreign_certificate_keeps_its_records_until_it_is_replaced(
    tmp_path: Path, operator: Operator
) -> None:
    stranger = Operator(tmp_path / "stranger").files(CertificateSubject("log", "odroid"))
    own = operator.files(CertificateSubject("log", "odroid"))
    mixed = Certificates(own.authority, stranger.certificate, stranger.key)
    with operator.collecting(), relay(tmp_path / "board", operator, files=mixed) as board:
        board.write(numbers(0, 100))
        until(
            lambda: (
                b"error sending HTTP request" in (board.folder / "messages").read_bytes()
                or board.figure("queued") >= 100
            ),
            "it tries in vain",
        )
        assert operator.store.boards() == ()
        board.end()
        board.files = own
        board.start()
        arrived(operator, 100)


def test_new_certificates_are_used_and_old_ones_refused(operator: Operator, tmp_path: Path) -> None:
    old_files = operator.files(CertificateSubject("log", "odroid"))
    kept = shutil.copytree(old_files.key.parent, tmp_path / "kept")
    old = Certificates(kept / "ca.pem", kept / "cert.pem", kept / "key.pem")
    with operator.collecting():
        assert deliver(operator, old, old.authority) == 200
        operator.pki.update(lambda held: reissue(held, None, datetime.now(UTC), {}))
        until(
            lambda: any("certificates have changed" in line for line in operator.messages),
            "it begins anew",
        )
        new = operator.files(CertificateSubject("log", "odroid"))

        def comes_in() -> bool:
            try:
                return deliver(operator, new, new.authority) == 200
            except urllib.error.URLError:
                return False

        until(comes_in, "the new certificate comes in")
        with pytest.raises((urllib.error.URLError, ConnectionError, ssl.SSLError)):
            deliver(operator, old, new.authority)
