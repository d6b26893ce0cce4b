"""A target's console, opened for one program at a time: a serial line, or a server with a log."""

import contextlib
import time
from collections.abc import Iterator
from typing import Protocol

from bootwright.console.io.lock import console_lock
from bootwright.console.io.log_file import ConsoleLog
from bootwright.console.io.serial_port import LineLostError, NoPortError, SerialPort
from bootwright.console.ports import ConnectionLost, ConsoleLine
from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import BootwrightError, FailedError, InputError
from bootwright.core.report import Reporter

REOPEN_S = 0.5
"""Seconds between attempts to open a serial line that was lost."""


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
        wait_for_port: if the port is not there or cannot be opened, wait for it as for one that
            was lost.

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

    def open(self, *, wait_for_port: bool) -> None:
        try:
            self._port = SerialPort(self._url, self._baud)
        except (NoPortError, FailedError) as error:
            if not wait_for_port:
                raise
            self._reporter.warn(f"{error}; waiting for it")

    def history(self) -> bytes:
        return b""

    def read(self) -> bytes:
        if self._port is None:
            self._open_again()
            return b""
        try:
            return self._port.read()
        except LineLostError as error:
            raise self._lose(error) from error

    def write(self, data: bytes) -> None:
        if self._port is None:
            raise ConnectionLost(f"{self._url}: the serial line is still lost")
        try:
            self._port.write(data)
        except LineLostError as error:
            raise self._lose(error) from error

    def fileno(self) -> int:
        return -1 if self._port is None else self._port.fileno()

    def close(self) -> None:
        if self._port is not None:
            self._port.close()

    def _lose(self, error: LineLostError) -> ConnectionLost:
        self.close()
        self._port = None
        return ConnectionLost(f"{error}; it is opened again as soon as it is back")

    def _open_again(self) -> None:
        time.sleep(REOPEN_S)
        # No error ends this: the line was open before, so it may become available again.
        with contextlib.suppress(BootwrightError):
            self._port = SerialPort(self._url, self._baud)
            self._reporter.note(f"{self._url}: the serial line is back")
