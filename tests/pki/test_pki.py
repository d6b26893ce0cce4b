"""Certificates: what is in them, when a new one is due, and that the folder survives anything."""

import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from bootwright.core.config import Target
from bootwright.core.errors import FailedError, InputError, RefusedError
from bootwright.core.paths import checkout
from bootwright.pki.certificate_store import (
    CertificateStore,
    CertificateSubject,
    StoreChange,
    issue,
    issue_board,
    reissue,
)
from bootwright.pki.certificates import (
    SCOPES,
    KeyPair,
    ServerNames,
    authority_needs_renewal,
    check_client_name,
    make_authority,
    names_in,
    needs_renewal,
    server_names,
    sign,
)
from bootwright.pki.command import (
    PkiOptions,
    issued_certificate,
    options_of,
    pki,
    preview_certificate,
)
from bootwright.pki.io import store as store_module
from bootwright.pki.io.store import PkiStore, pki_dir
from tests.support.schemas import check_broken_documents, check_document

NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
DAY = timedelta(days=1)
NAMES = ServerNames(("board", "localhost"), ("192.0.2.10", "127.0.0.1"))


def target(**values: Any) -> Target:
    return Target(**{"name": "odroid", "board": "b", "rootfs": "r", "hostname": "board"} | values)


def extension(pair: KeyPair, kind: type[x509.ExtensionType]) -> tuple[Any, bool]:
    found = pair.certificate.extensions.get_extension_for_class(kind)
    return found.value, found.critical


# What is in a certificate


def test_an_authority() -> None:
    authority = make_authority("docker", NOW)
    certificate = authority.certificate
    basic, critical = extension(authority, x509.BasicConstraints)
    assert (basic.ca, basic.path_length, critical) == (True, 0, True)
    usage, critical = extension(authority, x509.KeyUsage)
    assert critical
    assert usage.key_cert_sign and usage.crl_sign and not usage.digital_signature
    own, _ = extension(authority, x509.SubjectKeyIdentifier)
    issuer, _ = extension(authority, x509.AuthorityKeyIdentifier)
    assert issuer.key_identifier == own.digest
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1"
    assert certificate.not_valid_before_utc == NOW - DAY
    assert certificate.not_valid_after_utc == NOW - DAY + timedelta(days=3652)
    certificate.verify_directly_issued_by(certificate)
    assert make_authority("docker", NOW).certificate.subject != certificate.subject


@pytest.mark.parametrize(
    ("kind", "purpose"),
    [
        ("server", ExtendedKeyUsageOID.SERVER_AUTH),
        ("client", ExtendedKeyUsageOID.CLIENT_AUTH),
        ("log", ExtendedKeyUsageOID.CLIENT_AUTH),
    ],
)
def test_a_leaf(kind: Any, purpose: x509.ObjectIdentifier) -> None:
    authority = make_authority("docker", NOW)
    names = NAMES if kind == "server" else ServerNames()
    leaf = sign(authority, kind, "odroid", names, NOW)
    certificate = leaf.certificate
    basic, critical = extension(leaf, x509.BasicConstraints)
    assert (basic.ca, critical) == (False, True)
    usage, critical = extension(leaf, x509.KeyUsage)
    assert critical and usage.digital_signature and not usage.key_cert_sign
    assert list(extension(leaf, x509.ExtendedKeyUsage)[0]) == [purpose]
    issuer, _ = extension(leaf, x509.AuthorityKeyIdentifier)
    assert issuer.key_identifier == extension(authority, x509.SubjectKeyIdentifier)[0].digest
    assert certificate.subject.rfc4514_string() == "CN=odroid"
    assert names_in(certificate) == names
    assert certificate.not_valid_before_utc == NOW - DAY
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == 397 * DAY
    certificate.verify_directly_issued_by(authority.certificate)


def test_a_leaf_does_not_outlive_its_authority_and_a_dying_one_signs_nothing() -> None:
    authority = make_authority("docker", NOW)
    end = authority.certificate.not_valid_after_utc
    late = sign(authority, "client", "ci", ServerNames(), end - 31 * DAY)
    assert late.certificate.not_valid_after_utc == end
    for when, why in ((end - 29 * DAY, "ends on 2036"), (NOW - 2 * DAY, "set the clock")):
        with pytest.raises(RefusedError, match=why):
            sign(authority, "client", "ci", ServerNames(), when)
    with pytest.raises(RefusedError, match=r"bring ca-key\.pem back"):
        sign(KeyPair(authority.certificate, None), "client", "ci", ServerNames(), NOW)


