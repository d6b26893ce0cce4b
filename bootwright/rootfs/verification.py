"""Which check a published root file system must pass before it is used.

A checked file is one that somebody vouches for: the distribution by its OpenPGP
signature, the target by a SHA-256 that it pins, or the operator by naming the
file. An MD5 from upstream shows that the transfer went well and no more: MD5 is
broken, and it comes by the same road as the file.
"""

import re
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from bootwright.core.errors import InputError, RefusedError
from bootwright.core.toml_model import StrictModel
from bootwright.rootfs.gpg_status import GpgVerdict

VerifiedBy = Literal["signature", "pin", "operator", "none"]
"""Who vouches for a tarball; ``none`` only under ``--rootfs-unverified``."""

FLAG = "--rootfs-unverified"
"""The option that lets an unverifiable download through."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{32})\b")


class DownloadRecord(StrictModel):
    """What is known about a cached tarball; the JSON file beside it."""

    url: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int
    """Bytes."""
    etag: str | None = None
    last_modified: str | None = None
    verified_by: VerifiedBy
    signer: str | None = None
    """The primary fingerprint that signed it, when a signature was checked."""
    date: str
    """When it was downloaded or last checked: UTC, ISO 8601."""


@dataclass(frozen=True)
class Checks:
    """What a file has to pass, and who vouches for it when there is nothing to pass."""

    pin: str | None
    signature: bool
    otherwise: Literal["operator", "none"]


@dataclass(frozen=True)
class Verdict:
    """Who vouches for a file; ``signer`` is the primary fingerprint that signed it."""

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


def obstacle(published: bool, signing_key: str | None, key_at_hand: bool) -> str | None:
    """Return why a signature cannot be checked; ``None`` when it can.

    Args:
        published: there is a signature.
        signing_key: the pinned primary fingerprint.
        key_at_hand: the key itself could be had.
    """
    if not published:
        return "no signature is published for it"
    if signing_key is None:
        return "no signing key is pinned"
    return None if key_at_hand else f"its signing key {signing_key} could not be had"


def choose(
    pin: str | None, hindrance: str | None, *, operator: bool, unverified: bool, what: str
) -> Checks:
    """Return the checks for a file, before it is downloaded or read.

    A pin and a signature are both checked when both are there.

    Args:
        pin: the SHA-256 that the target pins.
        hindrance: why no signature can be checked, from :func:`obstacle`.
        operator: the operator named the file, and so vouches for it.
        unverified: ``--rootfs-unverified`` was given.
        what: names the file in the error.

    Raises:
        RefusedError: nothing could verify a download, and the flag was not given.
    """
    if pin is None and hindrance is not None and not operator and not unverified:
        raise RefusedError(
            f"{what}: cannot be verified: {hindrance}, and the target pins no SHA-256.\n"
            "  Upstream's MD5 does not count: MD5 can be forged, and whoever can change the file\n"
            "  can change its MD5 too. Obtain the digest by a road that you trust and pin it in\n"
            f"  the target, name a file that you vouch for with --rootfs-file, or give {FLAG}."
        )
    return Checks(pin, hindrance is None, "operator" if operator else "none")


def evaluate(
    checks: Checks, sha256: str, signature: GpgVerdict | None, signing_key: str | None, what: str
) -> Verdict:
    """Return who vouches for a file that has been read.

    A digest or a signature that is wrong refuses the file whatever was asked for: the
    flag lets through what cannot be checked, never what failed a check.

    Args:
        checks: from :func:`choose`.
        sha256: of the whole file.
        signature: what gpg said; needed when ``checks.signature``.
        signing_key: the pinned primary fingerprint.
        what: names the file in an error.

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
            "  Either it was altered, or a mirror is in the middle of an update (try again later)."
        )
    signer = signing_key if checks.signature else None
    if checks.pin is not None:
        return Verdict("pin", signer)
    return Verdict("signature", signer) if signer else Verdict(checks.otherwise)


def vouched(record: DownloadRecord, pin: str | None, signing_key: str | None) -> bool:
    """Return whether what was checked when ``record`` was made satisfies this target too.

    A pin of another target does not count, nor does a signature by another key.
    """
    if pin is not None:
        return record.sha256 == pin
    return record.signer is not None and record.signer == signing_key


def parse_digest(text: str) -> str | None:
    """Return the MD5 or SHA-256 in a digest file (``<hex>  <name>``), in lower case."""
    match = _DIGEST.search(text.lower())
    return match[0] if match else None
