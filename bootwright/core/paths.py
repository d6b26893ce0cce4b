"""The directories that Bootwright uses by default: cache, checkout and build."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """Return the directory where downloads and finished root file systems are kept between runs.

    ``$BOOTWRIGHT_CACHE``, else ``$XDG_CACHE_HOME/bootwright``, else
    ``~/.cache/bootwright``. The directory need not exist yet.
    """
    if own := os.environ.get("BOOTWRIGHT_CACHE"):
        return Path(own).expanduser().absolute()
    # The XDG specification: a relative path in the variable is to be ignored.
    shared = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(shared) if shared.startswith("/") else Path.home() / ".cache"
    return base / "bootwright"


def checkout() -> Path:
    """Return the checkout's root: the directory that holds ``tasks.py`` and the package."""
    return Path(__file__).resolve().parents[2]


def build_dir() -> Path:
    """Return the directory that images and manifests are written to.

    ``$BOOTWRIGHT_BUILD``, else the checkout's ``build``. It need not exist yet.
    """
    if own := os.environ.get("BOOTWRIGHT_BUILD"):
        return Path(own).expanduser().absolute()
    return checkout() / "build"


def display_path(path: str | Path) -> str:
    """Return ``path`` for a message: relative if it is below the current directory."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return str(path)
