"""All certificates together: issuing one where it is due, and making all anew without someone.

Pure: holdings in, holdings out. ``effects/pki_store.py`` keeps them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from bootwright.core.errors import InputError
from bootwright.pki.certificates import (
    SCOPES,
    KeyPair,
    Kind,
    Scope,
    ServerNames,
    make_authority,
    names_in,
    needs_renewal,
    sign,
)

BOARD_KINDS: tuple[Kind, ...] = ("server", "log")
"""What a board has certificates for."""


class CertificateSubject(NamedTuple):
    """Who has a certificate, and what for."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class CertificateStore:
    """The authorities, and everybody's certificate and key."""

    authorities: Mapping[Scope, KeyPair] = field(default_factory=dict)
    pairs: Mapping[CertificateSubject, KeyPair] = field(default_factory=dict)

    def boards(self) -> tuple[str, ...]:
        """Return the targets that have certificates."""
        return _sorted(holder.name for holder in self.pairs if holder.kind in BOARD_KINDS)

    def clients(self) -> tuple[str, ...]:
        """Return the clients that have certificates."""
        return _sorted(holder.name for holder in self.pairs if holder.kind == "client")


@dataclass(frozen=True)
class StoreChange:
    """Holdings after a change.

    Attributes:
        holdings: what there is now.
        made: what is new, and why: ``server odroid``, ``docker authority``.
    """

    holdings: CertificateStore
    made: Mapping[str, str]


@dataclass(frozen=True)
class Reissue(StoreChange):
    """Holdings after all were made anew.

    Attributes:
        provision: the targets whose boards have to get their new files.
        hand_out: the clients who have to get theirs.
        dropped: whose certificates are no more.
    """

    provision: tuple[str, ...]
    hand_out: tuple[str, ...]
    dropped: tuple[str, ...]


def issue(
    holdings: CertificateStore,
    holder: CertificateSubject,
    names: ServerNames,
    now: datetime,
    *,
    renew: bool = False,
) -> StoreChange:
    """Give a certificate to who has none, or one that is due for renewal.

    Args:
        holdings: what there is.
        holder: who, and what for.
        names: what a server is called; empty for a client.
        now: the time.
        renew: make a new one even where nothing is due.

    Raises:
        InputError: a board has the name that a client is to have, or the reverse.
        RefusedError: the authority cannot sign.
    """
    _check_one_meaning(holdings, holder)
    scope = SCOPES[holder.kind]
    authority = holdings.authorities.get(scope)
    old = holdings.pairs.get(holder)
    made: dict[str, str] = {}
    if authority is None:
        authority = make_authority(scope, now)
        made[f"{scope} authority"] = "there was none"
    if old is None:
        why = "there was none"
    else:
        why = needs_renewal(old.certificate, names, now, authority.certificate)
        why = why or ("--renew was given" if renew else "")
    if not why:
        return StoreChange(holdings, {})
    made[str(holder)] = why
    pair = sign(authority, holder.kind, holder.name, names, now)
    return StoreChange(
        CertificateStore(
            {**holdings.authorities, scope: authority}, {**holdings.pairs, holder: pair}
        ),
        made,
    )


def issue_board(
    holdings: CertificateStore,
    target: str,
    names: ServerNames,
    now: datetime,
    *,
    renew: bool = False,
) -> StoreChange:
    """Give a board both of its certificates: for its Docker API, and for shipping its logs.

    Raises:
        InputError: a client has the target's name.
        RefusedError: an authority cannot sign.
    """
    server = issue(holdings, CertificateSubject("server", target), names, now, renew=renew)
    log = issue(server.holdings, CertificateSubject("log", target), ServerNames(), now, renew=renew)
    return StoreChange(log.holdings, {**server.made, **log.made})


def reissue(
    holdings: CertificateStore, without: str | None, now: datetime, names: Mapping[str, ServerNames]
) -> Reissue:
    """Make new authorities, and new certificates for everybody but ``without``.

    An authority that signed nothing for ``without`` stays, with all that it signed.

    Args:
        holdings: what there is.
        without: the client or target that gets nothing; ``None`` makes all anew.
        now: the time.
        names: what each target is called; one that is missing keeps its certificate's names.

    Raises:
        InputError: ``without`` has no certificate.
    """
    dropped = [holder for holder in holdings.pairs if holder.name == without]
    if without is not None and not dropped:
        there = ", ".join(sorted({holder.name for holder in holdings.pairs})) or "none"
        raise InputError(f"--without {without!r} has no certificate; there are: {there}")
    touched = {SCOPES[holder.kind] for holder in dropped} if without else set(holdings.authorities)
    authorities = dict(holdings.authorities)
    made: dict[str, str] = {}
    for scope in sorted(touched):
        authorities[scope] = make_authority(scope, now)
        made[f"{scope} authority"] = f"without {without}" if without else "reissue"
    pairs: dict[CertificateSubject, KeyPair] = {}
    fresh: list[CertificateSubject] = []
    for holder, old in holdings.pairs.items():
        scope = SCOPES[holder.kind]
        if holder in dropped:
            continue
        if scope not in touched:
            pairs[holder] = old
            continue
        called = names_in(old.certificate)
        if holder.kind == "server":
            called = names.get(holder.name, called)
        pairs[holder] = sign(authorities[scope], holder.kind, holder.name, called, now)
        made[str(holder)] = "the authority is new"
        fresh.append(holder)
    return Reissue(
        CertificateStore(authorities, pairs),
        made,
        provision=_sorted(holder.name for holder in fresh if holder.kind in BOARD_KINDS),
        hand_out=_sorted(holder.name for holder in fresh if holder.kind == "client"),
        dropped=_sorted(map(str, dropped)),
    )


def _check_one_meaning(holdings: CertificateStore, holder: CertificateSubject) -> None:
    """Pass when no board and client share a name, or ``--without`` would mean two."""
    if holder.kind == "client" and holder.name in holdings.boards():
        raise InputError(f"client {holder.name}: a target has this name; give the client another")
    if holder.kind in BOARD_KINDS and holder.name in holdings.clients():
        raise InputError(
            f"target {holder.name}: a client has this name; take it away first:"
            f" inv pki reissue --without {holder.name}"
        )


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))
