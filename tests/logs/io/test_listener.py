"""Connections that nobody needs: they lock no board out, and cost little."""

import asyncio
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from bootwright.logs.io.ingest import MAX_DELIVERY_BYTES, MAX_RECORDS, IngestServer
from bootwright.logs.io.listener import LIMITS, Refusals, network_of, raise_file_limit
from bootwright.pki.certificate_store import CertificateSubject
from tests.support.logship import DEADLINE_S, Operator, post, until

pytestmark = pytest.mark.integration

LINE = b"%d s <13>1 2026-11-30T02:00:00.000001Z x prog 1 - - text %d\n"

SERVE = """
import asyncio, signal, sys
from pathlib import Path
from tests.support.logship import Operator
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
operator = Operator(Path(sys.argv[1]), port=int(sys.argv[2]))
with operator.collecting():
    print("ready", flush=True)
    signal.sigwait({signal.SIGTERM})
print(len(operator.messages), *operator.messages, sep="\\n")
"""
"""A collector in a process of its own, so that its memory can be measured."""


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path / "operator")


def line(number: int) -> bytes:
    return LINE % (number, number)


def is_closed(connection: socket.socket) -> bool:
    """Return whether the other side closes it; waits for that."""
    connection.settimeout(DEADLINE_S)
    with suppress(ConnectionError, ssl.SSLError):
        return connection.recv(1) == b""
    return True


def plain(operator: Operator) -> socket.socket:
    return socket.create_connection(("127.0.0.1", operator.port), DEADLINE_S)


@contextmanager
def own_process(operator: Operator) -> Iterator["subprocess.Popen[str]"]:
    # Certificates are made here, not while the memory is measured.
    operator.files(CertificateSubject("collector", "collector"))
    child = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(operator.folder), str(operator.port)],
        stdout=subprocess.PIPE,
        stderr=(operator.folder / "errors").open("wb"),
        text=True,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        yield child
    finally:
        child.kill()
        child.wait()