@pytest.mark.parametrize(
    ("values", "dns", "ips"),
    [
        ({}, ("board", "odroid", "localhost"), ("127.0.0.1",)),
        ({"hostname": "odroid"}, ("odroid", "localhost"), ("127.0.0.1",)),
        ({"host": "192.0.2.10"}, ("board", "odroid", "localhost"), ("192.0.2.10", "127.0.0.1")),
        ({"host": "2001:DB8::0:1"}, ("board", "odroid", "localhost"), ("2001:db8::1", "127.0.0.1")),
        ({"host": "Board.Lan."}, ("board", "odroid", "board.lan", "localhost"), ("127.0.0.1",)),
        ({"host": "localhost"}, ("board", "odroid", "localhost"), ("127.0.0.1",)),
        ({"name": "10.0.0.9"}, ("board", "localhost"), ("10.0.0.9", "127.0.0.1")),
        ({"name": "a..b-"}, ("board", "localhost"), ("127.0.0.1",)),
        (
            {"docker": {"api": "tcp://[2001:db8::2]:2376"}},
            ("board", "odroid", "localhost"),
            ("2001:db8::2", "127.0.0.1"),
        ),
        (
            {"docker": {"api": "tcp://0.0.0.0:2376"}},
            ("board", "odroid", "localhost"),
            ("127.0.0.1",),
        ),
    ],
)
def test_what_a_server_is_called(
    values: dict[str, Any], dns: tuple[str, ...], ips: tuple[str, ...]
) -> None:
    names = server_names(target(**values))
    assert names == ServerNames(dns, ips)
    leaf = sign(make_authority("docker", NOW), "server", "odroid", names, NOW)
    assert names_in(leaf.certificate) == names


@pytest.mark.parametrize("host", ["a:b", "192.0.2.300", "a..b", "1.2.3.4.5"])
def test_a_host_that_is_neither_name_nor_address(host: str) -> None:
    with pytest.raises(InputError, match=r"targets\.odroid: host: .* is neither"):
        server_names(target(host=host))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "Alice", "-a", "a b", "a\n", "é", "a" * 64])
def test_names_that_no_client_has(name: str) -> None:
    with pytest.raises(InputError, match="a client's name is"):
        check_client_name(name)
    assert check_client_name("ci.example-2_x") == "ci.example-2_x"


# When a new one is due


@pytest.mark.parametrize(
    ("days", "names", "why"),
    [
        (0, NAMES, ""),
        (0, ServerNames(NAMES.dns[::-1], NAMES.ips[::-1]), ""),
        (0, None, ""),
        (365, NAMES, ""),
        (366, NAMES, ""),
        (366.1, NAMES, "29 days are left"),
        (395.9, NAMES, "0 days are left"),
        (396, NAMES, "expired on 2027-06-04"),
        (1000, None, "expired on 2027-06-04"),
        (-1, NAMES, ""),
        (-1.1, NAMES, "not valid before 2026-05-03"),
        (0, ServerNames(), "its names are now none"),
        (
            0,
            ServerNames(("board", "localhost"), ("127.0.0.1",)),
            "DNS:board, DNS:localhost, IP:127",
        ),
        (0, ServerNames(("board", "other", "localhost"), NAMES.ips), "DNS:other"),
    ],
)
def test_when_renewal_is_due(days: float, names: ServerNames | None, why: str) -> None:
    authority = make_authority("docker", NOW)
    leaf = sign(authority, "server", "odroid", NAMES, NOW)
    found = needs_renewal(leaf.certificate, names, NOW + days * DAY, authority.certificate)
    assert why in found
    assert bool(found) == bool(why)


def test_another_authority_makes_renewal_due() -> None:
    leaf = sign(make_authority("docker", NOW), "server", "odroid", NAMES, NOW)
    other = make_authority("docker", NOW).certificate
    assert "another authority" in needs_renewal(leaf.certificate, NAMES, NOW, other)


