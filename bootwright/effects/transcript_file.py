"""Writing a console's transcript while it happens."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from bootwright.errors import InputError
from bootwright.transcript import Event, Kind, Writer, header_line


class TranscriptFile:
    """A new file that only its owner can read; each line is there as soon as it happened.

    Args:
        path: must not exist yet.
        title: what the transcript is of.
        clock: seconds from some start.

    Raises:
        InputError: it exists, or cannot be made.
    """

    def __init__(self, path: Path, title: str, clock: Callable[[], float] = time.monotonic) -> None:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise InputError(f"{path}: exists already; name a new file for --transcript") from None
        except OSError as error:
            raise InputError(f"{path}: cannot write the transcript: {error.strerror}") from error
        self._file = os.fdopen(descriptor, "w", encoding="utf-8", buffering=1)
        self._clock = clock
        self._begin = clock()
        self._writer = Writer()
        self._file.write(header_line(title, int(time.time())))

    def printed(self, data: bytes) -> None:
        """The board printed ``data``."""
        self._add("o", data)

    def typed(self, data: bytes) -> None:
        """We typed ``data``."""
        self._add("i", data)

    def remark(self, text: str) -> None:
        """Something happened to the line."""
        self._add("m", text.encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.write(self._writer.rest(self._clock() - self._begin))
        self._file.close()

    def _add(self, kind: Kind, data: bytes) -> None:
        self._file.write(self._writer.line(Event(self._clock() - self._begin, kind, data)))
