"""Masking a secret that was typed, in what comes back from the console. Pure.

A terminal that still echoes sends back what was typed: at once or byte by byte, in one piece
or with kernel messages and status lines cut into it, and perhaps not to its end. The echo
begins on the line where it was typed; each further piece begins a later line. What a board
makes of a secret otherwise (backwards, in capitals) cannot be known.
"""

import re

from bootwright.core.secret import MASK, Secret

PIECE = 3
"""Characters of a secret in a row that are masked where an echo may be; fewer are as likely
another word's."""

LINES = 6
"""Lines, from the one that was typed at on, in which pieces of an echo are looked for."""

LONGEST = 8192
"""Bytes of one line that are held back."""

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
        self._typed_at = False

    def arm(self, secret: Secret) -> None:
        """Mask ``secret`` from now on. Call it before typing it."""
        value = secret.reveal()
        if value and value not in self._secrets:
            self._secrets.append(value)
            # What contains another is looked for first.
            self._secrets.sort(key=len, reverse=True)
        self._lines_left = LINES
        self._typed_at = True

    @property
    def watchful(self) -> bool:
        """Whether an echo may still be on its way; :meth:`flush` would cut it in two."""
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
        """Return what was held back: nothing more is coming that could belong to it."""
        held, self._held = self._held, b""
        return self._line(held) if held else b""

    def _line(self, line: bytes) -> bytes:
        places = _visible(line)
        text = bytes(line[place] for place in places)
        typed_at, self._typed_at = self._typed_at, False
        watched = self._lines_left > 0
        self._lines_left = max(self._lines_left - 1, 0)
        for secret in self._secrets:
            piece = min(PIECE, len(secret))
            if typed_at and any(
                secret[at : at + piece] in text for at in range(len(secret) - piece + 1)
            ):
                return MASK.encode() + _line_end(line)
            while (at := text.find(secret)) >= 0:
                line = _masked(line, places, at, at + len(secret))
                places = _visible(line)
                text = bytes(line[place] for place in places)
            if watched and (length := _piece_at_start(text, secret)) >= piece:
                line = _masked(line, places, 0, length)
                places = _visible(line)
                text = bytes(line[place] for place in places)
        return line


def _visible(line: bytes) -> list[int]:
    """Return where the characters are that a terminal shows."""
    hidden = {at for found in _INVISIBLE.finditer(line) for at in range(*found.span())}
    return [at for at in range(len(line)) if at not in hidden]


def _masked(line: bytes, places: list[int], begin: int, end: int) -> bytes:
    return line[: places[begin]] + MASK.encode() + line[places[end - 1] + 1 :]


def _piece_at_start(text: bytes, secret: bytes) -> int:
    """Return how much of ``secret``, from anywhere in it, ``text`` begins with."""
    length = 0
    while length < min(len(text), len(secret)) and text[: length + 1] in secret:
        length += 1
    return length


def _line_end(line: bytes) -> bytes:
    return line[len(line.rstrip(b"\r\n")) :]
