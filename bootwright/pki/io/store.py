"""The folder with certificates and keys on the operator's machine.

``current`` is a link to a generation: a folder with all files. A change writes a complete new
generation and then replaces the link. So, after a crash at any time, each certificate is together
with its own key and its own authority.
"""

import contextlib
import errno
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from cryptography.x509 import Certificate

from bootwright.core import paths
from bootwright.core.errors import FailedError, InputError, RefusedError
from bootwright.core.io.fsync import sync_path
from bootwright.core.io.lock import exclusive
from bootwright.core.secret import Secret
from bootwright.pki.certificate_store import CertificateStore, CertificateSubject, StoreChange
from bootwright.pki.certificates import (
    SCOPES,
    CertificateKind,
    KeyPair,
    Scope,
    check_key,
    parse_certificate,
)

WAIT_S = 20.0
"""Seconds to wait for another run; a change takes less than one second."""

_FOLDERS: dict[CertificateKind, str] = {
    "server": "docker/boards",
    "client": "docker/clients",
    "log": "logs/boards",
    "collector": "logs/collectors",
}
_AUTHORITIES: dict[Scope, str] = {"docker": "docker/authority", "logs": "logs/authority"}
_GENERATION = "generation-"

C = TypeVar("C", bound=StoreChange)


def pki_dir() -> Path:
    """Return the folder where certificates and keys are kept; it need not exist.

    ``$BOOTWRIGHT_PKI``, else the checkout's ``pki``.
    """
    if own := os.environ.get("BOOTWRIGHT_PKI"):
        return paths.expand_user(own).absolute()
    return paths.checkout() / "pki"


class PkiStore:
    """The certificates and keys below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._current = folder / "current"

    def subject_folder(self, subject: CertificateSubject) -> Path:
        """Return the folder with a subject's ``ca.pem``, ``cert.pem`` and ``key.pem``."""
        return self._current / _FOLDERS[subject.kind] / subject.name

    def authority_folder(self, scope: Scope) -> Path:
        """Return the folder with an authority's ``ca.pem`` and ``ca-key.pem``."""
        return self._current / _AUTHORITIES[scope]

    def load(self) -> CertificateStore:
        """Return the certificates in the folder, without writing; none if there is no folder.

        Raises:
            RefusedError: other users can read the folder, or it belongs to another user.
            InputError: a file is missing or damaged (says which).
            FailedError: other runs changed it each time that it was read.
        """
        if not self._exists():
            return CertificateStore()
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            before = self.generation()
            if before is None:
                return CertificateStore()
            try:
                found = _read(self.folder / before, self._current)
            except InputError:
                if self.generation() == before:
                    raise
                continue
            # If another run has replaced it in the meantime, files of both may have been read.
            if self.generation() == before:
                return found
        raise FailedError(
            f"{paths.display_path(self.folder)}: other runs keep changing it; try again"
        )

    def update(self, change: Callable[[CertificateStore], C]) -> C:
        """Apply ``change`` to the certificates in the folder, and store the result.

        Only one run does this at a time. Nothing is written if ``change`` made no certificate.

        Raises:
            RefusedError: other users can read the folder, or it belongs to another user; or
                ``change`` raised it.
            InputError: a file is missing or damaged, or ``change`` raised it.
            FailedError: another run uses the store for too long.
        """
        if not self._exists():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._exists()
        with self._locked():
            changed = change(self.load())
            if changed.made:
                self._save(changed.certificates)
        return changed

    def _exists(self) -> bool:
        shown = paths.display_path(self.folder)
        try:
            found = self.folder.stat()
        except FileNotFoundError:
            return False
        if not stat.S_ISDIR(found.st_mode):
            raise RefusedError(f"{shown}: not a folder; private keys need a folder of your own")
        if found.st_uid != os.geteuid():
            raise RefusedError(
                f"{shown}: it belongs to user {found.st_uid} and you are {os.geteuid()}; private"
                " keys are for their owner only. Run as that user, or set BOOTWRIGHT_PKI to a"
                " folder of your own"
            )
        if found.st_mode & 0o077:
            raise RefusedError(
                f"{shown}: other users can open it (mode {found.st_mode & 0o777:04o}), but it is"
                f" for private keys; run: chmod 700 {shown}"
            )
        return True

    def generation(self) -> str | None:
        """Return the name of the generation in use."""
        try:
            return str(self._current.readlink())
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # A copy in which the link was replaced by its content, such as a restored backup.
            shown = paths.display_path(self._current)
            aside = paths.display_path(self.folder / f"{_GENERATION}restored")
            raise InputError(
                f"{shown}: this is a folder, but it must be a link to a folder; run:"
                f" mv {shown} {aside} && ln -s {_GENERATION}restored {shown}"
            ) from None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        deadline = time.monotonic() + WAIT_S
        with ExitStack() as stack:
            while True:
                try:
                    stack.enter_context(exclusive(self.folder / ".lock", "changing certificates"))
                    break
                except FailedError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)
            yield

    def _save(self, certificates: CertificateStore) -> None:
        new = Path(tempfile.mkdtemp(prefix=_GENERATION, dir=self.folder))
        _write(new, certificates)
        link = self.folder / "current.new"
        link.unlink(missing_ok=True)
        link.symlink_to(new.name)
        link.replace(self._current)
        sync_path(self.folder)
        # After the new one is in use. This also removes generations of runs that were killed.
        for old in self.folder.glob(f"{_GENERATION}*"):
            if old.name != new.name:
                shutil.rmtree(old)


