"""A secret that cannot be printed by accident, and masking it in texts that may contain it."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import quote

from bootwright.core.text import sanitize_line, sanitize_text

MASK = "***"
"""Replaces a secret of any length."""

_MIN_MASKED = 4
"""The shortest secret, in characters, that is masked by itself: a shorter one is part of many
ordinary words, so masking it would make a text unreadable."""

_MAX_ONE_LINE = 1024
"""The longest secret of one line, in bytes, that is also masked in other notations; a passphrase
has 511 at most."""


@dataclass(frozen=True)
class _Prepared:
    """The texts by which secrets are recognised.

    Attributes:
        secrets: how many secrets these are of, in the order in which they were added.
        forms: the texts of at least :data:`_MIN_MASKED` characters; the longest first.
        short: the shorter ones.
    """

    secrets: int = 0
    forms: tuple[str, ...] = ()
    short: tuple[str, ...] = ()


class Masker:
    """Masks the secrets of this process in texts that may contain them.

    A secret of one line is masked as it is and in the notations that tools may print it in: JSON,
    Python, shell quotes, hexadecimal, percent-encoding, and base64, also inside a longer base64
    text. Of a secret of several lines, such as a private key, each line with at least four
    characters is masked. Binary data is not masked: it is an archive, and each secret in it is a
    :class:`Secret` of its own.
    """

    def __init__(self) -> None:
        self._values: dict[bytes, None] = {}
        self._prepared = _Prepared()

    def add(self, value: bytes) -> None:
        """Mask ``value`` from now on."""
        if value and b"\0" not in value:
            self._values[value] = None

    def forget(self) -> None:
        """Forget all secrets that were added; for tests."""
        self._values.clear()
        self._prepared = _Prepared()

    @property
    def longest(self) -> int:
        """Characters of the longest text that is masked."""
        prepared = self._prepare()
        return max(map(len, (*prepared.forms, *prepared.short)), default=0)

    def mask(self, text: str, *, keep_short: bool = False) -> str:
        """Return ``text`` with ``***`` in place of each secret.

        A secret of less than four characters is part of many words. A text that contains one is
        either replaced as a whole, or left unchanged.

        Args:
            text: a text that may contain a secret.
            keep_short: do not mask secrets of less than four characters; for a message that the
                operator needs.
        """
        prepared = self._prepare()
        if not keep_short and any(form in text for form in prepared.short):
            return "(not shown: it may hold a short secret)"
        for form in prepared.forms:
            text = text.replace(form, MASK)
        return text

    def _prepare(self) -> "_Prepared":
        """Return the texts to mask, with those of the secrets that were added since."""
        before, values = self._prepared, list(self._values)  # a copy: another thread may add one
        if len(values) == before.secrets:
            return before
        forms = {form for value in values[before.secrets :] for form in _forms(value)}
        long = {form for form in forms if len(form) >= _MIN_MASKED}
        # Assigned below as one value: if another thread does the same, no secret is lost.
        prepared = _Prepared(
            len(values),
            # The longest first: one form may contain another.
            tuple(sorted(long.union(before.forms), key=len, reverse=True)),
            tuple({*before.short, *(forms - long)}),
        )
        self._prepared = prepared
        return prepared


def _forms(value: bytes) -> Iterator[str]:
    """Yield each text by which a secret is recognised."""
    text = value.decode("utf-8", "replace").strip("\r\n")
    # Not splitlines(): for it, characters end a line that may be in the middle of a passphrase.
    lines = text.split("\n")
    if len(lines) > 1 or len(value) > _MAX_ONE_LINE:
        yield from (line for line in map(str.strip, lines) if len(line) >= _MIN_MASKED)
        return
    yield text
    # Who quotes a board often removes the blanks at the ends first.
    for word in {text, text.strip()}:
        if len(word) >= _MIN_MASKED:
            yield from _notations(word)


def _notations(text: str) -> Iterator[str]:
    value = text.encode()
    yield text
    yield sanitize_line(text)
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield repr(text)[1:-1]
    yield repr(value)[2:-1]
    yield text.replace("'", "'\"'\"'")
    yield text.replace("'", "'\\''")
    yield quote(value, safe="")
    yield value.hex()
    yield value.hex().upper()
    for shift in range(3):
        # In base64, three bytes are four characters; those that also hold bits of what is around
        # the secret are left out.
        code = base64.b64encode(bytes(shift) + value)
        inner = code[(0, 2, 3)[shift] : (shift + len(value)) * 8 // 6].decode()
        if len(inner) >= _MIN_MASKED:
            yield inner
            yield inner.replace("+", "-").replace("/", "_")


MASKER = Masker()
"""The masker that has all secrets of this process."""


def mask(text: str) -> str:
    """Return a text for the operator with ``***`` for each secret of this process.

    A secret of less than four characters stays: it is part of many words.
    """
    return MASKER.mask(text, keep_short=True)


def printable(text: str) -> str:
    """Return a text of several lines that is safe to print: masked, without control sequences."""
    return sanitize_text(mask(text))


class Secret:
    """Bytes that are printed as ``***``; only :meth:`reveal` returns them.

    Call :meth:`reveal` only where the bytes are written to a child's standard input, a file
    descriptor or a serial line.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value
        MASKER.add(value)

    def reveal(self) -> bytes:
        """Return the bytes themselves."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(Secret)

    def __len__(self) -> int:
        return len(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be serialised")


def without_passphrase(problem: str, passphrase: str) -> str:
    """Return a problem's text, which quotes the board's output, without the passphrase.

    A passphrase of less than four characters is part of many words: if it occurs, the quotation is
    left out.
    """
    if len(passphrase) >= _MIN_MASKED:
        return problem.replace(passphrase, MASK)
    if passphrase in problem:
        return f"{problem.partition(':')[0]} (the rest may contain the passphrase: not shown)"
    return problem
