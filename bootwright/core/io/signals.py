"""Handling SIGTERM and SIGHUP so that the process cleans up before it ends."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

_ENDING = (signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def exit_on_signal() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise SystemExit, so that every ``finally`` is executed.

    Further signals are ignored until the context ends, so that they do not interrupt the
    clean-up. A signal that was ignored before, as by nohup(1), stays ignored. Only for the main
    thread.

    Raises:
        SystemExit: such a signal was received; its code is 128 plus the signal's number.
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
    """Delay SIGTERM, SIGHUP and Ctrl-C until the context ends.

    Do not start a process in the context: it would inherit this and never receive them.
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
