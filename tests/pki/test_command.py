"""`inv pki`: from issuing to reissuing."""

from pathlib import Path
from typing import Any

import pytest

from bootwright.core.errors import InputError
from bootwright.pki.certificate_store import (
    CertificateSubject,
    issue_board,
)
from bootwright.pki.command import (
    PkiOptions,
    options_of,
    pki,
)
from bootwright.pki.io.store import PkiStore
from tests.support.pki import DAY, NAMES, NOW
from tests.support.schemas import check_broken_documents, check_document


@pytest.fixture
def store(tmp_path: Path) -> PkiStore:
    return PkiStore(tmp_path / "deep" / "pki")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (("show", ("odroid",), None, False), "show: takes no name, and 'odroid' was given"),
        (("show", (), None, True), "--renew is for issue and client, not for show"),
        (("issue", (), None, False), "inv pki issue TARGET"),
        (("issue", ("a", "b"), None, False), "give exactly one name"),
        (("client", (), None, False), "inv pki client NAME"),
        (("client", ("../x",), None, False), "a client's name is"),
        (("client", ("ci",), "ci", False), "--without is for reissue, not for client"),
        (("reissue", ("ci",), None, False), "did you mean --without ci"),
        (("reissue", (), "ci", True), "--renew is for issue"),
    ],
)
def test_options_for_another_action_are_refused(given: Any, why: str) -> None:
    with pytest.raises(InputError, match=why):
        options_of(*given)


def test_the_task_from_issue_to_reissue(store: PkiStore) -> None:
    empty = pki(options_of("show", (), None, False), NOW, store)
    assert empty.lines() == [f"{store.folder}: no certificates yet"]
    made = pki(options_of("issue", ("odroid",), None, False), NOW, store)
    assert made.lines()[1] == "server odroid: made, there was none"
    assert pki(PkiOptions("issue", "odroid"), NOW, store).lines()[0].startswith("nothing to do")
    client = pki(options_of("client", ("ci",), None, False), NOW, store)
    place = store.subject_folder(CertificateSubject("client", "ci"))
    assert client.lines() == ["client ci: made, there was none", f"DOCKER_CERT_PATH={place}"]
    pki(options_of("client", ("alice",), None, False), NOW, store)
    late = pki(PkiOptions("show"), NOW + 380 * DAY, store)
    document = check_document("pki", late.document())
    check_broken_documents("pki", document)
    states = {(row["name"], row["kind"]): row["state"] for row in document["certificates"]}
    assert states[("docker", "authority")] == "valid"
    assert states[("odroid", "server")] == states[("ci", "client")] == "renew"
    assert late.lines()[0].startswith("docker authority  valid    until 2036-05-02, 3271 days")
    done = pki(options_of("reissue", (), "ci", False), NOW, store)
    document = check_document("pki", done.document())
    check_broken_documents("pki", document)
    assert (document["provision"], document["hand_out"]) == (["odroid"], ["alice"])
    assert done.lines()[-5:] == [
        "client ci: dropped",
        "these boards trust the old authority until they are provisioned:",
        "  inv provision odroid",
        "these clients cannot connect until they have their new files:",
        f"  alice: {store.subject_folder(CertificateSubject('client', 'alice'))}",
    ]
    assert not place.exists()


def test_a_target_that_is_no_longer_configured_is_still_shown(store: PkiStore) -> None:
    store.update(lambda held: issue_board(held, "gone", NAMES, NOW))
    found = pki(PkiOptions("show"), NOW, store).certificates
    assert {row.state for row in found} == {"valid"}
