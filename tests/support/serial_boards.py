"""A board at the other end of a real line: a script behind a socket or a pseudo-terminal."""

import io
import os
import pty
import socket
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bootwright.core.endpoints import Endpoint
from bootwright.core.report import TextReporter
from bootwright.core.secret import Secret
from bootwright.volume.unlock import UnlockOptions, unlock
from bootwright.volume.unlock_result import UnlockResult

SECRET = b"correct horse"

HINT = b"(press TAB for no echo) "

PROMPT = b"Please enter passphrase for disk docker-data on /mnt/docker-data: " + HINT

OLD_PROMPT = b"Please enter passphrase for disk docker-data! "

HIDDEN = b"\b \b" * len(HINT) + b"(no echo) "

TYPED = b"\t\x15" + SECRET + b"\n"

OPENED = b"\r\n[  OK  ] Finished Cryptography Setup for docker-data.\r\n"


class Line:
    """The board's end of the line."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.got = b""

    def send(self, data: bytes) -> None:
        os.write(self._fd, data)

    def expect(self, end: bytes) -> None:
        while not self.got.endswith(end):
            byte = os.read(self._fd, 1)
            assert byte, "the host closed the line"
            self.got += byte


Script = Callable[[Line], None]


def good_board(line: Line) -> None:
    line.send(b"Linux\r\n" + PROMPT)
    line.expect(b"\t")
    line.send(HIDDEN)
    line.expect(b"\n")
    line.send(OPENED if line.got == TYPED else b"\r\n" + PROMPT)


def old_board(line: Line) -> None:
    line.send(OLD_PROMPT)
    line.expect(b"\t")
    line.send(b"(no echo) ")
    line.expect(SECRET + b"\n")


@contextmanager
def running(board: Callable[[], None]) -> Iterator[None]:
    """Run the board in a thread; what it raises fails the test."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            board()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        yield
    finally:
        thread.join(timeout=30)
    assert not errors and not thread.is_alive(), errors


@contextmanager
def socket_board(script: Script) -> Iterator[Endpoint]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        # A small buffer, so that a host that does not read holds the board up.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                script(Line(connection.fileno()))

        with running(serve):
            port = server.getsockname()[1]
            yield Endpoint("board", serial_url=f"socket://127.0.0.1:{port}")


@contextmanager
def terminal_board(script: Script) -> Iterator[Endpoint]:
    """A device; the board begins when the host has it open (which drops what came before)."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)

    def serve() -> None:
        line = Line(ours)
        line.expect(b"!")
        line.got = b""
        script(line)

    try:
        with running(serve):
            yield Endpoint("board", serial_url=os.ttyname(theirs))
    finally:
        os.close(ours)
        os.close(theirs)


def run(endpoint: Endpoint, secret: bytes = SECRET, timeout: float = 30) -> UnlockResult:
    reporter = TextReporter(io.StringIO())
    return unlock(endpoint, Secret(secret), reporter, UnlockOptions(timeout=timeout))
