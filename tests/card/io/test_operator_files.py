"""Public keys of the operator: which are accepted and which are refused."""

import base64
from pathlib import Path

import pytest

from bootwright.card.io.operator_files import read_public_keys
from bootwright.core.errors import InputError
from bootwright.remote.io.key_files import KEYS_MAX, own_public_keys

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGYXGt1ajHadN8XR8BaqrQlqiAEEqhnEOe1HiFPj+NZq"


def blob(*fields: bytes) -> str:
    """Return the base64 of a public key with these fields."""
    data = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
    return base64.b64encode(data).decode()


OTHER = f"ssh-rsa {blob(b'ssh-rsa', bytes((1, 0, 1)), bytes((0,)) + bytes((200,)) * 256)}"
CERT = "ssh-ed25519-cert-v01@openssh.com"
CERTIFICATE = f"{CERT} {blob(CERT.encode(), b'x' * 32)} me"
DSA = f"ssh-dss {blob(b'ssh-dss', b'x' * 129)} me"
SHORT_RSA = f"ssh-rsa {blob(b'ssh-rsa', bytes((1, 0, 1)), bytes((0,)) + bytes((200,)) * 96)}"


def test_keys_come_from_options_from_files_or_from_the_home_directory(tmp_path: Path) -> None:
    own = tmp_path / ".ssh"
    own.mkdir()
    (own / "id_ed25519.pub").write_text(f"{KEY} me@home\n")
    (own / "id_ed25519").write_text("not looked at")
    (tmp_path / "with blank.pub").write_text(f"\ufeff# both\r\n\r\n{KEY} a\tcaf\u00e9\r\n{OTHER}")
    assert own_public_keys(tmp_path).keys == (f"{KEY} me@home",)
    assert read_public_keys(["~/.ssh/id_ed25519.pub"], tmp_path, Path("/")) == (f"{KEY} me@home",)
    both = read_public_keys([f" {OTHER} ", "with blank.pub", OTHER], tmp_path, tmp_path)
    assert both == (OTHER, f"{KEY} a\tcaf\u00e9")
    assert own_public_keys(tmp_path / "nobody").keys == ()


def test_what_is_no_key_in_the_home_directory_is_left_out(tmp_path: Path) -> None:
    own = tmp_path / ".ssh"
    own.mkdir()
    for name, text in (
        ("id_ed25519", KEY),
        ("id_ed25519-cert", CERTIFICATE),
        ("id_old", ""),
        ("id_dsa", DSA),
    ):
        (own / f"{name}.pub").write_text(f"{text}\n")
    (own / "id_folder.pub").mkdir()
    found = own_public_keys(tmp_path)
    assert found.keys == (KEY,)
    # A certificate lies beside its key; the others are worth a warning.
    assert [reason.partition(": ")[0] for reason in found.left_out] == [
        str(own / f"{name}.pub") for name in ("id_dsa", "id_folder", "id_old")
    ]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff\xfes\0s\0h\0", "not UTF-8"),
        (b"", "there is no public key in it"),
        (b"# nothing\n", "there is no public key in it"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\n\xff", "this is a private key"),
        (CERTIFICATE.encode(), "a certificate"),
        (DSA.encode(), "a DSA key"),
        (SHORT_RSA.encode(), "an RSA key of less than 1024 bits"),
        (b"ssh-ed25519\n", "not a public key"),
        (b"ssh-ed25519 AAAA*\n", "not a public key"),
        (KEY.replace("ed25519", "rsa", 1).encode(), "not a public key"),
        (KEY.encode() + b" \x1b[2J", "not a public key"),
        (KEY[:-8].encode(), "not a public key"),
        (b"#" * (KEYS_MAX + 1), "more than 256"),
    ],
)
def test_files_that_hold_no_key(content: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / "id.pub").write_bytes(content)
    with pytest.raises(InputError, match=rf"id\.pub: {why}"):
        read_public_keys(["id.pub"], tmp_path, tmp_path)


@pytest.mark.parametrize("value", ["nothing", "a\0b", ".", "what is this", "\udcff x"])
def test_a_file_that_cannot_be_read(value: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read a public key"):
        read_public_keys([value], tmp_path, tmp_path)


@pytest.mark.parametrize("value", ["ssh-ed25519 x", "ssh-ed25519 \udcff", "ssh-\udcff AAAA"])
def test_options_that_are_not_a_key(value: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="authorized_keys: not a public key"):
        read_public_keys([value], tmp_path, tmp_path)


def test_the_content_of_a_wrong_file_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text("correct horse battery\n")
    with pytest.raises(InputError) as caught:
        read_public_keys(["passphrase"], tmp_path, tmp_path)
    assert "horse" not in str(caught.value)
