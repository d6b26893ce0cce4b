"""SIGTERM and SIGHUP raise, once; clean-up is not interrupted."""

import signal
from collections.abc import Iterator

import pytest

from bootwright.core.io.signals import exit_on_signal, without_signals

ENDING = [signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def handlers_are_put_back() -> Iterator[None]:
    before = [signal.getsignal(number) for number in ENDING]
    yield
    assert [signal.getsignal(number) for number in ENDING] == before


@pytest.mark.parametrize("number", ENDING)
def test_the_first_signal_raises_and_the_next_ones_are_ignored(number: signal.Signals) -> None:
    done = []
    with pytest.raises(SystemExit) as ended, exit_on_signal():
        try:
            signal.raise_signal(number)
            done.append("not reached")
        finally:
            for other in ENDING:
                signal.raise_signal(other)
            done.append("clean-up")
    assert ended.value.code == 128 + number
    assert done == ["clean-up"]


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with exit_on_signal():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)]
)
def test_a_signal_during_clean_up_is_delivered_after_it(
    number: signal.Signals, raised: type[BaseException]
) -> None:
    done = []
    with pytest.raises(raised), exit_on_signal():
        with without_signals():
            signal.raise_signal(number)
            done.append("clean-up")
        done.append("not reached")
    assert done == ["clean-up"]
