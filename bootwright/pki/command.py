"""``inv pki``, and the certificates that ``inv provision`` installs on a board."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bootwright.core import paths
from bootwright.core.errors import InputError
from bootwright.core.secret import Secret
from bootwright.hosts import resolve
from bootwright.pki.certificate_store import (
    CertificateStore,
    CertificateSubject,
    Reissue,
    StoreChange,
    issue,
    issue_board,
    reissue,
)
from bootwright.pki.certificates import SCOPES, ServerNames, check_client_name, server_names
from bootwright.pki.choices import PkiAction
from bootwright.pki.io.store import PkiStore, pki_dir
from bootwright.pki.result import (
    CertificateRow,
    MadeCertificate,
    PkiResult,
    authority_row,
    expected_names,
    subject_row,
)


@dataclass(frozen=True)
class PkiOptions:
    """The options of the command line; ``name`` is a target for issue, a client for client."""

    action: PkiAction
    name: str | None = None
    without: str | None = None
    renew: bool = False


@dataclass(frozen=True)
class IssuedCertificate:
    """The files that a subject needs for mutual TLS.

    Attributes:
        ca_pem: the certificate of the authority that the subject trusts.
        cert_pem: its own certificate.
        key_pem: its private key.
    """

    ca_pem: bytes
    cert_pem: bytes
    key_pem: Secret


def issued_certificate(
    store: PkiStore, subject: CertificateSubject, names: ServerNames, now: datetime
) -> IssuedCertificate:
    """Return the certificate of a subject, after making or renewing it if that is due.

    Args:
        store: where certificates are kept.
        subject: the holder and the purpose.
        names: those of a server, as :func:`bootwright.pki.certificates.server_names` returns them.
        now: the time.

    Raises:
        InputError: a file of the store is damaged, or a client has the target's name.
        RefusedError: the folder is not for the operator alone, or the authority cannot sign.
        FailedError: another run uses the store for too long.
    """
    return _issued_certificate(store.update(lambda held: issue(held, subject, names, now)), subject)


def preview_certificate(
    store: PkiStore, subject: CertificateSubject, names: ServerNames, now: datetime
) -> IssuedCertificate:
    """Return the same as :func:`issued_certificate` without writing anything, for a dry run.

    A certificate that is due is made but not stored: the next call makes another one.

    Raises:
        InputError, RefusedError, FailedError: as :func:`issued_certificate`.
    """
    return _issued_certificate(issue(store.load(), subject, names, now), subject)


def _issued_certificate(change: StoreChange, subject: CertificateSubject) -> IssuedCertificate:
    pair = change.certificates.pairs[subject]
    authority = change.certificates.authorities[SCOPES[subject.kind]]
    assert pair.key is not None
    return IssuedCertificate(authority.certificate_pem(), pair.certificate_pem(), pair.key)


def options_of(
    action: PkiAction, names: Sequence[str], without: str | None, renew: bool
) -> PkiOptions:
    """Return the options of the command line.

    Raises:
        InputError: a name or option is missing, or is given to an action that does not use it.
    """
    if action in ("issue", "client") and len(names) != 1:
        needed = "TARGET" if action == "issue" else "NAME"
        raise InputError(f"{action}: give exactly one name: inv pki {action} {needed}")
    if action in ("show", "reissue") and names:
        hint = f"; did you mean --without {names[0]}?" if action == "reissue" else ""
        raise InputError(f"{action}: takes no name, and {names[0]!r} was given{hint}")
    if without and action != "reissue":
        raise InputError(f"--without is for reissue, not for {action}")
    if renew and action not in ("issue", "client"):
        raise InputError(f"--renew is for issue and client, not for {action}")
    if action == "client":
        check_client_name(names[0])
    return PkiOptions(action, names[0] if names else None, without, renew)


def pki(options: PkiOptions, now: datetime, store: PkiStore | None = None) -> PkiResult:
    """Perform the action, and return what was done and all certificates.

    Args:
        options: the action with its options.
        now: the time.
        store: where certificates are kept; the operator's folder if ``None``.

    Raises:
        InputError: no such target or certificate, or a file of the store is damaged.
        RefusedError: the folder is not for the operator alone, or an authority cannot sign.
        FailedError: another run uses the store for too long.
    """
    store = store or PkiStore(pki_dir())
    change = _apply(options, now, store)
    reissued = change if isinstance(change, Reissue) else None
    return PkiResult(
        action=options.action,
        name=options.name or options.without,
        folder=paths.display_path(store.folder),
        made=tuple(MadeCertificate(what, why) for what, why in change.made.items()),
        dropped=reissued.dropped if reissued else (),
        provision=reissued.provision if reissued else (),
        hand_out=reissued.hand_out if reissued else (),
        certificates=_rows(change.certificates, now, store),
    )


def _apply(options: PkiOptions, now: datetime, store: PkiStore) -> StoreChange:
    if options.action == "issue":
        assert options.name is not None
        target = resolve.target_of(options.name)
        names = server_names(target)
        return store.update(
            lambda held: issue_board(held, target.name, names, now, renew=options.renew)
        )
    if options.action == "client":
        assert options.name is not None
        subject = CertificateSubject("client", options.name)
        return store.update(
            lambda held: issue(held, subject, ServerNames(), now, renew=options.renew)
        )
    if options.action == "reissue":
        return store.update(lambda held: reissue(held, options.without, now, _configured(held)))
    return StoreChange(store.load(), {})


def _configured(certificates: CertificateStore) -> Mapping[str, ServerNames]:
    """Return the currently configured names of the boards; boards without a target are left out."""
    names: dict[str, ServerNames] = {}
    for board in certificates.boards():
        try:
            names[board] = server_names(resolve.target_of(board))
        except InputError:
            continue
    return names


def _rows(
    certificates: CertificateStore, now: datetime, store: PkiStore
) -> tuple[CertificateRow, ...]:
    """Return all certificates: the authorities, then the others by name."""
    configured = _configured(certificates)
    rows = [
        authority_row(scope, pair, now, paths.display_path(store.authority_folder(scope)))
        for scope, pair in sorted(certificates.authorities.items())
    ]
    for subject, pair in sorted(
        certificates.pairs.items(), key=lambda item: (item[0].name, item[0])
    ):
        authority = certificates.authorities[SCOPES[subject.kind]].certificate
        names = expected_names(subject, configured)
        files = paths.display_path(store.subject_folder(subject))
        rows.append(subject_row(subject, pair, names, authority, now, files))
    return tuple(rows)
