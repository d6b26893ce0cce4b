"""A serial line: a device of this machine or a pyserial URL (``socket://``, ``rfc2217://``)."""

import contextlib
import errno
import fcntl
import os
import socket
import stat
import termios
import time
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import serial

from bootwright.console.io.port_users import holder_of
from bootwright.core.errors import FailedError, InputError, RefusedError
from bootwright.core.run_log import event, logged

URL_SCHEMES = ("socket", "rfc2217")
"""Kinds of URL that are accepted. Of the others that pyserial knows, ``spy`` would write what is
typed, a passphrase too, to a file."""

READ_S = 0.1
"""Seconds that a read waits for something to come."""

WRITE_S = 5.0
"""Seconds that a write may take; a USB adapter whose flow control is stuck never ends."""

GATHER_S = 0.02
"""Seconds to wait after the first byte before the rest is read. Without it, a board that prints
would wake us for every one to ten bytes, which costs more than 1 % of a core."""

CHUNK = 4096
"""Bytes read at a time."""

KEEPALIVE = {
    "TCP_KEEPIDLE": 15,
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 30_000,
}
"""tcp(7): a server that vanishes without closing the connection is noticed after 30 s: by the
first three (seconds and a number) if nothing was sent to it, else by the last (milliseconds).
Without that, what was sent would be repeated for 15 minutes."""


class LineLostError(FailedError):
    """A serial line that was open is lost."""


class NoPortError(InputError):
    """There is no such serial port at the moment."""


class SerialPort:
    """An open serial line; close it, or use it as a context manager.

    Args:
        url: a device path or a pyserial URL.
        baud: bits per second; not used for a socket.

    Raises:
        NoPortError: no such device.
        InputError: an unknown kind of URL, or a speed that the device does not know.
        RefusedError: another program has the device open.
        FailedError: the device or the server cannot be opened.
    """

    def __init__(self, url: str, baud: int) -> None:
        self.url = url
        self._read_bytes = self._writes = 0
        check_url(url)
        if "://" not in url and (holder := holder_of(Path(url))):
            raise RefusedError(f"{url}: {holder} has this serial port open; end it first")
        try:
            self._port = serial.serial_for_url(
                url,
                do_not_open=True,
                baudrate=baud,
                timeout=READ_S,
                # pyserial does not support it for RFC 2217.
                write_timeout=None if url.startswith("rfc2217:") else WRITE_S,
                # A device is locked (flock). A server decides whether it takes another client.
                exclusive=None if "://" in url else True,
            )
            if "://" in url:
                # pyserial would discard what a server sends first; it may be the prompt.
                self._port.reset_input_buffer = _nothing  # type: ignore[method-assign]
            with logged("serial", "open", url=url, baud=baud):
                self._port.open()
            self._reserve()
        except serial.SerialException as error:
            raise _open_error(url, error) from error
        except ValueError as error:
            raise InputError(f"{url}: not a serial line: {error}") from error

    def read(self) -> bytes:
        """Return what has come, after waiting for at most :data:`READ_S` seconds.

        Raises:
            LineLostError: the line is lost.
        """
        data = self._read()
        self._read_bytes += len(data)
        return data

    def _read(self) -> bytes:
        try:
            data = bytearray(self._port.read(1))
        except (serial.SerialException, OSError) as error:
            raise self._lost(error) from error
        # What came before the line was lost is returned; the next read raises the error.
        with contextlib.suppress(serial.SerialException, OSError):
            if data:
                time.sleep(GATHER_S)
            while data and len(data) < CHUNK and (waiting := self._port.in_waiting):
                data += self._port.read(waiting)
        return bytes(data)

    def write(self, data: bytes) -> None:
        """Send ``data``; the caller keeps it out of logs if it is secret.

        Raises:
            LineLostError: the line is lost, or accepts no data.
        """
        try:
            self._port.write(data)
            self._port.flush()
            self._writes += 1
        except (serial.SerialException, OSError) as error:
            raise self._lost(error) from error

    def fileno(self) -> int:
        """Return a descriptor that is readable when something has come; -1 if there is none."""
        connection = getattr(self._port, "_socket", None)
        if isinstance(connection, socket.socket):
            # For RFC 2217, pyserial reads the socket in a thread of its own.
            return -1 if self.url.startswith("rfc2217:") else connection.fileno()
        number: int = self._port.fileno() if hasattr(self._port, "fileno") else -1
        return number

    def close(self) -> None:
        """Close the line."""
        if "://" not in self.url and self._port.is_open:
            # A pseudo-terminal would stay reserved after it is closed.
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._port.fileno(), termios.TIOCNXCL)
        if self._port.is_open:
            # Not how long what was written is: it may be a passphrase.
            event("serial", "close", url=self.url, read=self._read_bytes, writes=self._writes)
        self._port.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _reserve(self) -> None:
        """Keep other programs from opening a device; have a vanished server noticed."""
        if "://" not in self.url:
            # For programs that do not use flock. It has no effect on root's.
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._port.fileno(), termios.TIOCEXCL)
        connection = getattr(self._port, "_socket", None)
        if isinstance(connection, socket.socket):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in KEEPALIVE.items():
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def _lost(self, error: Exception) -> LineLostError:
        event("serial", "lost", url=self.url, error=str(error))
        return LineLostError(
            f"{self.url}: the serial line was lost ({error}); check the cable and the power"
        )


def check_port(url: str) -> None:
    """Raise unless the serial line can probably be opened; a server is not asked.

    A device is not opened for this, because that may change its control lines.

    Raises:
        NoPortError: no such device.
        InputError: it is not a serial line.
        RefusedError: another program has the device open.
        FailedError: we may not use the device.
    """
    check_url(url)
    if "://" in url:
        return
    try:
        if not stat.S_ISCHR(Path(url).stat().st_mode):
            raise InputError(f"{url}: not a serial port, but a file or folder")
    except OSError as error:
        raise _open_error(url, error) from error
    if holder := holder_of(Path(url)):
        raise RefusedError(f"{url}: {holder} has this serial port open; end it first")
    if not os.access(url, os.R_OK | os.W_OK):
        raise _open_error(url, OSError(errno.EACCES, os.strerror(errno.EACCES)))


def check_url(url: str) -> None:
    """Raise InputError for a URL of another kind, or without a host or a valid port."""
    if "://" not in url:
        return
    scheme = url.partition("://")[0]
    if scheme not in URL_SCHEMES:
        raise InputError(
            f"{url}: not a serial line: {scheme}:// is not supported; give a device such as"
            f" /dev/ttyUSB0, or {' or '.join(f'{name}://host:port' for name in URL_SCHEMES)}"
        )
    try:
        parts = urlsplit(url)
        complete = bool(parts.hostname and parts.port)
    except ValueError:
        complete = False
    if not complete:
        raise InputError(f"{url}: write it like {url.partition(':')[0]}://host:port")


def _nothing() -> None:
    return None


def _open_error(url: str, error: OSError) -> InputError | RefusedError | FailedError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return NoPortError(
            f"{url}: there is no such serial port; is the adapter plugged in? "
            "/dev/serial/by-id lists those that are"
        )
    if error.errno in (errno.EBUSY, errno.EAGAIN):
        return RefusedError(f"{url}: another program has this serial port open; end it first")
    if error.errno == errno.EACCES:
        return FailedError(f"{url}: no permission; join the group that owns it (`dialout`)")
    return FailedError(f"{url}: cannot open the serial line: {error}")
