"""A pseudo-terminal that a client opens as if it were a serial port."""

import errno
import os
import pty
import select
import time
import tty
from pathlib import Path
from typing import Self

from bootwright.core.errors import InputError

CHUNK = 4096
"""Bytes read at a time."""

PENDING = 64 * 1024
"""Bytes that are kept for a client that does not read. A real serial line keeps none."""


class PtyLine:
    """The board's end of a pseudo-terminal; use it as a context.

    The client's end is not kept open here, so that any client can open it.

    Args:
        link: a symbolic link to make to the device; removed at the end.

    Attributes:
        device: the path that a client opens.

    Raises:
        InputError: there is something at ``link`` already.
    """

    def __init__(self, link: Path | None = None) -> None:
        self._link = link
        self._pending = b""
        if link is not None and link.is_symlink() and _is_left_over(link):
            link.unlink()
        if link is not None and (link.exists() or link.is_symlink()):
            raise InputError(f"{link}: it exists; give --link a path that is free")
        self._open()
        if link is not None:
            try:
                link.symlink_to(self.device)
            except OSError as error:
                os.close(self._ours)
                raise InputError(f"{link}: cannot make the link: {error.strerror}") from error

    def _open(self) -> None:
        self._ours, theirs = pty.openpty()
        # The setting stays when this end is closed, as long as ours is open.
        tty.setraw(theirs)
        self.device = Path(os.ttyname(theirs))
        os.close(theirs)
        os.set_blocking(self._ours, False)
        self._poll = select.poll()
        self._poll.register(self._ours, select.POLLIN)

    def has_client(self) -> bool:
        """Return whether a client has the device open."""
        return not any(events & select.POLLHUP for _, events in self._poll.poll(0))

    def wait(self, seconds: float) -> None:
        """Wait until the client has typed something, for at most ``seconds``."""
        if self.has_client():
            self._poll.poll(max(seconds, 0) * 1000)
        else:
            # Without a client, poll() returns at once.
            time.sleep(max(seconds, 0))

    def read(self) -> bytes:
        """Return what the client has typed; empty if nothing."""
        try:
            return os.read(self._ours, CHUNK)
        except OSError as error:
            if error.errno in (errno.EIO, errno.EAGAIN):
                return b""
            raise

    def write(self, data: bytes) -> None:
        """Print ``data``; nobody gets it if there is no client."""
        self._pending = (self._pending + data)[-PENDING:] if self.has_client() else b""
        if self._pending:
            try:
                self._pending = self._pending[os.write(self._ours, self._pending) :]
            except BlockingIOError:
                return

    def free(self) -> bool:
        """Make the device ready for the next client; return whether its path is a new one.

        A client may have reserved it for itself (``TIOCEXCL``). On a real port this ends when
        the client closes it, on a pseudo-terminal it does not.
        """
        try:
            os.close(os.open(self.device, os.O_RDWR | os.O_NOCTTY))
        except OSError:
            os.close(self._ours)
            self._open()
            if self._link is not None:
                self._link.unlink(missing_ok=True)
                self._link.symlink_to(self.device)
            return True
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._ours)
        if self._link is not None and self._link.is_symlink():
            self._link.unlink()


def _is_left_over(link: Path) -> bool:
    """Whether a simulator that was killed left the link: its pseudo-terminal is gone."""
    return link.readlink().parent == Path("/dev/pts") and not link.exists()
