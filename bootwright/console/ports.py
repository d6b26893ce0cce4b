"""What there is to a console for who works at it: bytes out, bytes in, and cuts."""

from typing import Protocol


class ConnectionLost(Exception):
    """The line is gone; it is opened again by reading on. Says why, for a person."""


class ConsoleLine(Protocol):
    """A board's console, as the session uses it."""

    def history(self) -> bytes:
        """Return what was printed before now, as far as it is known."""
        ...

    def read(self) -> bytes:
        """Return what has come since, after waiting a moment for it.

        Raises:
            LineCut: the line has just gone. While it stays away, nothing is returned.
            FailedError: it is gone for good.
        """
        ...

    def write(self, data: bytes) -> None:
        """Type ``data``.

        Raises:
            LineCut: the line is gone; how much of ``data`` arrived is not known.
        """
        ...


class Recorder(Protocol):
    """Where everything that goes over a console is written down, secrets masked."""

    def printed(self, data: bytes) -> None:
        """The board printed ``data``."""
        ...

    def typed(self, data: bytes) -> None:
        """We typed ``data``."""
        ...

    def remark(self, text: str) -> None:
        """Something happened to the line."""
        ...


class NoRecorder:
    """Writes nothing down."""

    def printed(self, data: bytes) -> None:
        """Drop it."""

    def typed(self, data: bytes) -> None:
        """Drop it."""

    def remark(self, text: str) -> None:
        """Drop it."""
