"""One process at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bootwright.core.errors import FailedError


@contextmanager
def exclusive(path: Path, busy: str) -> Iterator[None]:
    """Hold the lock file ``path``, made when missing, for as long as the context lasts.

    The kernel drops the lock with the process, so nothing stale stays behind a kill.

    Args:
        path: the lock file; it is left in place, for removing it would let two in.
        busy: what another process is doing while it holds the lock, for the error.

    Raises:
        FailedError: another process holds the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FailedError(f"another run is {busy}; wait for it to end ({path})") from None
        yield
