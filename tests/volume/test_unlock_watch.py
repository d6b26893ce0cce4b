"""``inv unlock --watch``: what ends it, what it waits for, and what it reports how often."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bootwright.core.endpoints import Endpoint, SshEndpoint
from bootwright.core.errors import FailedError, InputError, RefusedError
from bootwright.core.secret import Secret
from bootwright.remote.io.connection import UnreachableError
from bootwright.volume import unlock_watch
from bootwright.volume.unlock import UnlockOptions
from bootwright.volume.unlock_result import Result, UnlockResult
from tests.support.reporter import Notes

BOARD = Endpoint("lab", serial_url="/dev/ttyX", ssh=SshEndpoint("192.0.2.9"))
PASSPHRASE = Secret(b"right")

Event = Result | Exception
"""How an attempt ends: with a result, or with an error."""


def ended(result: Result) -> UnlockResult:
    return UnlockResult("lab", "ssh", result, "detail", 1, 1, None, None)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of each pause."""
    found: list[float] = []
    monkeypatch.setattr(time, "sleep", found.append)
    return found


@pytest.fixture
def coming_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the boards that were noted as coming up."""
    found: list[str] = []
    monkeypatch.setattr(unlock_watch, "note_coming_up", found.append)
    return found


def at_serial(
    monkeypatch: pytest.MonkeyPatch, *consoles: Exception | tuple[Event, ...]
) -> tuple[UnlockResult, Notes, list[Path | None]]:
    """Watch consoles: one that cannot be opened, or one with these boots.

    Returns how it ended, what was reported, and the transcript of each attempt.
    """
    left, notes, transcripts = iter(consoles), Notes(), []

    @contextmanager
    def session(_: object, __: object, ___: object, options: UnlockOptions) -> Iterator[Any]:
        transcripts.append(options.transcript)
        console = next(left)
        if isinstance(console, Exception):
            raise console
        yield SimpleNamespace(results=lambda: boots(console))

    def boots(console: tuple[Event, ...]) -> Iterator[UnlockResult]:
        for event in console:
            if isinstance(event, Exception):
                raise event
            yield ended(event)

    monkeypatch.setattr(unlock_watch, "console_session", session)
    options = UnlockOptions(via="serial", transcript=Path("new.cast"), watch=True)
    return unlock_watch.watch(BOARD, PASSPHRASE, notes, options), notes, transcripts


def test_a_console_that_is_busy_is_waited_for_longer_and_longer_and_reported_once(
    monkeypatch: pytest.MonkeyPatch, pauses: list[float], coming_up: list[str]
) -> None:
    busy, gone = RefusedError("the port is busy"), FailedError("the adapter is gone")
    result, notes, transcripts = at_serial(
        monkeypatch,
        *[busy] * 5,
        gone,
        (Result.UNLOCKED, Result.FAILED, gone),
        busy,
        (Result.WRONG_PASSPHRASE,),
    )
    assert result.result is Result.WRONG_PASSPHRASE
    # After a boot that was seen, the pauses begin anew.
    assert pauses == [5, 10, 20, 40, 60, 60, 5, 10]
    again = "; trying again until it works"
    assert notes.warnings == [
        f"{busy}{again}",
        f"{gone}{again}",
        "lab: failed: detail",
        f"{gone}{again}",
        f"{busy}{again}",
    ]
    assert notes.notes == ["lab: unlocked: detail; waiting for the next boot"]
    assert coming_up == ["lab"]
    # A transcript is a new file: only the first console that opens gets it.
    assert transcripts == [*[Path("new.cast")] * 7, None, None]


def test_what_another_boot_cannot_mend_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no such port"):
        at_serial(monkeypatch, InputError("no such port"))


def over_ssh(
    monkeypatch: pytest.MonkeyPatch, *events: Event
) -> tuple[UnlockResult, Notes, list[str]]:
    """Watch over SSH; return how it ended, what was reported, and the connections that were held.

    Each connection ends as soon as it is held.
    """
    left, notes, held = iter(events), Notes(), []

    def unlock(*_: object, **__: object) -> UnlockResult:
        event = next(left)
        if isinstance(event, Exception):
            raise event
        return ended(event)

    @contextmanager
    def remote(endpoint: Endpoint) -> Iterator[Any]:
        yield SimpleNamespace(wait_until_lost=lambda: held.append(endpoint.name))

    monkeypatch.setattr(unlock_watch, "unlock_over_ssh", unlock)
    monkeypatch.setattr(unlock_watch, "Remote", remote)
    options = UnlockOptions(via="ssh", watch=True)
    return unlock_watch.watch(BOARD, PASSPHRASE, notes, options), notes, held


def test_over_ssh_the_connection_is_held_until_the_board_restarts(
    monkeypatch: pytest.MonkeyPatch, pauses: list[float], coming_up: list[str]
) -> None:
    away = UnreachableError("no answer")
    result, notes, held = over_ssh(
        monkeypatch, away, away, Result.UNLOCKED, away, Result.ALREADY_UNLOCKED, Result.FAILED,
        FailedError("the job was killed"), Result.WRONG_PASSPHRASE,
    )  # fmt: skip
    assert result.result is Result.WRONG_PASSPHRASE
    assert held == coming_up == ["lab", "lab"]
    # Connecting has waited for a board that does not answer; after other failures there is a pause.
    assert pauses == [5, 10]
    assert [text.partition(";")[0] for text in notes.warnings] == [
        "no answer",
        "no answer",
        str(failure(Result.FAILED)),
        "the job was killed",
    ]
    assert sum("waiting for the next boot" in text for text in notes.notes) == 4


def failure(result: Result) -> FailedError:
    with pytest.raises(FailedError) as caught:
        ended(result).check()
    return caught.value


def test_a_host_key_of_another_board_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RefusedError, match="another key"):
        over_ssh(monkeypatch, RefusedError("another key"))
