"""A private folder for the parts of one card, which is removed even if the run is killed."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bootwright.core.io.signals import without_signals


@contextmanager
def make_work_dir(parent: Path) -> Iterator[Path]:
    """Make a folder (mode 0700) under ``parent`` and remove it at the end.

    Folders of runs that were killed are removed first. They are recognised by their lock: each
    run locks its folder, and the kernel releases the lock when the process ends.
    """
    parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        # A signal between making the folder and noting it here would leave it behind.
        with without_signals():
            folder = _make_folder(parent, stack)
        yield folder


def _make_folder(parent: Path, stack: ExitStack) -> Path:
    """Make a locked folder; at the end of ``stack`` it is removed, then unlocked."""
    everybody = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Another run must not find a folder that has no lock yet.
        fcntl.flock(everybody, fcntl.LOCK_EX)
        for stale in parent.glob("card-*"):
            _remove_if_stale(stale)
        folder = Path(tempfile.mkdtemp(dir=parent, prefix="card-"))
        lock = stack.enter_context((folder / "lock").open("xb"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    finally:
        os.close(everybody)
    return folder


def _remove_if_stale(folder: Path) -> None:
    """Remove a folder unless a run uses it; one without a lock was made by a killed run."""
    try:
        with (folder / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return