@pytest.mark.parametrize(
    ("days", "why"), [(0, ""), (3253, ""), (3255, "ends before"), (3651, "expired"), (-2, "before")]
)
def test_an_authority_ages(days: int, why: str) -> None:
    certificate = make_authority("docker", NOW).certificate
    assert why in authority_needs_renewal(certificate, NOW + days * DAY)
    assert bool(authority_needs_renewal(certificate, NOW + days * DAY)) == bool(why)


# All of them together


def fleet() -> CertificateStore:
    held = CertificateStore()
    for board in ("one", "two"):
        held = issue_board(held, board, ServerNames((board,), ("127.0.0.1",)), NOW).certificates
    for client in ("ci", "alice"):
        held = issue(held, CertificateSubject("client", client), ServerNames(), NOW).certificates
    return held


def test_issue_leaves_what_is_good() -> None:
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


def test_reissue_without_a_board_and_without_nobody() -> None:
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


# The folder


@pytest.fixture
def store(tmp_path: Path) -> PkiStore:
    return PkiStore(tmp_path / "deep" / "pki")


def fill(store: PkiStore, client: str = "ci") -> StoreChange:
    store.update(lambda held: issue_board(held, "odroid", NAMES, NOW))
    return store.update(
        lambda held: issue(held, CertificateSubject("client", client), ServerNames(), NOW)
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BOOTWRIGHT_PKI", raising=False)
    assert pki_dir() == checkout() / "pki"
    monkeypatch.setenv("BOOTWRIGHT_PKI", str(tmp_path))
    assert pki_dir() == tmp_path


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
def test_modes_and_what_comes_back(store: PkiStore, umask: int) -> None:
    old = os.umask(umask)
    try:
        change = fill(store)
    finally:
        os.umask(old)
    assert store.load() == change.certificates
    for path in (store.folder, *store.folder.rglob("*")):
        mode = path.lstat().st_mode & 0o777
        if path.is_dir() and not path.is_symlink():
            assert mode == 0o700, path
        elif path.name in ("key.pem", "ca-key.pem"):
            assert mode == 0o400, path
        elif path.suffix == ".pem":
            assert mode == 0o444, path
    client = store.place(CertificateSubject("client", "ci"))
    assert sorted(path.name for path in client.iterdir()) == ["ca.pem", "cert.pem", "key.pem"]
    authority = store.authority_place("docker")
    assert (client / "ca.pem").read_bytes() == (authority / "ca.pem").read_bytes()
    assert len(list(store.folder.glob("generation-*"))) == 1


def test_reading_creates_nothing(store: PkiStore) -> None:
    assert store.load() == CertificateStore()
    server = CertificateSubject("server", "odroid")
    assert preview_certificate(store, server, NAMES, NOW).cert_pem.startswith(b"-----BEGIN CERT")
    assert not store.folder.parent.exists()
    fill(store)
    before = contents(store.folder)
    in_use = (store.place(server) / "cert.pem").read_bytes()
    assert preview_certificate(store, server, NAMES, NOW).cert_pem == in_use
    assert preview_certificate(store, server, NAMES, NOW + 380 * DAY).cert_pem != in_use
    assert contents(store.folder) == before


def test_certificate_of_a_server(store: PkiStore) -> None:
    server = CertificateSubject("server", "odroid")
    first = issued_certificate(store, server, NAMES, NOW)
    place = store.place(server)
    assert first.ca_pem == (place / "ca.pem").read_bytes()
    assert first.cert_pem == (place / "cert.pem").read_bytes()
    assert first.key_pem.reveal() == (place / "key.pem").read_bytes()
    assert issued_certificate(store, server, NAMES, NOW + DAY) == first
    later = issued_certificate(store, server, NAMES, NOW + 400 * DAY)
    assert later.ca_pem == first.ca_pem
    assert later.cert_pem != first.cert_pem and later.key_pem != first.key_pem


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o710, 0o704, 0o777])
def test_a_folder_that_others_can_look_into(store: PkiStore, mode: int) -> None:
    store.folder.mkdir(parents=True)
    store.folder.chmod(mode)
    for use in (store.load, lambda: fill(store)):
        with pytest.raises(RefusedError, match=f"mode 0{mode:o}.*chmod 700"):
            use()
    assert list(store.folder.iterdir()) == []


def test_a_folder_of_somebody_else(store: PkiStore, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(RefusedError, match="you are 54321"):
        store.load()


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "pki").write_text("")
    with pytest.raises(RefusedError, match="not a folder"):
        PkiStore(tmp_path / "pki").load()


