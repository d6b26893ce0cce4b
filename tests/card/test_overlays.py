"""Overlays: which files are accepted and which are refused."""

import os
from pathlib import Path

import pytest

from bootwright.card.overlays import OverlayEntry, read_overlays
from bootwright.core.errors import InputError


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
def test_an_unknown_overlay_is_an_input_error(name: str, tmp_path: Path) -> None:
    root = tmp_path / "overlays"
    (root / "a" / "b").mkdir(parents=True)
    (root / "file").write_text("")
    with pytest.raises(InputError, match=r"no overlay .* there are: a$"):
        read_overlays(root, [name])


def test_without_any_overlay(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are: none"):
        read_overlays(tmp_path / "absent", ["a"])


def test_an_overlay_with_something_else_than_files_and_links_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
