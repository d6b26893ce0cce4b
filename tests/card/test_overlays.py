"""Overlays: which files are accepted and which are refused."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from bootwright.card.overlays import OverlayEntry, read_overlays
from bootwright.core.errors import InputError
from bootwright.core.paths import checkout


def test_overlays_keep_modes_links_and_their_order(tmp_path: Path) -> None:
    for overlay, name, mode in (
        ("b", "etc/secret", 0o644),
        ("b", "etc/plain", 0o600),
        ("b", "etc/.gitkeep", 0o644),
        ("a", "usr/run", 0o4750),
    ):
        path = tmp_path / overlay / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        path.chmod(mode)
    (tmp_path / "a" / "link").symlink_to("/nowhere")
    (tmp_path / "b" / ".modes").write_text("# why\n\n0600 etc/secret\n")
    assert read_overlays(tmp_path, ["b", "a"]) == (
        OverlayEntry("/etc/plain", b"etc/plain", None, 0o644, "b"),
        OverlayEntry("/etc/secret", b"etc/secret", None, 0o600, "b"),
        OverlayEntry("/link", None, "/nowhere", 0o777, "a"),
        OverlayEntry("/usr/run", b"usr/run", None, 0o755, "a"),
    )


@pytest.mark.parametrize("umask", [0o077, 0o022, 0o002, 0o000])
def test_modes_do_not_depend_on_the_umask_of_the_clone(umask: int, tmp_path: Path) -> None:
    for name, mode in (("run", 0o777), ("text", 0o666)):
        path = tmp_path / "a" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
        path.chmod(mode & ~umask)
    assert [entry.mode for entry in read_overlays(tmp_path, ["a"])] == [0o755, 0o644]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("etc/x", r"line 1: write a mode and a path"),
        ("4755 etc/x", r"line 1: write a mode and a path"),
        ("0600 etc/y", r"names /etc/y, which is no file of it"),
    ],
)
def test_wrong_modes_are_refused(line: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "a" / "etc").mkdir(parents=True)
    (tmp_path / "a" / "etc" / "x").write_text("")
    (tmp_path / "a" / ".modes").write_text(f"{line}\n")
    with pytest.raises(InputError, match=rf"overlay a: \.modes.*{why}"):
        read_overlays(tmp_path, ["a"])


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


def test_the_overlay_for_a_wifi_as_the_guide_makes_it(tmp_path: Path) -> None:
    guide = (checkout() / "docs" / "targets.md").read_text().partition("### Wi-Fi\n")[2]
    script = re.search(r"^```sh\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    assert script is not None
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    subprocess.run(["sh", "-euc", script[1]], check=True, cwd=tmp_path)
    overlays = tmp_path / "rootfs" / "overlays"
    entries = {entry.path: entry for entry in read_overlays(overlays, ["wifi"])}
    units = "/etc/systemd/system/multi-user.target.wants"
    secret, network = "/var/lib/iwd/Lab.psk", "/etc/systemd/network/20-wifi.network"
    assert entries.keys() == {secret, network, f"{units}/iwd.service"}
    assert entries[secret].mode == 0o600
    assert (entries[secret].content or b"").startswith(b"[Security]\nPassphrase=")
    assert entries[network].mode == 0o644
    assert b"Type=wlan\n" in (entries[network].content or b"")
    assert entries[f"{units}/iwd.service"].link_target == "/lib/systemd/system/iwd.service"
    # Nobody else may read it here either, and it gets into no commit.
    assert (overlays / "wifi" / secret[1:]).stat().st_mode & 0o777 == 0o600
    status = ["git", "-C", str(tmp_path), "status", "--porcelain", "--untracked-files=all"]
    assert subprocess.run(status, capture_output=True, check=True).stdout == b""
