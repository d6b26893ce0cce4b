"""Reading a console's log file while it is being written."""

from pathlib import Path
from typing import Self

from bootwright.core.errors import FailedError

CHUNK = 64 * 1024
"""Bytes read at a time."""


class ConsoleLog:
    """A log file that another process appends to. Each byte is read once, from the first on."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise FailedError(f"{path}: cannot read the console log: {error.strerror}") from error

    def read(self) -> bytes:
        """Return the next bytes, up to :data:`CHUNK`; empty when there are none yet."""
        return self._file.read(CHUNK) or b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()
