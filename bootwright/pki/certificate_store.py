"""All certificates together: issuing one if it is due, and new ones for all but one subject.

The functions take a :class:`CertificateStore` and return a changed one;
:mod:`bootwright.pki.io.store` keeps it in files.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from bootwright.core.errors import InputError
from bootwright.pki.certificates import (
    SCOPES,
    CertificateKind,
    KeyPair,
    Scope,
    ServerNames,
    common_name,
    make_authority,
    names_in,
    needs_renewal,
    sign,
)

BOARD_KINDS: tuple[CertificateKind, ...] = ("server", "log")
"""The kinds of certificate that a board has."""


class CertificateSubject(NamedTuple):
    """The holder and the purpose of a certificate."""

    kind: CertificateKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class CertificateStore:
    """The authorities, and the certificates and keys of all subjects."""

    authorities: Mapping[Scope, KeyPair] = field(default_factory=dict)
    pairs: Mapping[CertificateSubject, KeyPair] = field(default_factory=dict)

    def boards(self) -> tuple[str, ...]:
        """Return the names of the targets that have certificates."""
        return _sorted(subject.name for subject in self.pairs if subject.kind in BOARD_KINDS)

    def clients(self) -> tuple[str, ...]:
        """Return the names of the clients that have certificates."""
        return _sorted(subject.name for subject in self.pairs if subject.kind == "client")


@dataclass(frozen=True)
class StoreChange:
    """The certificates after a change.

    Attributes:
        certificates: all certificates after the change.
        made: for each new certificate, its kind and name (``server odroid``, ``docker authority``)
            and the reason why it was made.
    """

    certificates: CertificateStore
    made: Mapping[str, str]


@dataclass(frozen=True)
class Reissue(StoreChange):
    """The certificates after new ones were made for all subjects, or for all but one.

    Attributes:
        provision: the targets whose boards need the new files.
        hand_out: the clients that need the new files.
        dropped: kind and name of each certificate that was removed.
    """

    provision: tuple[str, ...]
    hand_out: tuple[str, ...]
    dropped: tuple[str, ...]


def issue(
    certificates: CertificateStore,
    subject: CertificateSubject,
    names: ServerNames,
    now: datetime,
    *,
    renew: bool = False,
) -> StoreChange:
    """Make a certificate for a subject that has none, or whose certificate is due for renewal.

    If the collector's certificate is due only because its common name is the one of earlier
    versions, and the authority's key is kept elsewhere, the certificate stays: it still works.

    Args:
        certificates: all existing certificates.
        subject: its holder and purpose.
        names: the names and addresses of a server; empty for a client.
        now: the time.
        renew: make a new one even if it is not due.

    Raises:
        InputError: the subject is a client and a board has this name, or the reverse.
        RefusedError: the authority cannot sign.
    """
    _check_unambiguous(certificates, subject)
    scope = SCOPES[subject.kind]
    authority = certificates.authorities.get(scope)
    old = certificates.pairs.get(subject)
    made: dict[str, str] = {}
    if authority is None:
        authority = make_authority(scope, now)
        made[f"{scope} authority"] = "there was none"
    if old is None:
        why = "there was none"
    else:
        own = common_name(subject.kind, subject.name)
        why = needs_renewal(old.certificate, names, now, authority.certificate, own)
        if (
            subject.kind == "collector"
            and authority.key is None
            and not needs_renewal(old.certificate, names, now, authority.certificate)
        ):
            why = ""
        why = why or ("--renew was given" if renew else "")
    if not why:
        return StoreChange(certificates, {})
    made[str(subject)] = why
    pair = sign(authority, subject.kind, subject.name, names, now)
    return StoreChange(
        CertificateStore(
            {**certificates.authorities, scope: authority}, {**certificates.pairs, subject: pair}
        ),
        made,
    )


def issue_board(
    certificates: CertificateStore,
    target: str,
    names: ServerNames,
    now: datetime,
    *,
    renew: bool = False,
) -> StoreChange:
    """Make the certificates of a board that are due: for its Docker API, and for shipping its logs.

    Raises:
        InputError: a client has the target's name.
        RefusedError: an authority cannot sign.
    """
    server = issue(certificates, CertificateSubject("server", target), names, now, renew=renew)
    log = issue(
        server.certificates, CertificateSubject("log", target), ServerNames(), now, renew=renew
    )
    return StoreChange(log.certificates, {**server.made, **log.made})


def reissue(
    certificates: CertificateStore,
    without: str | None,
    now: datetime,
    names: Mapping[str, ServerNames],
) -> Reissue:
    """Make new authorities, and new certificates for all subjects except ``without``.

    If an authority signed nothing for ``without``, it is kept with all certificates that it signed.

    Args:
        certificates: all existing certificates.
        without: the client or target that gets none; ``None``: all get new ones.
        now: the time.
        names: the names and addresses of each target; a target that is missing here keeps the
            names in its certificate.

    Raises:
        InputError: ``without`` has no certificate.
    """
    dropped = [subject for subject in certificates.pairs if subject.name == without]
    if without is not None and not dropped:
        there = ", ".join(sorted({subject.name for subject in certificates.pairs})) or "none"
        raise InputError(f"--without: {without!r} has no certificate; there are: {there}")
    new_scopes = (
        {SCOPES[subject.kind] for subject in dropped} if without else set(certificates.authorities)
    )
    authorities = dict(certificates.authorities)
    made: dict[str, str] = {}
    for scope in sorted(new_scopes):
        authorities[scope] = make_authority(scope, now)
        made[f"{scope} authority"] = f"without {without}" if without else "reissue"
    pairs: dict[CertificateSubject, KeyPair] = {}
    renewed: list[CertificateSubject] = []
    for subject, old in certificates.pairs.items():
        scope = SCOPES[subject.kind]
        if subject in dropped:
            continue
        if scope not in new_scopes:
            pairs[subject] = old
            continue
        expected = names_in(old.certificate)
        if subject.kind == "server":
            expected = names.get(subject.name, expected)
        pairs[subject] = sign(authorities[scope], subject.kind, subject.name, expected, now)
        made[str(subject)] = "the authority is new"
        renewed.append(subject)
    return Reissue(
        CertificateStore(authorities, pairs),
        made,
        provision=_sorted(subject.name for subject in renewed if subject.kind in BOARD_KINDS),
        hand_out=_sorted(subject.name for subject in renewed if subject.kind == "client"),
        dropped=_sorted(map(str, dropped)),
    )


def _check_unambiguous(certificates: CertificateStore, subject: CertificateSubject) -> None:
    """Check that no client has a board's name: ``--without NAME`` would mean both."""
    if subject.kind == "client" and subject.name in certificates.boards():
        raise InputError(f"client {subject.name}: a target has this name; give the client another")
    if subject.kind in BOARD_KINDS and subject.name in certificates.clients():
        raise InputError(
            f"target {subject.name}: a client has this name; remove it first:"
            f" inv pki reissue --without {subject.name}"
        )


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))
