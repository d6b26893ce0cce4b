"""What code that works at a console needs from it: bytes in, bytes out, a lost connection."""

from typing import Protocol


class ConnectionLost(Exception):
    """The connection to the console was lost; reading opens it again. Its text says why."""


class ConnectionBack(Exception):
    """The connection to the console is open: again, or for the first time, if it was waited for."""


class ConsoleLine(Protocol):
    """A board's console, as the session uses it."""

    def history(self) -> bytes:
        """Return what was printed before now, as far as it is known."""
        ...

    def read(self) -> bytes:
        """Return what has come since the last call, after waiting a moment for it.

        Raises:
            ConnectionLost: the connection has just been lost. While it is, nothing is returned.
            ConnectionBack: it has just been opened; what was printed before is missing.
            FailedError: it is lost for good.
        """
        ...

    def write(self, data: bytes) -> None:
        """Type ``data``.

        Raises:
            ConnectionLost: the connection is lost; how much of ``data`` arrived is not known.
        """
        ...


class Recorder(Protocol):
    """Where everything that goes over a console is recorded, secrets masked."""

    def printed(self, data: bytes) -> None:
        """Record ``data`` that the board printed."""
        ...

    def typed(self, data: bytes) -> None:
        """Record ``data`` that was typed."""
        ...

    def remark(self, text: str) -> None:
        """Record an event, such as a lost connection."""
        ...


class NoRecorder:
    """Records nothing."""

    def printed(self, data: bytes) -> None:
        """Ignore it."""

    def typed(self, data: bytes) -> None:
        """Ignore it."""

    def remark(self, text: str) -> None:
        """Ignore it."""
