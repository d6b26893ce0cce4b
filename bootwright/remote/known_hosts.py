"""Known-hosts files and fingerprints, as OpenSSH reads and shows them. Pure.

Format: sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT". A key is text, ``type base64``.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass

REVOKED = "@revoked"


@dataclass(frozen=True)
class KnownKeys:
    """The keys that a known-hosts file has for one host: to accept, and never to accept."""

    accepted: tuple[str, ...]
    revoked: tuple[str, ...]


def fingerprint(key: str) -> str:
    """Return the fingerprint of a public key, ``SHA256:…``, as OpenSSH prints it."""
    try:
        blob = base64.b64decode(key.split()[1], validate=True)
    except (IndexError, binascii.Error):
        return f"no public key: {key[:60]!r}"
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return f"SHA256:{digest}"


def known_keys(text: str, name: str) -> KnownKeys:
    """Return the keys that a known-hosts file has for ``name``, a HostKeyAlias.

    Names may be hashed (``HashKnownHosts``). Certificate authorities and patterns are ignored:
    the client writes neither. Upper and lower case are the same, as in OpenSSH.
    """
    accepted: list[str] = []
    revoked: list[str] = []
    for marker, names, key in _entries(text):
        if any(_matches(name.lower(), candidate) for candidate in names.split(",")):
            if marker == REVOKED:
                revoked.append(key)
            elif not marker:
                accepted.append(key)
    return KnownKeys(tuple(accepted), tuple(revoked))


def known_hosts_line(name: str, key: str) -> str:
    """Return the line that makes ``key`` known under ``name``."""
    return f"{name.lower()} {key}\n"


def _entries(text: str) -> Iterator[tuple[str, str, str]]:
    for line in text.splitlines():
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        marker = fields.pop(0) if fields[0].startswith("@") else ""
        if len(fields) >= 3:
            yield marker, fields[0], f"{fields[1]} {fields[2]}"


def _matches(name: str, candidate: str) -> bool:
    if not candidate.startswith("|1|"):
        return candidate.lower() == name
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in candidate[3:].split("|"))
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), digest)
