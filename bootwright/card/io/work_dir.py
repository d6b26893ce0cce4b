"""A private folder for the parts of one card, which is removed even if the run is killed."""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def make_work_dir(parent: Path) -> Iterator[Path]:
    """Make a folder (mode 0700) under ``parent`` and remove it at the end.

    Folders of runs that were killed are removed first. They are recognised by their lock: each
    run locks its folder, and the kernel releases the lock when the process ends.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for stale in parent.glob("card-*"):
        _remove_if_stale(stale)
    folder = Path(tempfile.mkdtemp(dir=parent, prefix="card-"))
    with (folder / "lock").open("xb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_if_stale(folder: Path) -> None:
    try:
        with (folder / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        # Another run uses it, or has just created it and not yet its lock.
        return
