"""A secret that cannot be shown by accident, and its mask in a text that may repeat it."""

import base64
import json
from collections.abc import Iterator
from typing import NoReturn
from urllib.parse import quote

MASK = "***"
"""What stands for a secret, whatever its length."""

_MASKABLE = 4
"""Characters from which on a secret may be masked in a text that stays readable."""

_MAX_WORD = 1024
"""Bytes up to which a secret of one line is also looked for in other notations; a passphrase has
511 at most."""


class Masker:
    """Masks every secret that this process has had, wherever a text repeats it.

    A secret of one line is found as it is and in the notations in which a tool may repeat it:
    JSON, Python, shell quotes, hexadecimal, percent signs, and base64, also in the middle of a
    longer base64 text. Of a secret of several lines, such as a private key, each line is found
    that has four characters at least. One that is no text is not looked for: it is an archive, and
    what is secret in it is a :class:`Secret` by itself.
    """

    def __init__(self) -> None:
        self._values: dict[bytes, None] = {}
        self._prepared = 0
        self._forms: tuple[str, ...] = ()
        self._short: tuple[str, ...] = ()

    def add(self, value: bytes) -> None:
        """Mask ``value`` from now on."""
        if value and b"\0" not in value:
            self._values[value] = None

    def forget(self) -> None:
        """Mask nothing that was added before; for tests."""
        self._values.clear()
        self._prepared, self._forms, self._short = 0, (), ()

    @property
    def longest(self) -> int:
        """Characters of the longest text that is masked."""
        self._prepare()
        return max(map(len, (*self._forms, *self._short)), default=0)

    def mask(self, text: str, *, keep_short: bool = False) -> str:
        """Return ``text`` with ``***`` for each secret.

        A secret of less than four characters is part of many a word. A text in which it occurs is
        replaced as a whole, or left as it is.

        Args:
            text: what may repeat a secret.
            keep_short: leave secrets of less than four characters; for a message that the operator
                needs.
        """
        self._prepare()
        if not keep_short and any(form in text for form in self._short):
            return "(not shown: it may hold a short secret)"
        for form in self._forms:
            text = text.replace(form, MASK)
        return text

    def _prepare(self) -> None:
        values = list(self._values)  # a copy: another thread may add one
        if len(values) == self._prepared:
            return
        forms = {form for value in values for form in _forms(value)}
        self._short = tuple(form for form in forms if len(form) < _MASKABLE)
        # What contains another is replaced first.
        long = [form for form in forms if len(form) >= _MASKABLE]
        self._forms = tuple(sorted(long, key=len, reverse=True))
        self._prepared = len(values)


def _forms(value: bytes) -> Iterator[str]:
    """Yield each text by which a secret is recognised."""
    text = value.decode("utf-8", "replace")
    lines = text.splitlines()
    if len(lines) > 1 or len(value) > _MAX_WORD:
        yield from (line for line in map(str.strip, lines) if len(line) >= _MASKABLE)
        return
    text = text.removesuffix("\n").removesuffix("\r")
    yield text
    if len(text) < _MASKABLE:
        return
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
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
        if len(inner) >= _MASKABLE:
            yield inner
            yield inner.replace("+", "-").replace("/", "_")


MASKER = Masker()
"""Knows all secrets of this process."""


class Secret:
    """Bytes that print as ``***`` and leave only through :meth:`reveal`.

    Call :meth:`reveal` at the edge alone: when writing to a child's standard
    input, a file descriptor or a serial line.
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


def without_passphrase(trouble: str, passphrase: str) -> str:
    """Return an outcome's trouble, which quotes what the board wrote, without the passphrase.

    A short passphrase is in many a word: the quotation is left out then.
    """
    if len(passphrase) >= _MASKABLE:
        return trouble.replace(passphrase, MASK)
    if passphrase in trouble:
        return f"{trouble.partition(':')[0]} (its words may hold the passphrase: not shown)"
    return trouble
