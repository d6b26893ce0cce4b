"""Public keys of the operator: which are accepted and which are refused."""

from pathlib import Path

import pytest

from bootwright.card.io.operator_files import KEYS_MAX, read_public_keys
from bootwright.core.errors import InputError

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGYXGt1ajHadN8XR8BaqrQlqiAEEqhnEOe1HiFPj+NZq"
OTHER = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAH38AAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0="


def test_keys_come_from_options_from_files_or_from_the_home_directory(tmp_path: Path) -> None:
    own = tmp_path / ".ssh"
    own.mkdir()
    (own / "id_ed25519.pub").write_text(f"{KEY} me@home\n")
    (own / "id_ed25519").write_text("not looked at")
    (tmp_path / "with blank.pub").write_text(f"\ufeff# both\r\n\r\n{KEY} a\tcaf\u00e9\r\n{OTHER}")
    assert read_public_keys([], tmp_path, tmp_path) == (f"{KEY} me@home",)
    assert read_public_keys(["~/.ssh/id_ed25519.pub"], tmp_path, Path("/")) == (f"{KEY} me@home",)
    both = read_public_keys([f" {OTHER} ", "with blank.pub", OTHER], tmp_path, tmp_path)
    assert both == (OTHER, f"{KEY} a\tcaf\u00e9")
    assert read_public_keys([], tmp_path / "nobody", tmp_path) == ()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff\xfes\0s\0h\0", "not UTF-8"),
        (b"", "there is no public key in it"),
        (b"# nothing\n", "there is no public key in it"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\n\xff", "this is a private key"),
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
