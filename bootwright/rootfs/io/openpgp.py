"""Checking a detached OpenPGP signature with gpg, in a temporary home directory for gpg.

The operator's keyring is neither read nor changed, and no agent or dirmngr is started: gpg only
imports a public key and verifies. gpgv would be simpler, but it does not check whether a key has
expired or is revoked.
"""

import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from bootwright.core.errors import FailedError, InputError
from bootwright.core.io.process import failure, run
from bootwright.rootfs.gpg_status import (
    GpgVerdict,
    evaluate_signatures,
    parse_imported,
    parse_signatures,
)
from bootwright.rootfs.io import download

KEYSERVER = "hkps://keyserver.ubuntu.com"
"""The server that a key is fetched from if neither a file nor another server is configured."""

_KEY_LIMIT = 4 * 1024 * 1024
"""The most bytes of a key; one with many signatures has some hundred KiB."""

_SCHEMES = {
    "hkps": ("https", 443),
    "https": ("https", 443),
    "hkp": ("http", 11371),
    "http": ("http", 80),
}
"""The web scheme and the default port for each scheme of a keyserver's address."""


def read_key(path: Path) -> bytes:
    """Return the key file's bytes (armoured or binary).

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot read the signing key: {error.strerror}") from error


def receive_key(fingerprint: str, keyserver: str | None) -> bytes:
    """Return the key with this full ``fingerprint`` from an HKP keyserver.

    The server is not trusted: :func:`verify` accepts only signatures by the primary key with the
    pinned fingerprint.

    Raises:
        InputError: ``keyserver`` is not an ``hkps://`` or ``hkp://`` address.
        FailedError: the server cannot be reached or does not have the key.
    """
    base = _web_address(keyserver or KEYSERVER)
    url = f"{base}/pks/lookup?op=get&options=mr&search=0x{fingerprint}"
    key = download.download_small(url, limit=_KEY_LIMIT)
    if key is None:
        raise FailedError(f"{keyserver or KEYSERVER}: does not have the key {fingerprint}")
    return key


def verify(data: Path, signature: bytes, key: bytes, fingerprint: str) -> GpgVerdict:
    """Return whether ``signature`` proves that the pinned key signed ``data``.

    Args:
        data: the signed file.
        signature: the detached signature, armoured or binary.
        key: the public key that :func:`read_key` or :func:`receive_key` returned.
        fingerprint: of the pinned primary key: 40 upper-case hexadecimal digits.

    Raises:
        InputError: ``key`` does not hold the pinned key.
        FailedError: gpg is missing or did not work.
    """
    with tempfile.TemporaryDirectory(prefix="bootwright-gpg-") as made:
        home = Path(made)  # mode 0700, as gpg requires
        gpg = (
            *("gpg", "--homedir", str(home), "--no-options", "--batch", "--no-tty"),
            *("--no-autostart", "--disable-dirmngr", "--no-auto-key-retrieve"),
            *("--trust-model", "always", "--status-fd", "1"),
        )
        (home / "key").write_bytes(key)
        (home / "signature").write_bytes(signature)
        imported = run([*gpg, "--import", str(home / "key")], check=False)
        found = parse_imported(imported.text)
        if fingerprint not in found:
            raise InputError(
                f"the key is not the pinned one: it should be {fingerprint}, "
                f"but it is {', '.join(found) or 'no OpenPGP key'}"
            )
        checked = run([*gpg, "--verify", str(home / "signature"), str(data)], check=False)
        signatures = parse_signatures(checked.text)
        verdict = evaluate_signatures(signatures, fingerprint)
        if verdict.good and checked.returncode != 0:
            raise failure(checked)
        return verdict


def _web_address(keyserver: str) -> str:
    parts = urlsplit(keyserver)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise InputError(f"keyserver {keyserver!r}: write it like {KEYSERVER}")
    scheme, port = _SCHEMES[parts.scheme]
    return f"{scheme}://{parts.hostname}:{parts.port or port}"
