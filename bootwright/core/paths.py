"""The directories that Bootwright uses by default: cache, checkout and build."""

import os
from pathlib import Path

from bootwright.core.errors import InputError


def home() -> Path:
    """Return the operator's home directory.

    Raises:
        InputError: neither ``HOME`` nor ``/etc/passwd`` names it.
    """
    return expand_user("~")


def expand_user(path: str) -> Path:
    """Return ``path`` with the home directory in place of ``~`` or ``~name``.

    Raises:
        InputError: that home directory is not known.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        name = path.partition("/")[0][1:]
        if name:
            raise InputError(f"{path}: there is no user {name!r} on this machine") from None
        raise InputError(
            f"your home directory is not known: /etc/passwd has no user {os.geteuid()}; set HOME"
        ) from None


def cache_dir() -> Path:
    """Return the directory where downloads and finished root file systems are kept between runs.

    ``$BOOTWRIGHT_CACHE``, else ``$XDG_CACHE_HOME/bootwright``, else
    ``~/.cache/bootwright``. The directory need not exist yet.
    """
    if own := os.environ.get("BOOTWRIGHT_CACHE"):
        return expand_user(own).absolute()
    # The XDG specification: a relative path in the variable is to be ignored.
    shared = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(shared) if shared.startswith("/") else home() / ".cache"
    return base / "bootwright"


def checkout() -> Path:
    """Return the checkout's root: the directory that holds ``tasks.py`` and the package."""
    return Path(__file__).resolve().parents[2]


def build_dir() -> Path:
    """Return the directory that images and manifests are written to.

    ``$BOOTWRIGHT_BUILD``, else the checkout's ``build``. It need not exist yet.
    """
    if own := os.environ.get("BOOTWRIGHT_BUILD"):
        return expand_user(own).absolute()
    return checkout() / "build"


def display_path(path: str | Path) -> str:
    """Return ``path`` for a message: relative if it is below the current directory."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return str(path)
