"""GnuPG's result for a signature, parsed from its ``--status-fd`` lines. Pure.

GnuPG's ``doc/DETAILS`` describes the lines. Nothing else that gpg prints is read.
"""

from dataclasses import dataclass, replace

_PREFIX = "[GNUPG:] "

_STATES = {
    "GOODSIG": "good",
    "BADSIG": "the file is not what was signed (BADSIG)",
    "EXPSIG": "the signature has expired (EXPSIG)",
    "EXPKEYSIG": "the key has expired (EXPKEYSIG)",
    "REVKEYSIG": "the key is revoked (REVKEYSIG)",
    "ERRSIG": "it cannot be checked (ERRSIG)",
}
"""The keywords that report on a signature, with their meaning; each signature has exactly one."""


@dataclass(frozen=True)
class Signature:
    """One signature of a signature file.

    Attributes:
        state: ``good``, or what is wrong.
        key: the signing key as gpg prints it: 16 or 40 hexadecimal digits.
        primary: the fingerprint of the primary key, from the VALIDSIG line; ``None`` without that
            line.
    """

    state: str
    key: str
    primary: str | None = None


@dataclass(frozen=True)
class GpgVerdict:
    """Whether a file has a good signature by the pinned key, and why or why not."""

    good: bool
    why: str


def parse_signatures(status: str) -> tuple[Signature, ...]:
    """Return the signatures in gpg's status lines, in their order."""
    signatures: list[Signature] = []
    for keyword, rest in _lines(status):
        if keyword in _STATES and rest:
            signatures.append(Signature(_STATES[keyword], rest[0]))
        elif keyword == "NO_PUBKEY" and signatures:
            signatures[-1] = replace(
                signatures[-1], state="it is by another key than the pinned one"
            )
        elif keyword == "VALIDSIG" and signatures and rest:
            # The tenth field; old versions of gpg omit it if the primary key itself has signed.
            primary = rest[9] if len(rest) > 9 else rest[0]
            signatures[-1] = replace(signatures[-1], primary=primary)
    return tuple(signatures)


def parse_imported(status: str) -> tuple[str, ...]:
    """Return the primary fingerprints of the keys that ``gpg --import`` has imported."""
    return tuple(rest[1] for keyword, rest in _lines(status) if keyword == "IMPORT_OK" and rest[1:])


def evaluate_signatures(signatures: tuple[Signature, ...], pinned: str) -> GpgVerdict:
    """Return whether ``signatures`` prove that the file was signed with the key ``pinned``.

    Every signature must be good and valid, and at least one must be by the primary key ``pinned``
    (its fingerprint: 40 upper-case hexadecimal digits) or by a subkey of it.
    """
    if not signatures:
        return GpgVerdict(False, "the signature file contains no signature")
    for one in signatures:
        if one.state != "good" or one.primary is None:
            why = one.state if one.state != "good" else "gpg does not call it valid"
            return GpgVerdict(False, f"signature by {one.key}: {why}")
    if all(one.primary != pinned for one in signatures):
        keys = ", ".join(str(one.primary) for one in signatures)
        return GpgVerdict(False, f"signature by {keys}: not the pinned key {pinned}")
    return GpgVerdict(True, f"signed by {pinned}")


def _lines(status: str) -> list[tuple[str, list[str]]]:
    words = [
        line.removeprefix(_PREFIX).split()
        for line in status.splitlines()
        if line.startswith(_PREFIX)
    ]
    return [(line[0], line[1:]) for line in words if line]
