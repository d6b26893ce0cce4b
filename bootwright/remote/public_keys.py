"""Public SSH keys as text: which ones sshd accepts. Pure.

Format: RFC 4253, 6.6, and OpenSSH's ``authorized_keys`` without options.
"""

import base64

from bootwright.core.errors import InputError

KINDS = (
    *("ssh-ed25519", "ssh-rsa"),
    *("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    *("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"),
)
"""The kinds of keys that an sshd of today accepts as it is shipped."""

RSA_BITS_MIN = 1024
"""The fewest bits of an RSA key that sshd accepts (sshd_config(5), RequiredRSASize)."""


def read_keys(where: str, text: str) -> list[str]:
    """Return the keys in ``text``, one line each; ``where`` names the text for messages.

    Raises:
        InputError: there is none, or one of them is no key that sshd accepts.
    """
    lines = [line.strip() for line in text.splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    for number, key in enumerate(keys, 1):
        if trouble := _trouble(key):
            # The text is not shown: by mistake the option may name a file with secrets.
            raise InputError(f"{where}: {trouble} (key {number})")
    if not keys:
        raise InputError(f"{where}: there is no public key in it")
    return keys


def _trouble(line: str) -> str | None:
    """Return why a line is not a key that sshd accepts; ``None`` if it is one."""
    kind, word, *_ = [*line.split(), "", ""]
    try:
        name = kind.encode()
        blob = base64.b64decode(word + "=" * (-len(word) % 4), validate=True)
    except ValueError:
        return "not a public key, or a damaged one"
    fields = _fields(blob)
    is_complete = len(fields) > 1 and fields[0] == name
    if not is_complete or not line.replace("\t", " ").isprintable():
        return "not a public key, or a damaged one"
    if kind.endswith("-cert-v01@openssh.com"):
        return "a certificate, not a key; give the .pub file of the key itself"
    if kind == "ssh-dss":
        return "a DSA key, which sshd does not accept; make another with ssh-keygen -t ed25519"
    if kind not in KINDS:
        return "not a public key, or a damaged one"
    if kind == "ssh-rsa" and _rsa_bits(fields) < RSA_BITS_MIN:
        return (
            f"an RSA key of less than {RSA_BITS_MIN} bits, which sshd does not accept; make another"
            " with ssh-keygen -t ed25519"
        )
    return None


def _fields(blob: bytes) -> list[bytes]:
    """Return the fields of a binary key (RFC 4253, 6.6); none if the last one is incomplete."""
    fields = []
    at = 0
    while at < len(blob):
        end = at + 4 + int.from_bytes(blob[at : at + 4], "big")
        if end > len(blob):
            return []
        fields.append(blob[at + 4 : end])
        at = end
    return fields


def _rsa_bits(fields: list[bytes]) -> int:
    return int.from_bytes(fields[2], "big").bit_length() if len(fields) > 2 else 0
