"""A target's console, opened for one program at a time: a serial line, or a server with a log."""

import contextlib
import time
from collections.abc import Iterator
from typing import Protocol

from bootwright.console.io.lock import console_lock
from bootwright.console.io.log_file import ConsoleLog
from bootwright.console.io.serial_port import LineLostError, NoPortError, SerialPort, check_url
from bootwright.console.ports import ConnectionBack, ConnectionLost, ConsoleLine
from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import BootwrightError, FailedError, InputError, RefusedError
from bootwright.core.report import Reporter
from bootwright.core.text import sanitize_line

REOPEN_S = 0.5
"""Seconds between attempts to open a serial line that was lost."""

MOST_PAUSE_S = 30.0
"""The same, after a server has hung up at once more than twice: each pause is twice the last."""

AT_ONCE_S = 2.0
"""A line that was open for less than so many seconds was hung up at once."""

QUOTED = 200
"""Bytes from a server that hangs up at once that are quoted: mostly they say why."""


class SelectableConsole(ConsoleLine, Protocol):
    """A console that ``select`` can wait for together with the keyboard."""

    def fileno(self) -> int:
        """Return a descriptor that is readable when something has come; -1 while there is none."""
        ...


@contextlib.contextmanager
def open_console(
    endpoint: Endpoint, who: str, reporter: Reporter, *, wait_for_port: bool = False
) -> Iterator[SelectableConsole]:
    """Open the console of ``endpoint`` and hold it while the context lasts.

    Args:
        endpoint: the board; its serial line is used.
        who: the command that uses it, named in errors of other commands.
        reporter: gets a message when a lost serial line is open again.
        wait_for_port: if the port is not there, is in use or cannot be opened, wait for it as for
            one that was lost.

    Raises:
        InputError: the target has no serial line, or there is no such port.
        RefusedError: another program uses the console.
        FailedError: the serial line cannot be opened.
    """
    if endpoint.serial_url is None:
        raise InputError(
            f"target {endpoint.name!r} has no serial port: set serial_port in bootwright.toml, or"
            " give --port (such as /dev/ttyUSB0)"
        )
    with contextlib.ExitStack() as stack:
        stack.enter_context(console_lock(endpoint.name, who))
        if endpoint.console_history is not None:
            log = stack.enter_context(ConsoleLog(endpoint.console_history))
            port = stack.enter_context(SerialPort(endpoint.serial_url, endpoint.baud))
            yield _LoggedConsole(port, log)
        else:
            live = _LiveConsole(endpoint.serial_url, endpoint.baud, reporter)
            live.open(wait_for_port=wait_for_port)
            stack.callback(live.close)
            yield live


class _LoggedConsole:
    """A console whose server logs everything that the board prints, with or without a client.

    Only the log is read: it is complete. The socket brings the same output again; it is read and
    discarded, because the board would stop when the socket's buffer is full.
    """

    def __init__(self, port: SerialPort, log: ConsoleLog) -> None:
        self._port = port
        self._log = log

    def history(self) -> bytes:
        return b"".join(iter(self._log.read, b""))

    def read(self) -> bytes:
        data = self._log.read()
        if not data:
            self._port.read()
            data = self._log.read()
        return data

    def write(self, data: bytes) -> None:
        self._port.write(data)

    def fileno(self) -> int:
        return self._port.fileno()


class _LiveConsole:
    """A console without a log: what was printed before it was opened is not known.

    A serial line that is lost (an adapter was unplugged, a server ended) is opened again as soon
    as it is there.
    """

    def __init__(self, url: str, baud: int, reporter: Reporter) -> None:
        self._url = url
        self._baud = baud
        self._reporter = reporter
        self._port: SerialPort | None = None
        self._opened_at = self._tried_at = 0.0
        # Of the present connection: what came first. None after something was typed, which may be
        # echoed.
        self._greeting: bytes | None = b""
        # How many times in a row the line was hung up at once.
        self._hung_up = 0
        self._waits_for = ""

    def open(self, *, wait_for_port: bool) -> None:
        check_url(self._url)
        try:
            self._connect()
        except (NoPortError, RefusedError, FailedError) as error:
            if not wait_for_port:
                raise
            self._wait_for(error)

    def history(self) -> bytes:
        return b""

    def read(self) -> bytes:
        if self._port is None:
            self._open_again()
            return b""
        try:
            data = self._port.read()
        except LineLostError as error:
            raise self._lose(error) from error
        if self._greeting is not None and len(self._greeting) < QUOTED:
            self._greeting += data[:QUOTED]
        return data

    def write(self, data: bytes) -> None:
        if self._port is None:
            raise ConnectionLost(f"{self._url}: the serial line is still lost")
        self._greeting = None
        try:
            self._port.write(data)
        except LineLostError as error:
            raise self._lose(error) from error

    def fileno(self) -> int:
        return -1 if self._port is None else self._port.fileno()

    def close(self) -> None:
        if self._port is not None:
            self._port.close()

    def _connect(self) -> None:
        self._tried_at = time.monotonic()
        self._port = SerialPort(self._url, self._baud)
        self._opened_at, self._greeting, self._waits_for = time.monotonic(), b"", ""

    def _lose(self, error: LineLostError) -> ConnectionLost:
        self.close()
        self._port = None
        if time.monotonic() - self._opened_at >= AT_ONCE_S:
            self._hung_up = 0
            return ConnectionLost(f"{error}; it is opened again as soon as it is back")
        self._hung_up += 1
        greeting = (self._greeting or b"").decode("utf-8", "replace").strip()
        sent = f' after it sent "{sanitize_line(greeting)}"' if greeting else ""
        return ConnectionLost(f"{error}, at once{sent}; it is opened again")

    def _open_again(self) -> None:
        time.sleep(REOPEN_S)
        pause = min(REOPEN_S * 2 ** min(max(self._hung_up - 2, 0), 10), MOST_PAUSE_S)
        if time.monotonic() - self._tried_at < pause:
            return
        # No error ends this: the line may become available again.
        try:
            self._connect()
        except BootwrightError as error:
            self._wait_for(error)
            return
        if self._hung_up < 3:
            self._reporter.note(f"{self._url}: the serial line is back")
        raise ConnectionBack

    def _wait_for(self, error: BootwrightError) -> None:
        """Report what the line waits for, once."""
        if str(error) != self._waits_for:
            self._waits_for = str(error)
            self._reporter.warn(f"{error}; waiting for it")
