"""How a published root file system is verified before it is used.

A file is verified by the distribution's OpenPGP signature, by a SHA-256 that the target pins, or
by the operator, who names the file. An MD5 from the server only shows that the transfer was
complete: MD5 can be forged, and whoever changes the file on the server can change it too.
"""

import re
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from bootwright.core.errors import InputError, RefusedError
from bootwright.core.toml_model import StrictModel
from bootwright.rootfs.gpg_status import GpgVerdict

VerifiedBy = Literal["signature", "pin", "operator", "none"]
"""How a tarball was verified; ``none`` is possible only with ``--rootfs-unverified``."""

UNVERIFIED_OPTION = "--rootfs-unverified"
"""The option that allows a download that cannot be verified."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{32})\b")


class DownloadRecord(StrictModel):
    """The facts about a cached tarball: the content of the JSON file beside it."""

    url: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int
    """Bytes."""
    etag: str | None = None
    last_modified: str | None = None
    verified_by: VerifiedBy
    signer: str | None = None
    """The fingerprint of the primary key that signed it; ``None`` if no signature was checked."""
    date: str
    """When it was downloaded or last checked: UTC, ISO 8601."""


@dataclass(frozen=True)
class Checks:
    """The checks that a file has to pass.

    Attributes:
        pin: the SHA-256 that it must have; ``None`` if none is pinned.
        signature: it needs a good signature by the pinned key.
        fallback: how the file counts as verified if there is neither a pin nor a signature.
    """

    pin: str | None
    signature: bool
    fallback: Literal["operator", "none"]


@dataclass(frozen=True)
class Verdict:
    """How a file was verified; ``signer`` is the fingerprint of the primary key that signed it."""

    verified_by: VerifiedBy
    signer: str | None = None


def check_pin(sha256: str | None) -> str | None:
    """Return a pinned SHA-256 in lower case.

    Raises:
        InputError: it is not 64 hexadecimal digits.
    """
    if sha256 is None:
        return None
    pin = sha256.strip().lower()
    if _SHA256.fullmatch(pin) is None:
        raise InputError(f"pinned digest {sha256!r}: a SHA-256 is 64 hexadecimal digits")
    return pin


def signature_obstacle(published: bool, signing_key: str | None, has_key: bool) -> str | None:
    """Return why a signature cannot be checked; ``None`` if it can.

    Args:
        published: there is a signature.
        signing_key: the fingerprint of the pinned primary key.
        has_key: the key itself could be obtained.
    """
    if not published:
        return "no signature is published for it"
    if signing_key is None:
        return "no signing key is pinned"
    return None if has_key else f"its signing key {signing_key} could not be obtained"


def choose_checks(
    pin: str | None, obstacle: str | None, *, operator: bool, unverified: bool, what: str
) -> Checks:
    """Return the checks for a file, before it is downloaded or read.

    If there are a pin and a signature, both are checked.

    Args:
        pin: the SHA-256 that the target pins.
        obstacle: why no signature can be checked, from :func:`signature_obstacle`.
        operator: the operator has named the file, so it counts as verified by the operator.
        unverified: ``--rootfs-unverified`` was given.
        what: the file, for the error message.

    Raises:
        RefusedError: a download cannot be verified, and ``--rootfs-unverified`` was not given.
    """
    if pin is None and obstacle is not None and not operator and not unverified:
        raise RefusedError(
            f"{what}: cannot be verified: {obstacle}, and the target pins no SHA-256.\n"
            "  An MD5 from the server is not enough: MD5 can be forged, and an attacker who can\n"
            "  change the file can change its MD5 too. Obtain the SHA-256 from a source that you\n"
            "  trust and pin it in the target, name a file that you trust with --rootfs-file, or\n"
            f"  give {UNVERIFIED_OPTION}."
        )
    return Checks(pin, obstacle is None, "operator" if operator else "none")


def evaluate(
    checks: Checks, sha256: str, signature: GpgVerdict | None, signing_key: str | None, what: str
) -> Verdict:
    """Return how a file that has been read is verified.

    A file with a wrong digest or signature is always refused: ``--rootfs-unverified`` allows files
    that cannot be checked, never files that fail a check.

    Args:
        checks: from :func:`choose_checks`.
        sha256: of the whole file, in hexadecimal.
        signature: the result of gpg; required if ``checks.signature`` is true.
        signing_key: the fingerprint of the pinned primary key.
        what: the file, for an error message.

    Raises:
        RefusedError: the pin or the signature does not match.
    """
    if checks.pin is not None and checks.pin != sha256:
        raise RefusedError(
            f"{what}: not the file that the target pins\n"
            f"  pinned SHA-256 {checks.pin}\n  its SHA-256    {sha256}"
        )
    if checks.signature and (signature is None or not signature.good):
        why = signature.why if signature else "its signature was not checked"
        raise RefusedError(
            f"{what}: refused: {why}.\n"
            "  Either it was changed, or a mirror is being updated (try again later)."
        )
    signer = signing_key if checks.signature else None
    if checks.pin is not None:
        return Verdict("pin", signer)
    return Verdict("signature", signer) if signer else Verdict(checks.fallback)


def is_still_verified(record: DownloadRecord, pin: str | None, signing_key: str | None) -> bool:
    """Return whether the checks that a cached file has passed are those that this target requires.

    A pin of another target is not enough, and neither is a signature by another key.
    """
    if pin is not None:
        return record.sha256 == pin
    return record.signer is not None and record.signer == signing_key


def parse_digest(text: str) -> str | None:
    """Return the MD5 or SHA-256 in a digest file (``<hex>  <name>``) in lower case, if any."""
    match = _DIGEST.search(text.lower())
    return match[0] if match else None
