"""Public keys and overlays as the operator has them: what is taken and what is refused."""

import os
from pathlib import Path

import pytest

from bootwright.card.io.operator_files import KEYS_MAX, read_overlays, read_public_keys
from bootwright.card.personalise import OverlayEntry
from bootwright.core.errors import InputError

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGYXGt1ajHadN8XR8BaqrQlqiAEEqhnEOe1HiFPj+NZq"
OTHER = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAH38AAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0="


def test_keys_are_given_in_words_in_files_or_found_at_home(tmp_path: Path) -> None:
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
        (b"", "holds no public key"),
        (b"# nothing\n", "holds no public key"),
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
def test_words_that_are_no_key(value: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="authorized_keys: not a public key"):
        read_public_keys([value], tmp_path, tmp_path)


def test_overlays_keep_modes_links_and_their_order(tmp_path: Path) -> None:
    for overlay, name, mode in (
        ("b", "etc/secret", 0o600),
        ("b", "etc/plain", 0o644),
        ("b", "etc/.gitkeep", 0o644),
        ("a", "usr/run", 0o4750),
    ):
        path = tmp_path / overlay / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        path.chmod(mode)
    (tmp_path / "a" / "link").symlink_to("/nowhere")
    assert read_overlays(tmp_path, ["b", "a"]) == (
        OverlayEntry("/etc/plain", b"etc/plain", None, 0o644, "b"),
        OverlayEntry("/etc/secret", b"etc/secret", None, 0o600, "b"),
        OverlayEntry("/link", None, "/nowhere", 0o777, "a"),
        OverlayEntry("/usr/run", b"usr/run", None, 0o750, "a"),
    )


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "a\0", "absent", "file"])
def test_names_that_are_no_overlay(name: str, tmp_path: Path) -> None:
    root = tmp_path / "overlays"
    (root / "a" / "b").mkdir(parents=True)
    (root / "file").write_text("")
    with pytest.raises(InputError, match=r"no overlay .* there are: a$"):
        read_overlays(root, [name])


def test_without_any_overlay(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are: none"):
        read_overlays(tmp_path / "absent", ["a"])


def test_what_an_overlay_cannot_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    os.mkfifo(tmp_path / "a" / "pipe")
    with pytest.raises(InputError, match="overlay a: /pipe is neither"):
        read_overlays(tmp_path, ["a"])
    (tmp_path / "a" / "file").write_text("")

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(InputError, match=r"overlay a: cannot read .*file: Permission denied"):
        read_overlays(tmp_path, ["a"])


def test_a_mistaken_file_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text("correct horse battery\n")
    with pytest.raises(InputError) as caught:
        read_public_keys(["passphrase"], tmp_path, tmp_path)
    assert "horse" not in str(caught.value)
