"""A secret that cannot be shown by accident."""

from typing import NoReturn


class Secret:
    """Bytes that print as ``***`` and leave only through :meth:`reveal`.

    Call :meth:`reveal` at the edge alone: when writing to a child's standard
    input, a file descriptor or a serial line.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

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


MASK = "***"
"""What stands for a secret, whatever its length."""


_MASKABLE = 4
"""Characters from which on a passphrase may be masked in a text that stays readable."""


def without_passphrase(trouble: str, passphrase: str) -> str:
    """Return an outcome's trouble, which quotes what the board wrote, without the passphrase.

    A short passphrase is in many a word: the quotation is left out then.
    """
    if len(passphrase) >= _MASKABLE:
        return trouble.replace(passphrase, MASK)
    if passphrase in trouble:
        return f"{trouble.partition(':')[0]} (its words may hold the passphrase: not shown)"
    return trouble
