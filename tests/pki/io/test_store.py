"""The folder of the certificates survives anything."""

import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bootwright.core.errors import FailedError, InputError, RefusedError
from bootwright.core.paths import checkout
from bootwright.pki.certificate_store import (
    CertificateStore,
    CertificateSubject,
    StoreChange,
    issue,
    reissue,
)
from bootwright.pki.certificates import (
    SCOPES,
    ServerNames,
)
from bootwright.pki.command import (
    PkiOptions,
    issued_certificate,
    pki,
    preview_certificate,
)
from bootwright.pki.io import store as store_module
from bootwright.pki.io.store import PkiStore, pki_dir
from tests.support.pki import DAY, NAMES, NOW, fill


@pytest.fixture
def store(tmp_path: Path) -> PkiStore:
    return PkiStore(tmp_path / "deep" / "pki")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_folder_of_certificates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BOOTWRIGHT_PKI", raising=False)
    assert pki_dir() == checkout() / "pki"
    monkeypatch.setenv("BOOTWRIGHT_PKI", str(tmp_path))
    assert pki_dir() == tmp_path


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
def test_stored_files_are_private_and_can_be_loaded(store: PkiStore, umask: int) -> None:
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
    client = store.subject_folder(CertificateSubject("client", "ci"))
    assert sorted(path.name for path in client.iterdir()) == ["ca.pem", "cert.pem", "key.pem"]
    authority = store.authority_folder("docker")
    assert (client / "ca.pem").read_bytes() == (authority / "ca.pem").read_bytes()
    assert len(list(store.folder.glob("generation-*"))) == 1


def test_reading_creates_nothing(store: PkiStore) -> None:
    assert store.load() == CertificateStore()
    server = CertificateSubject("server", "odroid")
    assert preview_certificate(store, server, NAMES, NOW).cert_pem.startswith(b"-----BEGIN CERT")
    assert not store.folder.parent.exists()
    fill(store)
    before = contents(store.folder)
    in_use = (store.subject_folder(server) / "cert.pem").read_bytes()
    assert preview_certificate(store, server, NAMES, NOW).cert_pem == in_use
    assert preview_certificate(store, server, NAMES, NOW + 380 * DAY).cert_pem != in_use
    assert contents(store.folder) == before


def test_certificate_of_a_server(store: PkiStore) -> None:
    server = CertificateSubject("server", "odroid")
    first = issued_certificate(store, server, NAMES, NOW)
    place = store.subject_folder(server)
    assert first.ca_pem == (place / "ca.pem").read_bytes()
    assert first.cert_pem == (place / "cert.pem").read_bytes()
    assert first.key_pem.reveal() == (place / "key.pem").read_bytes()
    assert issued_certificate(store, server, NAMES, NOW + DAY) == first
    later = issued_certificate(store, server, NAMES, NOW + 400 * DAY)
    assert later.ca_pem == first.ca_pem
    assert later.cert_pem != first.cert_pem and later.key_pem != first.key_pem


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o710, 0o704, 0o777])
def test_a_folder_that_others_can_open_is_refused(store: PkiStore, mode: int) -> None:
    store.folder.mkdir(parents=True)
    store.folder.chmod(mode)
    for use in (store.load, lambda: fill(store)):
        with pytest.raises(RefusedError, match=f"mode 0{mode:o}.*chmod 700"):
            use()
    assert list(store.folder.iterdir()) == []


def test_a_folder_of_another_user_is_refused(
    store: PkiStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(RefusedError, match="you are 54321"):
        store.load()


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pki").write_text("")
    with pytest.raises(RefusedError, match="not a folder"):
        PkiStore(tmp_path / "pki").load()


def test_the_key_of_an_authority_may_be_elsewhere(store: PkiStore, tmp_path: Path) -> None:
    fill(store)
    key = store.authority_folder("docker") / "ca-key.pem"
    away = key.rename(tmp_path / "stick")
    server = CertificateSubject("server", "odroid")
    in_use = (store.subject_folder(server) / "cert.pem").read_bytes()
    assert issued_certificate(store, server, NAMES, NOW).cert_pem == in_use
    store.update(lambda held: issue(held, CertificateSubject("log", "other"), ServerNames(), NOW))
    with pytest.raises(RefusedError, match="inv pki reissue"):
        fill(store, "alice")
    away.rename(store.authority_folder("docker") / "ca-key.pem")
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
    place = store.subject_folder(CertificateSubject("client", "ci"))
    assert KEY_TEXT in (place / "key.pem").read_text()
    path = damage(place)
    with pytest.raises(InputError) as caught:
        store.load()
    assert str(caught.value).startswith(f"{path}: ")
    assert f"rm -rf {place}" in str(caught.value)
    message = "".join(traceback.format_exception(caught.value))
    assert KEY_TEXT not in message
    for file in place.iterdir():
        file.unlink()
    place.rmdir()
    assert list(fill(store).made) == ["client ci"]


def test_a_lost_authority_is_not_replaced_silently(store: PkiStore) -> None:
    fill(store)
    for file in store.authority_folder("docker").iterdir():
        file.unlink()
    with pytest.raises(InputError, match=r"authority/ca\.pem: missing; restore"):
        fill(store)
    store.authority_folder("docker").rmdir()
    with pytest.raises(InputError, match="authority: missing; restore"):
        fill(store)


def test_the_error_after_restoring_a_backup_without_links_has_the_remedy(store: PkiStore) -> None:
    held = fill(store).certificates
    current = store.folder / "current"
    generation = store.folder / current.readlink()
    current.unlink()
    generation.rename(current)
    with pytest.raises(InputError, match="it must be a link to a folder; run: mv ") as caught:
        store.load()
    subprocess.run(str(caught.value).split("; run: ")[-1], shell=True, check=True)
    assert store.load() == held
    fill(store, "alice")


def test_no_output_contains_a_key(store: PkiStore) -> None:
    change = fill(store)
    made = issued_certificate(store, CertificateSubject("server", "odroid"), NAMES, NOW)
    shown = pki(PkiOptions("show"), NOW, store)
    message = f"{change!r} {made!r} {shown!r} {shown.document()} {shown.lines()}"
    assert KEY_TEXT not in message and "PRIVATE" not in message
    assert "***" in message


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


def test_certificates_that_change_during_loading_are_loaded_again(
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


def test_simultaneous_runs_lose_nothing_and_readers_see_complete_generations(
    store: PkiStore,
) -> None:
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


def test_waiting_for_another_run_ends_with_an_error(
    store: PkiStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "WAIT_S", 0.1)

    def slow(held: CertificateStore) -> StoreChange:
        with pytest.raises(FailedError, match="another run is changing certificates"):
            fill(PkiStore(store.folder))
        return StoreChange(held, {})

    store.update(slow)
