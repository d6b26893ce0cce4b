"""Where things are kept."""

from pathlib import Path

import pytest

from bootwright.core.paths import build_dir, cache_dir, checkout


def test_cache_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("BOOTWRIGHT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "bootwright"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_dir() == tmp_path / ".cache" / "bootwright"
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_dir() == Path("/xdg/bootwright")
    monkeypatch.setenv("BOOTWRIGHT_CACHE", "~/mine")
    assert cache_dir() == tmp_path / "mine"


def test_checkout_and_build_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert (checkout() / "bootwright" / "core" / "paths.py").is_file()
    monkeypatch.delenv("BOOTWRIGHT_BUILD", raising=False)
    assert build_dir() == checkout() / "build"
    monkeypatch.setenv("BOOTWRIGHT_BUILD", str(tmp_path))
    assert build_dir() == tmp_path
