"""Masking a secret that was typed, in what comes back from the console. Pure.

A terminal that still echoes sends back what was typed: at once, in one piece or with
kernel messages and status lines cut into it, and perhaps not to its end. What is
released here holds no echo of a secret, nor :data:`SHOWN` characters of one in a row.
"""

from itertools import pairwise

from bootwright.secret import Secret
from bootwright.transcript import MASK

SHOWN = 3
"""The beginning of a secret of this length is masked, although the rest did not come; a
shorter one is as likely another word's."""

CUTS = 4
"""Foreign lines that may cut in between two pieces of an echo."""

REACH = 1000
"""Bytes of foreign lines to look through for the next piece."""


class Redactor:
    """Passes a console's bytes on, with every echo of the armed secrets masked.

    Bytes that may become an echo are held back until that is decided, or until
    :meth:`flush`; the caller flushes when nothing has come for a while.
    """

    def __init__(self) -> None:
        self._secrets: list[bytes] = []
        self._held = b""

    def arm(self, secret: Secret) -> None:
        """Mask ``secret`` from now on. Call it before typing it."""
        value = secret.reveal()
        if value and value not in self._secrets:
            self._secrets.append(value)
            # What contains another is looked for first.
            self._secrets.sort(key=len, reverse=True)

    @property
    def holds(self) -> bool:
        """Whether bytes are held back."""
        return bool(self._held)

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return those that are decided."""
        if not self._secrets:
            return data
        self._held += data
        return self._release(final=False)

    def flush(self) -> bytes:
        """Return what was held back: nothing more is coming that could belong to it."""
        return self._release(final=True)

    def _release(self, *, final: bool) -> bytes:
        done = bytearray()
        at = 0
        while at < len(self._held):
            echo = self._echo_at(at, final)
            if echo is None:
                break
            if echo.pieces:
                done += _masked(self._held, echo)
                at = echo.pieces[-1][1]
            else:
                done.append(self._held[at])
                at += 1
        self._held = self._held[at:]
        return bytes(done)

    def _echo_at(self, at: int, final: bool) -> "_Echo | None":
        """Return the echo that begins at ``at``, an empty one, or ``None`` if undecided."""
        for secret in self._secrets:
            if self._held[at] != secret[0]:
                continue
            echo = _follow(self._held, at, secret)
            if echo.undecided and not final:
                return None
            if echo.length == len(secret) or echo.length >= SHOWN:
                return echo
        return _Echo([], 0, undecided=False)


class _Echo:
    """Pieces of a secret: from and up to where, and how much of it they make together."""

    def __init__(self, pieces: list[tuple[int, int]], length: int, *, undecided: bool) -> None:
        self.pieces = pieces
        self.length = length
        self.undecided = undecided


def _follow(data: bytes, at: int, secret: bytes) -> _Echo:
    """Return how far ``secret`` is found in ``data`` from ``at`` on, with foreign lines in it."""
    pieces: list[tuple[int, int]] = []
    length, cuts = 0, 0
    begin = at
    while True:
        end = begin
        while end < len(data) and length < len(secret) and data[end] == secret[length]:
            end += 1
            length += 1
        if end > begin:
            pieces.append((begin, end))
            cuts = 0
        if length == len(secret):
            return _Echo(pieces, length, undecided=False)
        line_break = data.find(b"\n", end)
        if line_break < 0 or line_break + 1 == len(data):
            near = len(data) - end <= REACH and cuts < CUTS
            return _Echo(pieces, length, undecided=near)
        cuts += 1
        begin = line_break + 1
        if cuts > CUTS or begin - pieces[-1][1] > REACH:
            return _Echo(pieces, length, undecided=False)


def _masked(data: bytes, echo: _Echo) -> bytes:
    """Return the bytes of an echo with :data:`MASK` for its pieces; foreign lines stay."""
    done = MASK.encode()
    for (_, end), (begin, _) in pairwise(echo.pieces):
        done += data[end:begin]
    return done
