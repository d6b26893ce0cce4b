"""unlock() and the port: a device, a socket, a terminal server; absent, in use, gone."""

import io
import os
import pty
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import serial
import serial.rfc2217

from bootwright.console.io.console import open_console
from bootwright.console.io.serial_port import LineLostError, SerialPort
from bootwright.console.ports import ConnectionBack, ConnectionLost
from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import FailedError, InputError, RefusedError
from bootwright.core.report import TextReporter
from bootwright.core.secret import Secret
from bootwright.volume.unlock import UnlockOptions, unlock
from bootwright.volume.unlock_result import Result
from tests.support.serial_boards import SECRET, Line, good_board, run, running, terminal_board

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def own_build_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the consoles' locks are."""
    monkeypatch.setenv("BOOTWRIGHT_BUILD", str(tmp_path / "build"))


class Rfc2217Line(Line):
    """The board's end behind a server that speaks RFC 2217, as ser2net does."""

    def __init__(self, connection: socket.socket, settings: Any) -> None:
        super().__init__(connection.fileno())
        self._connection = connection
        self._manager = serial.rfc2217.PortManager(settings, cast(Any, self))
        self._waiting = b""

    def write(self, data: bytes) -> None:
        """The manager's own answers go out by this."""
        self._connection.sendall(data)

    def send(self, data: bytes) -> None:
        self.write(b"".join(self._manager.escape(data)))

    def expect(self, end: bytes) -> None:
        while not self.got.endswith(end):
            data = self._connection.recv(64)
            assert data, "the host closed the line"
            self.got += b"".join(self._manager.filter(data))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pyserial's own
def test_a_terminal_server_of_rfc_2217() -> None:
    settings = serial.serial_for_url("loop://")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                line = Rfc2217Line(connection, settings)
                line.expect(b"")
                # Nothing but negotiation until the host has set the speed.
                while settings.baudrate != 57600:
                    line.got += b"".join(line._manager.filter(connection.recv(64)))
                good_board(line)
                # pyserial drops what it has not read when the server hangs up.
                while connection.recv(64):
                    pass

        with running(serve):
            url = f"rfc2217://127.0.0.1:{server.getsockname()[1]}"
            result = run(Endpoint("board", serial_url=url, baud=57600))
    assert result.result is Result.UNLOCKED


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(FailedError, match="cannot open the serial line"):
        run(Endpoint("board", serial_url=f"socket://127.0.0.1:{port}"))


def test_a_device() -> None:
    with terminal_board(good_board) as endpoint:
        assert endpoint.serial_url is not None
        opened = threading.Event()
        original = SerialPort.read

        def read(self: SerialPort) -> bytes:
            if not opened.is_set():
                opened.set()
                self.write(b"!")
            return original(self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SerialPort, "read", read)
            assert run(endpoint).result is Result.UNLOCKED


@contextmanager
def open_elsewhere(name: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Have another program open a device, as a terminal program would."""
    with Path(name).open("rb", buffering=0) as device:
        process = subprocess.Popen(["sleep", "60"], stdin=device)
    try:
        while not Path(f"/proc/{process.pid}/comm").read_text().startswith("sleep"):
            assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_device_that_another_program_has() -> None:
    ours, theirs = pty.openpty()
    name = os.ttyname(theirs)
    try:
        with SerialPort(name, 115200), pytest.raises(RefusedError, match="another program"):
            run(Endpoint("board", serial_url=name))
        # One that knows nothing of locks.
        with open_elsewhere(name) as process:
            said = rf"process {process.pid} \(sleep\) has this serial port open"
            with pytest.raises(RefusedError, match=said):
                run(Endpoint("board", serial_url=name))
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_device_that_vanishes() -> None:
    ours, theirs = pty.openpty()
    with SerialPort(os.ttyname(theirs), 115200) as port:
        os.close(theirs)
        os.close(ours)
        with pytest.raises(LineLostError, match="was lost"):
            port.read()


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such serial port"):
        run(Endpoint("board", serial_url=str(tmp_path / "ttyUSB9")))
    with pytest.raises(InputError, match="nonsense:// is not supported"):
        run(Endpoint("board", serial_url="nonsense://x"))
    with pytest.raises(InputError, match="no address and no serial port: set host, or serial_port"):
        run(Endpoint("board"))
    with pytest.raises(InputError, match="no address: set host"):
        unlock(Endpoint("board"), Secret(SECRET), TextReporter(), UnlockOptions(via="ssh"))


def test_a_port_in_use_is_waited_for_with_one_message() -> None:
    ours, theirs = pty.openpty()
    name = os.ttyname(theirs)
    log = io.StringIO()
    try:
        with (
            open_elsewhere(name) as process,
            open_console(
                Endpoint("board", serial_url=name), "x", TextReporter(log), wait_for_port=True
            ) as console,
        ):
            assert console.read() == console.read() == b""
            assert log.getvalue().count("has this serial port open; end it first; waiting") == 1
            process.kill()
            process.wait()
            with pytest.raises(ConnectionBack):
                while console.read() == b"":
                    pass
            assert "the serial line is back" in log.getvalue()
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_server_that_hangs_up_at_once_is_quoted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"socket://127.0.0.1:{server.getsockname()[1]}"
        with open_console(Endpoint("board", serial_url=url), "x", TextReporter()) as console:
            connection, _ = server.accept()
            connection.sendall(b"Port already in use\r\n")
            connection.close()
            assert console.read() == b"Port already in use\r\n"
            with pytest.raises(ConnectionLost, match='at once after it sent "Port already in use"'):
                console.read()
