"""Issuing certificates, and issuing new ones for all."""

import pytest

from bootwright.core.errors import InputError, RefusedError
from bootwright.pki.certificate_store import (
    CertificateStore,
    CertificateSubject,
    StoreChange,
    issue,
    issue_board,
    reissue,
)
from bootwright.pki.certificates import (
    KeyPair,
    ServerNames,
    names_in,
    needs_renewal,
    sign,
)
from tests.support.pki import DAY, NAMES, NOW, fleet


def test_issue_keeps_valid_certificates() -> None:
    first = issue_board(CertificateStore(), "odroid", NAMES, NOW)
    assert list(first.made) == ["docker authority", "server odroid", "logs authority", "log odroid"]
    again = issue_board(first.certificates, "odroid", NAMES, NOW + DAY)
    assert again == StoreChange(first.certificates, {})
    moved = issue_board(first.certificates, "odroid", ServerNames(("board",)), NOW)
    assert moved.made == {"server odroid": "its names are now DNS:board"}
    forced = issue_board(first.certificates, "odroid", NAMES, NOW, renew=True)
    assert list(forced.made) == ["server odroid", "log odroid"]
    assert forced.certificates.authorities == first.certificates.authorities
    late = issue_board(first.certificates, "odroid", NAMES, NOW + 380 * DAY)
    assert late.made == dict.fromkeys(("server odroid", "log odroid"), "16 days are left")


def test_the_collector_s_name_is_one_that_no_board_can_have() -> None:
    subject = CertificateSubject("collector", "collector")
    first = issue(CertificateStore(), subject, NAMES, NOW)
    pair = first.certificates.pairs[subject]
    assert pair.certificate.subject.rfc4514_string() == "CN=Bootwright collector"
    assert issue(first.certificates, subject, NAMES, NOW + DAY).made == {}
    # One of an earlier version had the name of a possible target.
    authority = first.certificates.authorities["logs"]
    old = sign(authority, "log", "collector", NAMES, NOW)
    held = CertificateStore(first.certificates.authorities, {subject: old})
    made = issue(held, subject, NAMES, NOW).made
    assert made == {str(subject): "its common name is now Bootwright collector"}
    # That alone is no reason to stop if the authority's key is kept elsewhere.
    away = CertificateStore({"logs": KeyPair(authority.certificate, None)}, {subject: old})
    assert issue(away, subject, NAMES, NOW) == StoreChange(away, {})
    for names, day, renew in (
        (ServerNames(("other",)), NOW, False),
        (NAMES, NOW + 380 * DAY, False),
        (NAMES, NOW, True),
    ):
        with pytest.raises(RefusedError, match="the key of the logs authority is missing"):
            issue(away, subject, names, day, renew=renew)


def test_a_board_s_certificate_for_logs_is_not_from_docker_s_authority() -> None:
    held = fleet()
    docker, logs = (held.authorities[scope].certificate for scope in ("docker", "logs"))
    log = held.pairs[CertificateSubject("log", "one")].certificate
    assert needs_renewal(log, ServerNames(), NOW, logs) == ""
    assert needs_renewal(log, ServerNames(), NOW, docker) == "it is signed by another authority"


def test_boards_and_clients_do_not_share_names() -> None:
    with pytest.raises(InputError, match="a target has this name"):
        issue(fleet(), CertificateSubject("client", "one"), ServerNames(), NOW)
    with pytest.raises(InputError, match="reissue --without ci"):
        issue_board(fleet(), "ci", NAMES, NOW)


def serials(held: CertificateStore) -> dict[str, int]:
    return {str(subject): pair.certificate.serial_number for subject, pair in held.pairs.items()}


def test_reissue_without_a_client() -> None:
    old = fleet()
    done = reissue(old, "ci", NOW + DAY, {"one": NAMES})
    assert done.dropped == ("client ci",)
    assert (done.provision, done.hand_out) == (("one", "two"), ("alice",))
    before, after = serials(old), serials(done.certificates)
    assert set(before) - set(after) == {"client ci"}
    kept = {name for name in after if after[name] == before[name]}
    assert kept == {"log one", "log two"}, "the logs' authority signed nothing for ci"
    assert done.certificates.authorities["logs"] == old.authorities["logs"]
    authority = done.certificates.authorities["docker"].certificate
    assert authority != old.authorities["docker"].certificate
    for subject, pair in done.certificates.pairs.items():
        if subject.kind != "log":
            pair.certificate.verify_directly_issued_by(authority)
    assert (
        names_in(done.certificates.pairs[CertificateSubject("server", "one")].certificate) == NAMES
    )
    two = names_in(done.certificates.pairs[CertificateSubject("server", "two")].certificate)
    assert two == ServerNames(("two",), ("127.0.0.1",)), "as before: nothing else is known"


def test_reissue_without_a_board_and_for_all() -> None:
    old = fleet()
    done = reissue(old, "two", NOW, {})
    assert done.dropped == ("log two", "server two")
    assert (done.provision, done.hand_out) == (("one",), ("alice", "ci"))
    assert not set(serials(old).values()) & set(serials(done.certificates).values())
    all_new = reissue(old, None, NOW, {})
    assert set(serials(all_new.certificates)) == set(serials(old))
    assert not set(serials(old).values()) & set(serials(all_new.certificates).values())
    assert reissue(CertificateStore(), None, NOW, {}).made == {}
    with pytest.raises(InputError, match="'bob' has no certificate; there are: alice, ci, one"):
        reissue(old, "bob", NOW, {})


def test_reissue_needs_no_old_key() -> None:
    old = fleet()
    lost = {scope: KeyPair(pair.certificate, None) for scope, pair in old.authorities.items()}
    assert (
        reissue(CertificateStore(lost, old.pairs), None, NOW, {})
        .certificates.authorities["docker"]
        .key
    )
