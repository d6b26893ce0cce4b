"""Reading a gzip file from any position, with little memory.

gzip can be decompressed only from its beginning. So it is decompressed once, without keeping the
content, and at equal distances the state of the decompressor is kept. From such a state the content
of one section can be made again.
"""

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from bootwright.core.errors import FailedError

SECTION_BYTES = 8 << 20
"""Bytes of content between two kept states. Two sections are in memory at the most."""

MAX_STATES = 256
"""The most kept states, 40 KiB each. If there are more, every second one is dropped, so that the
sections of a very large file are larger."""

_READ_BYTES = 1 << 16
"""How many bytes of the file are read at once."""

_PART_BYTES = 1 << 18
"""How many bytes of content are made at once."""

_GZIP = 31
"""zlib's ``wbits`` for the gzip format."""


@dataclass(frozen=True)
class _State:
    """A place in the file from which decompression can continue.

    Attributes:
        position: the byte of the content.
        file_position: the byte of the file that is read next.
        inflate: the decompressor; :meth:`PackedReader._inflated` changes it.
    """

    position: int
    file_position: int
    inflate: "zlib._Decompress"


class PackedReader:
    """A gzip file that can be read like a file with its content.

    Args:
        file: the gzip file.
        before: content from this byte on is not needed; the file is decompressed up to there only.

    Raises:
        FailedError: the file is damaged.
        OSError: the file cannot be read.
    """

    def __init__(self, file: Path, before: int) -> None:
        self._file = file
        self._raw: BinaryIO = file.open("rb")
        self._distance = SECTION_BYTES
        self._states: list[_State] = []
        self._sections: dict[int, bytes] = {}
        self._position = 0
        try:
            self._size = self._first_pass(before)
        except BaseException:
            self._raw.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._raw.close()

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        """Set the position in the content, and return it; as that of a file."""
        self._position = position + (self._size if whence == os.SEEK_END else 0)
        return self._position

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes of the content; fewer at its end."""
        end = min(self._position + size, self._size)
        parts = []
        while self._position < end:
            number = self._section_of(self._position)
            start = self._position - self._states[number].position
            part = self._section(number)[start : start + end - self._position]
            if not part:
                raise self._damaged("it has changed")
            parts.append(part)
            self._position += len(part)
        return b"".join(parts)

    def _first_pass(self, before: int) -> int:
        """Keep the states, and return the size of the content (up to ``before`` or a bit more)."""
        position = 0
        for state, part in self._inflated(_State(0, 0, zlib.decompressobj(_GZIP))):
            if not self._states or state.position - self._states[-1].position >= self._distance:
                self._states.append(state)
                if len(self._states) > MAX_STATES:
                    self._distance *= 2
                    self._states = self._states[::2]
            position = state.position + len(part)
            if position >= before:
                break
        return position

    def _section_of(self, position: int) -> int:
        low, high = 0, len(self._states) - 1
        while low < high:
            middle = (low + high + 1) // 2
            if self._states[middle].position <= position:
                low = middle
            else:
                high = middle - 1
        return low

    def _section(self, number: int) -> bytes:
        if number not in self._sections:
            if len(self._sections) == 2:
                # Reading goes backwards, so the later one is not needed any more.
                del self._sections[max(self._sections)]
            start = self._states[number]
            state = replace(start, inflate=start.inflate.copy())
            last = number + 1 == len(self._states)
            end = self._size if last else self._states[number + 1].position
            parts, length = [], 0
            for _, part in self._inflated(state):
                parts.append(part)
                length += len(part)
                if length >= end - start.position:
                    break
            self._sections[number] = b"".join(parts)[: end - start.position]
        return self._sections[number]

    def _inflated(self, state: _State) -> Iterator[tuple[_State, bytes]]:
        """Yield the content from a state on, each part with a state that begins with it."""
        inflate, rest = state.inflate, b""
        position, file_position = state.position, state.file_position
        started = file_position > 0
        try:
            while True:
                if inflate.eof:
                    # Zeros may follow, or the next one of several gzip files in one.
                    rest = rest.lstrip(b"\0")
                    if rest:
                        inflate = zlib.decompressobj(_GZIP)
                if not rest:
                    self._raw.seek(file_position)
                    rest = self._raw.read(_READ_BYTES)
                    file_position += len(rest)
                    if rest and inflate.eof:
                        continue
                    if not rest and (inflate.eof or not started):
                        return
                started = True
                before = _State(position, file_position - len(rest), inflate.copy())
                part = inflate.decompress(rest, _PART_BYTES)
                # At the end of the file the decompressor may still have content.
                if not rest and not part and not inflate.eof:
                    raise self._damaged("it ends too early")
                rest = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
                if part:
                    yield before, part
                    position += len(part)
        except zlib.error as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, why: str) -> FailedError:
        return FailedError(f"{self._file} is damaged: {why}; move it away to read the other files")
