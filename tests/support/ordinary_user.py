"""Running `inv` as an ordinary user, and sudo with a policy of the test's own."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from bootwright.core import paths

NOBODY = pwd.getpwnam("nobody")

_OPEN = """
set -e
mount --bind "$1/sudoers" /etc/sudoers
number=0
while read -r needed; do
    number=$((number + 1))
    mkdir -p "$1/kept/$number"
    mount --bind "$needed" "$1/kept/$number"
done < "$1/needed"
while read -r closed; do
    mount -t tmpfs -o mode=755 tmpfs "$closed"
done < "$1/closed"
number=0
while read -r needed; do
    number=$((number + 1))
    mkdir -p "$needed"
    mount --bind "$1/kept/$number" "$needed"
done < "$1/needed"
shift
exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
"""
"""Shows a program of nobody's the folders that it needs, although root alone may enter their
parents, and the test's own sudoers; ``$1`` is a folder with the names."""


@contextmanager
def folder_of_nobody() -> Iterator[Path]:
    """A folder that nobody may enter; the folders of pytest are for root alone."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    folder = Path(tempfile.mkdtemp(prefix="bootwright-test-"))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder)


def give_to_nobody(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid, follow_symlinks=False)


def nobody_argv(argv: Sequence[str], policy: str, folder: Path) -> list[str]:
    """Return the command that runs a program as nobody, in mounts where ``policy`` is /etc/sudoers.

    Args:
        argv: the program.
        policy: the content of sudoers.
        folder: a folder for the names of what is mounted.
    """
    if shutil.which("sudo") is None or shutil.which("unshare") is None:
        pytest.skip("sudo or unshare is not installed")
    (folder / "sudoers").write_text(policy)
    (folder / "sudoers").chmod(0o440)
    # Python and the checkout may lie in a folder that only root may enter, such as /root.
    closed = {path: _closed(path) for path in _needed()}
    needed = sorted(str(path) for path, at in closed.items() if at)
    (folder / "needed").write_text("".join(f"{path}\n" for path in needed))
    covered = sorted({str(at) for at in closed.values() if at})
    (folder / "closed").write_text("".join(f"{path}\n" for path in covered))
    namespace = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _OPEN, "sh"]
    return [*namespace, str(folder), *argv]


def as_nobody_with_sudo(
    argv: Sequence[str], env: Mapping[str, str], policy: str, folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run a program as nobody; see :func:`nobody_argv`."""
    return subprocess.run(
        nobody_argv(argv, policy, folder),
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def _needed() -> set[Path]:
    return {Path(sys.base_prefix).resolve(), paths.checkout(), Path(sys.prefix).resolve()}


def _closed(path: Path) -> Path | None:
    """Return the first folder on the way to ``path`` that others may not enter."""
    way = [*reversed(path.parents), path]
    return next((each for each in way if not each.stat().st_mode & 0o001), None)
