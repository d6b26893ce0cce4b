"""A lock that only one process can hold."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bootwright.core.errors import FailedError


@contextmanager
def exclusive(path: Path, busy: str, wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold a lock on the file ``path`` while the context lasts; the file is made if it is missing.

    The kernel releases the lock when the process ends, also when it is killed.

    Args:
        path: the lock file; it is not removed, because then two processes could hold a lock.
        busy: what a process that holds the lock does, for the message.
        wait: shows a message, before this process waits until the lock is free.

    Raises:
        FailedError: another process holds the lock, and ``wait`` is ``None``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if wait is None:
                raise FailedError(f"another run is {busy}; wait for it to end ({path})") from None
            wait(f"another run is {busy}; waiting for it to end ({path})")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
