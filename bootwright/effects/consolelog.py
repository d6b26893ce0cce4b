"""Reading a console's log file while it is being written."""

import fcntl
from pathlib import Path
from types import TracebackType
from typing import Self

from bootwright.errors import FailedError

CHUNK = 64 * 1024
"""Bytes read at a time."""


class ConsoleLog:
    """A log file that another process appends to; read from its beginning, once."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise FailedError(f"{path}: cannot read the console log: {error.strerror}") from error

    def read(self) -> bytes:
        """Return the next bytes, up to :data:`CHUNK`; empty when there are none yet."""
        return self._file.read(CHUNK) or b""

    def lock(self) -> bool:
        """Lock the log for this process; return whether nobody else has.

        The lock ends with :class:`ConsoleLog`'s context, or with the process.
        """
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
