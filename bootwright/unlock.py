"""Unlocking a board's encrypted volume: ``inv unlock``.

Here is what the task calls: it opens the serial line and hands it to
:class:`~bootwright.unlock_session.UnlockSession`, which holds the rules.
"""

import contextlib
from collections.abc import Iterator

from bootwright.console.boot import BootWatcher
from bootwright.console.line import ConsoleLine as Console
from bootwright.effects.consolelog import ConsoleLog
from bootwright.effects.serialport import SerialPort
from bootwright.endpoints import Endpoint
from bootwright.errors import InputError, RefusedError
from bootwright.passphrase import check_typeable
from bootwright.report import Reporter
from bootwright.secret import Secret
from bootwright.unlock_result import UnlockResult
from bootwright.unlock_session import UnlockSession


def unlock(
    endpoint: Endpoint, passphrase: Secret, *, timeout: float, reporter: Reporter
) -> UnlockResult:
    """Wait for the prompt of the board's encrypted volume and answer it, once.

    Args:
        endpoint: the board; its serial line is used.
        passphrase: typed at the prompt and nowhere else.
        timeout: seconds for the whole, from now.
        reporter: where to tell what is done.

    Raises:
        InputError: the target has no serial line, or the passphrase cannot be typed.
        RefusedError: another program uses the console.
        FailedError: the serial line cannot be opened or was lost.
    """
    check_serial(endpoint)
    check_typeable(passphrase.reveal(), endpoint.name)
    with _open(endpoint) as console:
        session = UnlockSession(
            target=endpoint.name,
            watcher=BootWatcher(endpoint.volume, endpoint.mount),
            console=console,
            passphrase=passphrase,
            timeout=timeout,
            reporter=reporter,
        )
        return session.run()


def check_serial(endpoint: Endpoint) -> None:
    """Raise unless the board asks for the passphrase on a serial line that is known.

    Raises:
        InputError: it does not, or there is none; says what to do.
    """
    if endpoint.unlock == "ssh":
        raise InputError(
            f"the card of {endpoint.name!r} does not ask for the passphrase at boot"
            f' (unlock = "ssh"); open the volume over SSH: inv ssh {endpoint.name}'
        )
    if endpoint.serial_url is None:
        raise InputError(
            f"target {endpoint.name!r} has no serial port: set serial_port in bootwright.toml, or"
            " give --port (such as /dev/ttyUSB0)"
        )


class _LoggedConsole:
    """A console whose server logs all that it prints, before and after a client connects.

    The log alone is read: it misses nothing and has nothing twice. What the socket
    brings is the same again; it is read and dropped, for the server would wait.
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


class _LiveConsole:
    """A console of which only what comes from now on can be known."""

    def __init__(self, port: SerialPort) -> None:
        self._port = port
        self.read = port.read
        self.write = port.write

    def history(self) -> bytes:
        return b""


@contextlib.contextmanager
def _open(endpoint: Endpoint) -> Iterator[Console]:
    assert endpoint.serial_url is not None
    with contextlib.ExitStack() as stack:
        log = None
        if endpoint.console_history is not None:
            log = stack.enter_context(ConsoleLog(endpoint.console_history))
            # The server takes one client at a time and would let a second one wait.
            if not log.lock():
                raise RefusedError(
                    f"another `inv unlock` is using the console of {endpoint.name}; "
                    "wait for it to end"
                )
        port = stack.enter_context(SerialPort(endpoint.serial_url, endpoint.baud))
        yield _LiveConsole(port) if log is None else _LoggedConsole(port, log)
