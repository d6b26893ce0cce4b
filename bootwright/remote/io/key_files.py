"""The files of the operator's public SSH keys."""

from dataclasses import dataclass
from pathlib import Path

from bootwright.core.errors import InputError
from bootwright.core.units import KIB, format_size
from bootwright.remote.public_keys import read_keys

KEYS_MAX = 256 * KIB
"""The most bytes in a file of public keys; one key has a few hundred."""


@dataclass(frozen=True)
class OwnKeys:
    """The keys where OpenSSH keeps an operator's, and why files there were left out."""

    keys: tuple[str, ...]
    left_out: tuple[str, ...]


def own_public_keys(home: Path) -> OwnKeys:
    """Return the keys in ``~/.ssh/id_*.pub``.

    What is no key that sshd accepts is left out: certificates, which lie beside their keys, empty
    or damaged files, DSA keys.
    """
    keys: list[str] = []
    left_out: list[str] = []
    for path in sorted((home / ".ssh").glob("id_*.pub")):
        try:
            keys.extend(read_key_file(path))
        except InputError as error:
            if not path.name.endswith("-cert.pub"):
                left_out.append(str(error))
    return OwnKeys(tuple(dict.fromkeys(keys)), tuple(left_out))


def read_key_file(path: Path) -> list[str]:
    """Return the public keys in a file, one line each.

    Raises:
        InputError: it cannot be read, or something in it is no public key that sshd accepts.
    """
    try:
        with path.open("rb") as file:  # its size is not checked first: a pipe has none
            data = file.read(KEYS_MAX + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot read a public key: {error.strerror}") from error
    except ValueError as error:  # NUL in the path
        raise InputError(f"{str(path)!r}: cannot read a public key: {error}") from error
    if b"PRIVATE KEY" in data:
        raise InputError(f"{path}: this is a private key; give its .pub file")
    if len(data) > KEYS_MAX:
        raise InputError(f"{path}: more than {format_size(KEYS_MAX)}; this is not a public key")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8; this is not a public key") from None
    return read_keys(str(path), text)
