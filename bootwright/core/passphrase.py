"""Checking a passphrase before it is used. Pure."""

import codecs

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
        InputError: it is empty, too long, no UTF-8 text, or cannot be typed at a serial prompt. The
            message does not contain the passphrase.
    """
    value = raw.removesuffix(b"\n").removesuffix(b"\r")
    if value.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError(
            f"{origin}: it begins with a byte order mark, which nobody types: save it as UTF-8"
            " without one"
        )
    try:
        value.decode()
    except UnicodeDecodeError:
        # The original error would quote the passphrase.
        raise InputError(
            f"{origin}: the passphrase is not UTF-8 text, so a terminal would not send the same"
            " bytes: save it as UTF-8"
        ) from None
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
