"""What all tests share."""

import signal
from collections.abc import Iterator

import hypothesis
import pytest

from bootwright.core.secret import MASKER

# How long an example takes says nothing on a machine that boots boards meanwhile.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


def _ignore_no_signal() -> None:
    """Undo what nohup, or a shell that starts the tests in the background, has them ignore.

    What they start would ignore it too.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            own = signal.default_int_handler if number is signal.SIGINT else (lambda *_: None)
            signal.signal(number, own)


_ignore_no_signal()


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests() -> Iterator[None]:
    """What a test masks does not depend on the tests before it."""
    yield
    MASKER.forget()
