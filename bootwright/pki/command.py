"""``inv pki``, and the credentials that ``inv provision`` gives a board."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

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
from bootwright.pki.certificates import (
    SCOPES,
    ServerNames,
    authority_ageing,
    check_client_name,
    names_in,
    needs_renewal,
    server_names,
)
from bootwright.pki.choices import PkiAction
from bootwright.pki.io.store import PkiStore, pki_dir

SCHEMA = "bootwright.pki/1"


@dataclass(frozen=True)
class PkiOptions:
    """What the command line asks for; ``name`` is a target's for issue, a client's for client."""

    action: PkiAction
    name: str | None = None
    without: str | None = None
    renew: bool = False


@dataclass(frozen=True)
class IssuedCertificate:
    """What a holder proves itself with, and whom it believes.

    Attributes:
        ca_pem: the authority.
        cert_pem: the holder's certificate.
        key_pem: its private key.
        renewed: the certificate is new; or would be, in a preview.
        why: why it is; empty when it is not.
    """

    ca_pem: bytes
    cert_pem: bytes
    key_pem: Secret
    renewed: bool
    why: str


def issued_certificate(
    store: PkiStore, holder: CertificateSubject, names: ServerNames, now: datetime
) -> IssuedCertificate:
    """Return what a holder needs, made or renewed where due.

    Args:
        store: where it is kept.
        holder: who, and what for.
        names: what a server is called, as :func:`bootwright.pki.certificates.server_names` says.
        now: the time.

    Raises:
        InputError: a file of the store is damaged, or a client has the target's name.
        RefusedError: the folder is not for the operator alone, or the authority cannot sign.
        FailedError: another run does not end.
    """
    return _issued_certificate(store.update(lambda held: issue(held, holder, names, now)), holder)


def preview_certificate(
    store: PkiStore, holder: CertificateSubject, names: ServerNames, now: datetime
) -> IssuedCertificate:
    """Return the same without writing anything.

    What would be made is made, shown by ``renewed`` and ``why``, and forgotten: the next call
    makes others.

    Raises:
        InputError, RefusedError, FailedError: as :func:`issued_certificate`.
    """
    return _issued_certificate(issue(store.load(), holder, names, now), holder)


def _issued_certificate(change: StoreChange, holder: CertificateSubject) -> IssuedCertificate:
    pair = change.holdings.pairs[holder]
    authority = change.holdings.authorities[SCOPES[holder.kind]]
    assert pair.key is not None
    why = change.made.get(str(holder), "")
    return IssuedCertificate(
        authority.certificate_pem(), pair.certificate_pem(), pair.key, bool(why), why
    )


def options_of(
    action: PkiAction, names: Sequence[str], without: str | None, renew: bool
) -> PkiOptions:
    """Return what the command line asks for.

    Raises:
        InputError: an action without what it needs, or with what it has no use for.
    """
    if action in ("issue", "client") and len(names) != 1:
        whom = "TARGET" if action == "issue" else "NAME"
        raise InputError(f"{action}: say for whom, one at a time: inv pki {action} {whom}")
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


def pki(options: PkiOptions, now: datetime, store: PkiStore | None = None) -> dict[str, Any]:
    """Do what the options ask for, and return all certificates as a JSON document.

    Args:
        options: what to do.
        now: the time.
        store: where certificates are kept; the operator's folder if ``None``.

    Raises:
        InputError: no such target or certificate, or a file of the store is damaged.
        RefusedError: the folder is not for the operator alone, or an authority cannot sign.
        FailedError: another run does not end.
    """
    store = store or PkiStore(pki_dir())
    change = _apply(options, now, store)
    holdings = change.holdings
    again = change if isinstance(change, Reissue) else None
    return {
        "schema": SCHEMA,
        "action": options.action,
        "name": options.name or options.without,
        "folder": paths.display_path(store.folder),
        "made": [{"what": what, "why": why} for what, why in change.made.items()],
        "dropped": list(again.dropped) if again else [],
        "provision": list(again.provision) if again else [],
        "hand_out": list(again.hand_out) if again else [],
        "certificates": _certificates(holdings, _configured(holdings), now, store),
    }


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
        holder = CertificateSubject("client", options.name)
        return store.update(
            lambda held: issue(held, holder, ServerNames(), now, renew=options.renew)
        )
    if options.action == "reissue":
        return store.update(lambda held: reissue(held, options.without, now, _configured(held)))
    return StoreChange(store.load(), {})


def _configured(holdings: CertificateStore) -> Mapping[str, ServerNames]:
    """Return what the boards are called now; one that is no longer configured is left out."""
    names: dict[str, ServerNames] = {}
    for board in holdings.boards():
        try:
            names[board] = server_names(resolve.target_of(board))
        except InputError:
            continue
    return names


def _certificates(
    holdings: CertificateStore, names: Mapping[str, ServerNames], now: datetime, store: PkiStore
) -> list[dict[str, Any]]:
    found = []
    for scope, pair in sorted(holdings.authorities.items()):
        why = authority_ageing(pair.certificate, now)
        place = paths.display_path(store.authority_place(scope))
        found.append({"kind": "authority", "name": scope, **_shown(pair.certificate, why, now)})
        found[-1] |= {"files": place, "has_key": pair.key is not None}
    for holder, pair in sorted(holdings.pairs.items(), key=lambda item: (item[0].name, item[0])):
        authority = holdings.authorities[SCOPES[holder.kind]].certificate
        called = _called(holder, names)
        why = needs_renewal(pair.certificate, called, now, authority)
        found.append({**holder._asdict(), **_shown(pair.certificate, why, now)})
        found[-1] |= {
            "files": paths.display_path(store.place(holder)),
            "has_key": pair.key is not None,
        }
    return found


def _called(holder: CertificateSubject, names: Mapping[str, ServerNames]) -> ServerNames | None:
    """Return what a holder should be called; ``None`` if only its certificate says."""
    if holder.kind == "server":
        return names.get(holder.name)
    return None if holder.kind == "collector" else ServerNames()


def _shown(certificate: x509.Certificate, why: str, now: datetime) -> dict[str, Any]:
    (common,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    expired = now >= certificate.not_valid_after_utc
    return {
        "subject": f"CN={common.value!s}",
        "names": list(names_in(certificate).words()),
        "serial": f"{certificate.serial_number:x}",
        "sha256": certificate.fingerprint(hashes.SHA256()).hex(),
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "days_left": (certificate.not_valid_after_utc - now).days,
        "state": "expired" if expired else "renew" if why else "valid",
        "why": why,
    }


def lines(document: dict[str, Any]) -> list[str]:
    """Return the document as lines for a person."""
    if document["action"] == "show":
        return _table(document)
    said = [f"{made['what']}: made, {made['why']}" for made in document["made"]]
    said += [f"{name}: dropped" for name in document["dropped"]]
    if not said:
        said = ["nothing to do; --renew makes new ones all the same"]
        if document["action"] == "reissue":
            said = ["there are no certificates"]
    if document["action"] == "client":
        said += [
            f"DOCKER_CERT_PATH={entry['files']}"
            for entry in document["certificates"]
            if (entry["kind"], entry["name"]) == ("client", document["name"])
        ]
    if document["provision"]:
        said.append("these boards go by the old authority until they are provisioned:")
        said.append(f"  inv provision {' '.join(document['provision'])}")
    if document["hand_out"]:
        said.append("these clients are let in again when they have their new files:")
        said += [
            f"  {entry['name']}: {entry['files']}"
            for entry in document["certificates"]
            if entry["kind"] == "client" and entry["name"] in document["hand_out"]
        ]
    return said


def _table(document: dict[str, Any]) -> list[str]:
    found = document["certificates"]
    if not found:
        return [f"{document['folder']}: no certificates yet"]
    first = max(len(f"{entry['name']} {entry['kind']}") for entry in found)
    said = []
    for entry in found:
        called = f"{entry['name']} {entry['kind']}"
        until = f"until {entry['not_after'][:10]}, {entry['days_left']} days"
        why = f" ({entry['why']})" if entry["why"] else ""
        said.append(f"{called:{first}}  {entry['state']:7}  {until}{why}")
        details = {
            "subject": entry["subject"],
            "names": ", ".join(entry["names"]),
            "serial": entry["serial"],
            "sha256": entry["sha256"],
            "files": entry["files"] + ("" if entry["has_key"] else " (without its key)"),
        }
        said += [f"  {key:7}  {value}" for key, value in details.items() if value]
    return said
