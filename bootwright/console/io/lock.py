"""A lock, so that only one command of Bootwright uses a target's console at a time."""

import contextlib
import fcntl
import os
from collections.abc import Iterator

from bootwright.core import paths
from bootwright.core.errors import RefusedError


@contextlib.contextmanager
def console_lock(target: str, who: str) -> Iterator[None]:
    """Hold the console of ``target`` for this process while the context lasts.

    Args:
        target: the target's name.
        who: the command that holds it, named in errors of other commands.

    Raises:
        RefusedError: another process has it; names it.
    """
    path = paths.build_dir() / "console" / f"{target}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise RefusedError(
                f"{holder} is using the console of {target}; wait for it to end, or end it"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} ({who})\n")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
