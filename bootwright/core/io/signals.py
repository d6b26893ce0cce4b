"""SIGTERM and SIGHUP during what has to be put in order before the process ends."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

_ENDING = (signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def exit_on_signal() -> Iterator[None]:
    """Have SIGTERM and SIGHUP raise SystemExit, so that every ``finally`` runs.

    Only the first one does; those that follow are ignored until the context ends, so that
    they do not interrupt the clean-up. A signal that was ignored before, as with nohup(1), is
    ignored still. To be used in the main thread.

    Raises:
        SystemExit: such a signal came; its code is 128 and the signal's number.
    """
    before = {
        number: signal.signal(number, _exit)
        for number in _ENDING
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def without_signals() -> Iterator[None]:
    """Hold SIGTERM, SIGHUP and Ctrl-C back until the context ends.

    A process that is started meanwhile would never get them: start none.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*_ENDING, signal.SIGINT))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _exit(number: int, _: FrameType | None) -> None:
    for other in _ENDING:
        signal.signal(other, signal.SIG_IGN)
    raise SystemExit(128 + number)
