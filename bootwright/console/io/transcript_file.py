"""Writing the transcript of a console, event by event."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from bootwright.console.transcript import Event, Kind, Writer, header_line
from bootwright.core.errors import InputError


def _to_stderr(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr, flush=True)


class TranscriptFile:
    """A new file that only its owner can read; each event is written at once.

    If it cannot be written any more (a full disk), there is one warning and the transcript ends,
    while the command that is recorded goes on.

    Args:
        path: must not exist yet.
        title: the title in the transcript's header.
        clock: returns seconds from some start.
        warn: gets the warning; by default it goes to standard error.

    Raises:
        InputError: it exists, or cannot be created.
    """

    def __init__(
        self,
        path: Path,
        title: str,
        clock: Callable[[], float] = time.monotonic,
        warn: Callable[[str], None] = _to_stderr,
    ) -> None:
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
        self._path = path
        self._warn = warn
        self._ended = False
        self._write(header_line(title, int(time.time())))

    def printed(self, data: bytes) -> None:
        """Record ``data`` that the board printed."""
        self._add("o", data)

    def typed(self, data: bytes) -> None:
        """Record ``data`` that was typed."""
        self._add("i", data)

    def remark(self, text: str) -> None:
        """Record an event, such as a lost connection."""
        self._add("m", text.encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._write(self._writer.rest(self._clock() - self._begin))
        try:
            self._file.close()
        except OSError as error:
            self._stop(error)

    def _add(self, kind: Kind, data: bytes) -> None:
        self._write(self._writer.line(Event(self._clock() - self._begin, kind, data)))

    def _write(self, text: str) -> None:
        if not self._ended:
            try:
                self._file.write(text)
            except OSError as error:
                self._stop(error)

    def _stop(self, error: OSError) -> None:
        if not self._ended:
            self._ended = True
            self._warn(f"{self._path}: {error.strerror}; the transcript ends here")