def test_the_key_of_an_authority_may_be_elsewhere(store: PkiStore, tmp_path: Path) -> None:
    fill(store)
    key = store.authority_place("docker") / "ca-key.pem"
    away = key.rename(tmp_path / "stick")
    server = CertificateSubject("server", "odroid")
    in_use = (store.place(server) / "cert.pem").read_bytes()
    assert issued_certificate(store, server, NAMES, NOW).cert_pem == in_use
    store.update(lambda held: issue(held, CertificateSubject("log", "other"), ServerNames(), NOW))
    with pytest.raises(RefusedError, match="inv pki reissue"):
        fill(store, "alice")
    away.rename(store.authority_place("docker") / "ca-key.pem")
    fill(store, "alice")


KEY_TEXT = "MIGHAgEAMBMGByqGSM49"
"""How each of our private keys begins, after the header."""


def damage_cut(place: Path) -> Path:
    path = place / "key.pem"
    text = path.read_bytes()
    path.unlink()
    path.write_bytes(text[:-60])
    return path


def damage_swapped(place: Path) -> Path:
    path = place / "key.pem"
    path.unlink()
    path.write_bytes((place.parent.parent / "boards" / "odroid" / "key.pem").read_bytes())
    return path


def damage_lost(place: Path) -> Path:
    (place / "key.pem").unlink()
    return place / "key.pem"


def damage_certificate(place: Path) -> Path:
    path = place / "cert.pem"
    path.unlink()
    path.write_bytes((place / "key.pem").read_bytes())
    return path


@pytest.mark.parametrize("damage", [damage_cut, damage_swapped, damage_lost, damage_certificate])
def test_damaged_files_are_named_and_no_key_is_shown(
    store: PkiStore, damage: Callable[[Path], Path]
) -> None:
    fill(store)
    place = store.place(CertificateSubject("client", "ci"))
    assert KEY_TEXT in (place / "key.pem").read_text()
    path = damage(place)
    with pytest.raises(InputError) as caught:
        store.load()
    assert str(caught.value).startswith(f"{path}: ")
    assert f"rm -rf {place}" in str(caught.value)
    said = "".join(traceback.format_exception(caught.value))
    assert KEY_TEXT not in said
    for file in place.iterdir():
        file.unlink()
    place.rmdir()
    assert list(fill(store).made) == ["client ci"]


def test_a_lost_authority_is_not_silently_another(store: PkiStore) -> None:
    fill(store)
    for file in store.authority_place("docker").iterdir():
        file.unlink()
    with pytest.raises(InputError, match=r"authority/ca\.pem: missing; restore"):
        fill(store)
    store.authority_place("docker").rmdir()
    with pytest.raises(InputError, match="authority: missing; restore"):
        fill(store)


def test_a_backup_that_followed_links(store: PkiStore) -> None:
    held = fill(store).certificates
    current = store.folder / "current"
    generation = store.folder / current.readlink()
    current.unlink()
    generation.rename(current)
    with pytest.raises(InputError, match="a folder, where a link to one should be; mv ") as caught:
        store.load()
    subprocess.run(str(caught.value).split("; ")[-1], shell=True, check=True)
    assert store.load() == held
    fill(store, "alice")


def test_nothing_shows_a_key(store: PkiStore) -> None:
    change = fill(store)
    made = issued_certificate(store, CertificateSubject("server", "odroid"), NAMES, NOW)
    shown = pki(PkiOptions("show"), NOW, store)
    said = f"{change!r} {made!r} {shown!r} {shown.document()} {shown.lines()}"
    assert KEY_TEXT not in said and "PRIVATE" not in said
    assert "***" in said


class Killed(BaseException):
    """Nothing may catch this; the code stops where it is raised."""


CALLS = ("fsync", "open", "mkdir", "symlink", "rename", "replace", "rmdir", "unlink", "fchmod")