def _write(root: Path, certificates: CertificateStore) -> None:
    for scope, pair in certificates.authorities.items():
        folder = _make_folder(root, _AUTHORITIES[scope])
        _write_file(folder / "ca.pem", pair.certificate_pem(), 0o444)
        if pair.key is not None:
            _write_file(folder / "ca-key.pem", pair.key.reveal(), 0o400)
    for subject, pair in certificates.pairs.items():
        folder = _make_folder(root, f"{_FOLDERS[subject.kind]}/{subject.name}")
        authority = certificates.authorities[SCOPES[subject.kind]]
        assert pair.key is not None
        _write_file(folder / "ca.pem", authority.certificate_pem(), 0o444)
        _write_file(folder / "cert.pem", pair.certificate_pem(), 0o444)
        _write_file(folder / "key.pem", pair.key.reveal(), 0o400)
    for folder in (*root.rglob("*/"), root):
        sync_path(folder)


def _make_folder(root: Path, inside: str) -> Path:
    folder = root
    for part in inside.split("/"):
        folder = folder / part
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _write_file(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)  # whatever the umask
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _read(root: Path, shown: Path) -> CertificateStore:
    """Return the certificates of a generation; in errors its files are below ``shown``."""
    restore = "restore the whole folder from a backup"
    if not root.is_dir():
        raise InputError(f"{paths.display_path(shown)}: its target does not exist; {restore}")
    authorities: dict[Scope, KeyPair] = {}
    for scope, inside in _AUTHORITIES.items():
        if (root / inside).is_dir():
            place = shown / inside
            certificate = _certificate(root / inside, "ca.pem", place, restore)
            # An authority's key may be kept elsewhere.
            if (root / inside / "ca-key.pem").exists():
                key = _key(root / inside, "ca-key.pem", place, restore, certificate)
                authorities[scope] = KeyPair(certificate, key)
            else:
                authorities[scope] = KeyPair(certificate, None)
    pairs: dict[CertificateSubject, KeyPair] = {}
    for kind, inside in _FOLDERS.items():
        for folder in sorted((root / inside).glob("*/")):
            if SCOPES[kind] not in authorities:
                missing = paths.display_path(shown / _AUTHORITIES[SCOPES[kind]])
                raise InputError(f"{missing}: missing; {restore}")
            place = shown / inside / folder.name
            again = f"{restore}, or remove it to get a new one: rm -rf {paths.display_path(place)}"
            certificate = _certificate(folder, "cert.pem", place, again)
            key = _key(folder, "key.pem", place, again, certificate)
            pairs[CertificateSubject(kind, folder.name)] = KeyPair(certificate, key)
    return CertificateStore(authorities, pairs)


def _certificate(folder: Path, name: str, shown: Path, remedy: str) -> Certificate:
    try:
        return parse_certificate((folder / name).read_bytes())
    except FileNotFoundError:
        raise InputError(f"{paths.display_path(shown / name)}: missing; {remedy}") from None
    except InputError as error:
        raise InputError(f"{paths.display_path(shown / name)}: {error}; {remedy}") from None


def _key(folder: Path, name: str, shown: Path, remedy: str, certificate: Certificate) -> Secret:
    try:
        key = Secret((folder / name).read_bytes())
        check_key(certificate, key)
    except FileNotFoundError:
        raise InputError(f"{paths.display_path(shown / name)}: missing; {remedy}") from None
    except InputError as error:
        raise InputError(f"{paths.display_path(shown / name)}: {error}; {remedy}") from None
    return key
