"""An SSH key of the checkout's own, for an operator who has none."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from bootwright.core import paths
from bootwright.core.io.fsync import replace_file


def project_key() -> Path:
    """Return where the private key is kept; it need not exist."""
    return paths.build_dir() / "ssh" / "id_ed25519"


def ensure_project_key() -> str:
    """Make the key unless it is there, and return its public half, one line.

    Only the operator can read the private half, which has no passphrase: it lies beside
    images that hold as much.
    """
    private = project_key()
    public = private.with_suffix(".pub")
    if not (private.is_file() and public.is_file()):
        key = Ed25519PrivateKey.generate()
        private.parent.mkdir(parents=True, exist_ok=True)
        text = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        replace_file(private, text, 0o600)
        line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        replace_file(public, f"{line} bootwright\n")
    return public.read_text(encoding="utf-8").strip()