def test_a_crash_at_any_moment_leaves_the_old_or_the_new(
    store: PkiStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = fill(store).certificates
    outcomes = set()
    for moment in range(1000):
        count = 0

        def counted(real: Callable[..., Any], moment: int = moment) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                nonlocal count
                count += 1
                if count > moment:
                    raise Killed
                return real(*args, **kwargs)

            return call

        held = store.load()
        assert held == old
        with monkeypatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, counted(getattr(os, name)))
            try:
                new = store.update(lambda held: reissue(held, None, NOW, {})).certificates
                finished = True
            except Killed:
                finished = False
        found = store.load()
        outcomes.add(found == old)
        if finished:
            assert found == new
            break
        # All of one generation, whichever it is.
        for subject, pair in found.pairs.items():
            scope = SCOPES[subject.kind]
            pair.certificate.verify_directly_issued_by(found.authorities[scope].certificate)
        old = found
    assert finished and moment > 30
    assert outcomes == {True, False}
    assert len(list(store.folder.iterdir())) == 3, "what the killed ones left is gone"


def test_what_changes_while_it_is_read_is_read_again(
    store: PkiStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = fill(store).certificates
    real = store_module._read
    raced: list[StoreChange] = []

    def slow(root: Path, called: Path) -> CertificateStore:
        found = real(root, called)
        if not raced:
            monkeypatch.undo()
            raced.append(fill(store, "alice"))
        return found

    monkeypatch.setattr(store_module, "_read", slow)
    found = store.load()
    assert found == raced[0].certificates != old


RACER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from bootwright.pki.io.store import PkiStore
from bootwright.pki.certificates import ServerNames
from bootwright.pki.certificate_store import CertificateSubject, issue
store = PkiStore(Path(sys.argv[1]))
for number in range(8):
    subject = CertificateSubject("client", f"{sys.argv[2]}{number}")
    store.update(lambda held: issue(held, subject, ServerNames(), datetime.now(UTC)))
"""


def test_runs_at_once_lose_nothing_and_readers_see_whole_generations(store: PkiStore) -> None:
    racers = [
        subprocess.Popen([sys.executable, "-c", RACER, store.folder, name], cwd=checkout())
        for name in ("a", "b", "c")
    ]
    seen = 0
    while any(racer.poll() is None for racer in racers):
        clients = len(store.load().clients())
        assert clients >= seen
        seen = clients
    assert [racer.wait() for racer in racers] == [0, 0, 0]
    assert len(store.load().clients()) == 24
    assert len(store.load().authorities) == 1


def test_a_run_that_does_not_end(store: PkiStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "WAIT_S", 0.1)

    def slow(held: CertificateStore) -> StoreChange:
        with pytest.raises(FailedError, match="another run is changing certificates"):
            fill(PkiStore(store.folder))
        return StoreChange(held, {})

    store.update(slow)


# The task


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (("show", ("odroid",), None, False), "show: takes no name, and 'odroid' was given"),
        (("show", (), None, True), "--renew is for issue and client, not for show"),
        (("issue", (), None, False), "inv pki issue TARGET"),
        (("issue", ("a", "b"), None, False), "one at a time"),
        (("client", (), None, False), "inv pki client NAME"),
        (("client", ("../x",), None, False), "a client's name is"),
        (("client", ("ci",), "ci", False), "--without is for reissue, not for client"),
        (("reissue", ("ci",), None, False), "did you mean --without ci"),
        (("reissue", (), "ci", True), "--renew is for issue"),
    ],
)
def test_options_that_do_not_fit(given: Any, why: str) -> None:
    with pytest.raises(InputError, match=why):
        options_of(*given)


def test_the_task_from_issue_to_reissue(store: PkiStore) -> None:
    empty = pki(options_of("show", (), None, False), NOW, store)
    assert empty.lines() == [f"{store.folder}: no certificates yet"]
    made = pki(options_of("issue", ("odroid",), None, False), NOW, store)
    assert made.lines()[1] == "server odroid: made, there was none"
    assert pki(PkiOptions("issue", "odroid"), NOW, store).lines()[0].startswith("nothing to do")
    client = pki(options_of("client", ("ci",), None, False), NOW, store)
    place = store.place(CertificateSubject("client", "ci"))
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
        "these clients are let in again when they have their new files:",
        f"  alice: {store.place(CertificateSubject('client', 'alice'))}",
    ]
    assert not place.exists()


def test_a_target_that_is_no_longer_configured_is_still_shown(store: PkiStore) -> None:
    store.update(lambda held: issue_board(held, "gone", NAMES, NOW))
    found = pki(PkiOptions("show"), NOW, store).certificates
    assert {row.state for row in found} == {"valid"}
