"""Checking a passphrase before it is used. Pure."""

from bootwright.core.errors import InputError
from bootwright.core.secret import Secret

MAX_BYTES = 511
"""cryptsetup reads at most 512 bytes of a typed passphrase, including the line end."""


def check_passphrase(raw: bytes, origin: str) -> Secret:
    """Return ``raw`` as a secret, without one trailing line end.

    Args:
        raw: the bytes as read.
        origin: where the bytes are from, for error messages.

    Raises:
        InputError: it is empty, too long, or cannot be typed at a serial prompt. The message
            does not contain the passphrase.
    """
    value = raw.removesuffix(b"\n").removesuffix(b"\r")
    check_typeable(value, origin)
    return Secret(value)


def check_typeable(value: bytes, origin: str) -> None:
    """Check that ``value`` can be typed at a terminal, such as a serial prompt.

    Control characters cannot be: the terminal, or the program that asks, interprets them.

    Raises:
        InputError: it is empty, too long, or has a control character.
    """
    if not value:
        raise InputError(f"{origin}: the passphrase is empty")
    if len(value) > MAX_BYTES:
        raise InputError(f"{origin}: the passphrase is longer than {MAX_BYTES} bytes")
    if any(byte < 0x20 or byte == 0x7F for byte in value):
        raise InputError(
            f"{origin}: the passphrase has a control character (such as TAB or a second line),"
            " which a serial prompt cannot carry"
        )
