"""OpenPGP keys and signatures that tests make with a real gpg in a temporary home."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONG_AGO = "20200101T120000!"
"""A day on which the keys that have expired by now were still good."""


class KeyRing:
    def __init__(self, home: Path) -> None:
        self.home = home

    def gpg(self, *argv: str, at: str | None = None, data: bytes = b"") -> bytes:
        faked = ("--faked-system-time", at) if at else ()
        command = ("gpg", "--homedir", str(self.home), "--batch", "--quiet", "--yes")
        unlocked = ("--passphrase", "", "--pinentry-mode", "loopback")
        done = subprocess.run(
            [*command, *unlocked, *faked, *argv], input=data, capture_output=True, check=True
        )
        return done.stdout

    def make(self, name: str, *, expires: str = "never", at: str | None = None) -> str:
        """Make an ed25519 key that signs; return its fingerprint."""
        self.gpg("--quick-generate-key", name, "ed25519", "sign", expires, at=at)
        listed = self.gpg("--with-colons", "--list-keys", name).decode()
        return next(x.split(":")[9] for x in listed.splitlines() if x.startswith("fpr"))

    def add_subkey(self, fingerprint: str) -> None:
        self.gpg("--quick-add-key", fingerprint, "ed25519", "sign", "never")

    def revoke(self, fingerprint: str) -> None:
        certificate = (self.home / "openpgp-revocs.d" / f"{fingerprint}.rev").read_bytes()
        self.gpg("--import", data=certificate.replace(b":-----BEGIN", b"-----BEGIN"))

    def sign(self, key: str, data: bytes, *, at: str | None = None) -> bytes:
        return self.gpg("--local-user", key, "--detach-sign", "-o", "-", at=at, data=data)

    def sign_inline(self, key: str, data: bytes) -> bytes:
        return self.gpg("--local-user", key, "--sign", "-o", "-", data=data)

    def public(self, key: str) -> bytes:
        return self.gpg("--armor", "--export", key)


@contextmanager
def keyring() -> Iterator[KeyRing]:
    # Not pytest's directory: the agent's socket allows a short path only.
    home = Path(tempfile.mkdtemp(prefix="bw-keys-"))
    try:
        yield KeyRing(home)
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)
        shutil.rmtree(home, ignore_errors=True)
