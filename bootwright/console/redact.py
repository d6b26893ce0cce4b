"""Masking a secret that was typed, where the console's output repeats it. Pure.

A terminal that still echoes prints what was typed: at once or byte by byte, in one piece or
interrupted by kernel messages and status lines, and perhaps not to its end. The echo begins on
the line where the secret was typed; each further piece begins a later line. A secret that a
board prints in another form (backwards, in capitals) is not recognised.
"""

import re

from bootwright.core.secret import MASK, Secret

PIECE = 3
"""How many characters of a secret in a row are masked where an echo may be. Two are more likely
to be a part of some other word."""

LINES = 6
"""In how many lines pieces of an echo are searched for; the first is the one typed at."""

LONGEST = 8192
"""Bytes of an unfinished line that are held back at most."""

_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_INVISIBLE = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b.|[\x00-\x1f\x7f]| \r", re.DOTALL)


class Redactor:
    """Passes a console's bytes on by whole lines, with every echo of the secrets masked.

    Before a secret is armed nothing is held back.
    """

    def __init__(self) -> None:
        self._secrets: list[bytes] = []
        self._held = b""
        self._lines_left = 0
        self._secret_in_line = False

    def arm(self, secret: Secret) -> None:
        """Mask ``secret`` from now on. Call this before the secret is typed."""
        value = secret.reveal()
        if value and value not in self._secrets:
            self._secrets.append(value)
            # A secret that contains another one is masked first.
            self._secrets.sort(key=len, reverse=True)
        self._lines_left = LINES
        self._secret_in_line = True

    @property
    def expects_echo(self) -> bool:
        """Whether an echo may still be arriving, which :meth:`flush` would split in two."""
        return self._lines_left > 0

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return the lines that are whole."""
        if not self._secrets:
            return data
        self._held += data
        end = self._held.rfind(b"\n") + 1
        if not end and len(self._held) > LONGEST:
            end = len(self._held)
        whole, self._held = self._held[:end], self._held[end:]
        return b"".join(map(self._line, _LINE.findall(whole)))

    def flush(self) -> bytes:
        """Return what was held back; call it when no more output is expected to continue it."""
        held, self._held = self._held, b""
        return self._line(held) if held else b""

    def _line(self, line: bytes) -> bytes:
        columns = _visible(line)
        text = bytes(line[column] for column in columns)
        secret_in_line, self._secret_in_line = self._secret_in_line, False
        echo_expected = self._lines_left > 0
        self._lines_left = max(self._lines_left - 1, 0)
        for secret in self._secrets:
            piece = min(PIECE, len(secret))
            if secret_in_line and any(
                secret[at : at + piece] in text for at in range(len(secret) - piece + 1)
            ):
                return MASK.encode() + _line_end(line)
            while (at := text.find(secret)) >= 0:
                line = _masked(line, columns, at, at + len(secret))
                columns = _visible(line)
                text = bytes(line[column] for column in columns)
            if echo_expected and (length := _piece_at_start(text, secret)) >= piece:
                line = _masked(line, columns, 0, length)
                columns = _visible(line)
                text = bytes(line[column] for column in columns)
        return line


def _visible(line: bytes) -> list[int]:
    """Return the positions of the bytes that a terminal shows."""
    hidden = {at for found in _INVISIBLE.finditer(line) for at in range(*found.span())}
    return [at for at in range(len(line)) if at not in hidden]


def _masked(line: bytes, columns: list[int], begin: int, end: int) -> bytes:
    return line[: columns[begin]] + MASK.encode() + line[columns[end - 1] + 1 :]


def _piece_at_start(text: bytes, secret: bytes) -> int:
    """Return how many characters at the start of ``text`` are a piece of ``secret``."""
    length = 0
    while length < min(len(text), len(secret)) and text[: length + 1] in secret:
        length += 1
    return length


def _line_end(line: bytes) -> bytes:
    return line[len(line.rstrip(b"\r\n")) :]