def memory_mib(pid: int, name: str) -> int:
    found = dict(row.split(":") for row in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(found[name].split()[0]) // 1024


def test_ten_thousand_connections_lock_nobody_out_and_cost_little(operator: Operator) -> None:
    subject = CertificateSubject("log", "odroid")
    operator.files(subject)
    with own_process(operator) as child:
        assert operator.deliver(line(0)) == 200
        before = memory_mib(child.pid, "VmRSS")
        held: list[socket.socket] = []
        for number in range(10_000):
            if number % 1000 == 500:
                # In the middle of it, a board is served.
                assert operator.deliver(line(number)) == 200
            held.append(plain(operator))
            # Silent, in the middle of a handshake, or something else.
            with suppress(ConnectionError):
                held[-1].sendall((b"", b"\x16", b"GET / HTTP/1.1\r\n")[number % 3])
            # These many are open at the same time, if the collector lets them.
            if len(held) > 1100:
                held.pop(0).close()
        for _ in range(100):
            held.append(operator.connect(subject))
        assert operator.deliver(line(1), "other") == 200
        # What is stated in docs/logs.md: 64 MiB for connections without a certificate.
        assert memory_mib(child.pid, "VmHWM") - before < 64
        assert len([*Path(f"/proc/{child.pid}/fd").iterdir()]) < LIMITS.handshakes + 100
        child.send_signal(signal.SIGTERM)
        messages, _ = child.communicate(timeout=DEADLINE_S)
        for connection in held:
            connection.close()
    assert (operator.folder / "errors").read_text() == ""
    # Two boards deliver; the first refused connection; and the rest of them once a minute.
    assert int(messages.split("\n", 1)[0]) <= 6, messages
    assert "newer ones of its address without a certificate" in messages
    assert "newer ones with its certificate (odroid)" in messages


def test_a_board_may_have_a_few_connections_and_the_oldest_is_closed(operator: Operator) -> None:
    with operator.collecting():
        lines = [operator.connect(CertificateSubject("log", "odroid")) for _ in range(6)]
        assert is_closed(lines[0])
        assert is_closed(lines[1])
        assert [post(one, line(number)) for number, one in enumerate(lines[2:])] == [200] * 4
        assert operator.deliver(line(9), "other") == 200
        for one in lines:
            one.close()
    assert [m for m in operator.messages if "(odroid)" in m]


def test_closed_connections_do_not_count(operator: Operator) -> None:
    with operator.collecting(), operator.connect(CertificateSubject("log", "odroid")) as kept:
        assert post(kept, line(0)) == 200
        for number in range(1, 10):
            assert operator.deliver(line(number)) == 200
        assert post(kept, line(10)) == 200
    assert not [message for message in operator.messages if "refused" in message]


def test_who_is_slow_is_closed(operator: Operator) -> None:
    operator.limits = replace(LIMITS, handshake_s=0.2, first_request_s=0.2)
    with operator.collecting():
        with plain(operator) as raw:
            assert is_closed(raw)
        with operator.connect(CertificateSubject("log", "odroid")) as silent:
            assert is_closed(silent)
        with operator.connect(CertificateSubject("log", "odroid")) as slow:
            slow.sendall(b"POST /v1/records HTTP/1.1\r\nHost: x\r\n")
            assert is_closed(slow)
        # The time limit ends with the first request.
        with operator.connect(CertificateSubject("log", "odroid")) as kept:
            assert post(kept, line(0)) == 200
            kept.settimeout(0.5)
            with pytest.raises(TimeoutError):
                kept.recv(1)
    first, rest = (message for message in operator.messages if "refused" in message)
    assert "127.0.0.1: no TLS handshake within 0.2 s" in first
    assert "refused 2 more connections" in rest
    assert "2 × no request within 0.2 s (odroid)" in rest


def test_all_handshakes_together_are_limited(operator: Operator) -> None:
    operator.limits = replace(LIMITS, handshakes=3)
    with operator.collecting():
        lines = [plain(operator) for _ in range(4)]
        assert is_closed(lines[0])
        assert operator.deliver(line(0)) == 200
        for one in lines:
            one.close()


def test_a_few_senders_do_not_close_the_only_connection_of_another(operator: Operator) -> None:
    """A board whose handshake takes long, and two addresses with more than all may have."""
    operator.limits = replace(LIMITS, handshakes=6)
    with operator.collecting():
        slow = socket.create_connection(
            ("127.0.0.1", operator.port), DEADLINE_S, source_address=("127.0.0.9", 0)
        )
        others = [
            socket.create_connection(
                ("127.0.0.1", operator.port), DEADLINE_S, source_address=(address, 0)
            )
            for _ in range(6)
            for address in ("127.0.0.2", "127.0.0.3")
        ]
        assert is_closed(others[0])
        assert operator.deliver(line(0)) == 200
        slow.settimeout(0.1)
        with pytest.raises(TimeoutError):
            slow.recv(1)
        for one in (slow, *others):
            one.close()


def test_a_certificate_that_is_not_for_clients_is_refused(operator: Operator) -> None:
    with operator.collecting():
        with (
            pytest.raises((ssl.SSLError, ConnectionError)),
            operator.connect(CertificateSubject("collector", "collector")) as server,
        ):
            post(server, line(0))
        until(lambda: any("refused" in one for one in operator.messages), "it is reported")
    assert operator.store.boards() == ()
    assert "purpose" in next(one for one in operator.messages if "refused" in one)


def test_requests_that_are_not_http_are_counted_without_tracebacks(
    operator: Operator, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with operator.collecting():
        for _ in range(5):
            with operator.connect(CertificateSubject("log", "odroid")) as kept:
                assert post(kept, line(0)) == 200
                kept.sendall(b"no HTTP\r\n\r\n")
                assert b" 400 " in kept.recv(1000)
    assert (capfd.readouterr().err, caplog.text) == ("", "")
    first, rest = (message for message in operator.messages if "refused" in message)
    assert "it sent a request that is not HTTP/1.1" in first
    assert "refused 4 more" in rest


def test_an_error_in_the_collector_is_shown(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> int:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(IngestServer, "_store_delivery", broken)
    with operator.collecting():
        assert [operator.deliver(line(0)) for _ in range(3)] == [500] * 3
    first, rest = (message for message in operator.messages if "refused" in message)
    assert "error in the collector: ZeroDivisionError: a bug (test_listener.py:" in first
    assert "2 × error in the collector" in rest


def test_a_delivery_of_too_many_records_is_refused_at_once(operator: Operator) -> None:
    with operator.collecting():
        assert operator.deliver(b"a\n" * (1 << 20)) == 413
        assert operator.deliver(b"a\n" * (MAX_RECORDS + 1)) == 413
        assert operator.deliver(b"a" * (MAX_DELIVERY_BYTES + 1)) == 413
        assert operator.store.boards() == ()
        assert operator.deliver(b"".join(map(line, range(MAX_RECORDS)))) == 200
    assert len(operator.records("odroid")) == MAX_RECORDS


def test_addresses_are_counted_by_network() -> None:
    assert network_of("192.0.2.7") == "192.0.2.7"
    assert network_of("::ffff:192.0.2.7") == "192.0.2.7"
    assert network_of("2001:db8::1") == network_of("2001:db8::2") == "2001:db8::/64"
    assert network_of("fe80::1%eth0") == "fe80::/64"


def test_refusals_are_reported_once_and_then_counted() -> None:
    messages: list[str] = []

    async def many() -> None:
        refusals = Refusals(messages.append, every_s=3600)
        for number in range(1000):
            refusals.add("it is late" if number % 2 else "it is early", f"192.0.2.{number % 250}")
        refusals.close()
        assert refusals.total == 1000

    asyncio.run(many())
    first, rest = messages
    assert first.startswith("refused a connection of 192.0.2.0: it is early")
    assert rest == (
        "refused 999 more connections, the last of 192.0.2.249: 500 × it is late, 499 × it is early"
    )


def test_as_many_boards_as_the_machine_has_descriptors_for() -> None:
    assert 16 <= raise_file_limit() <= LIMITS.boards
