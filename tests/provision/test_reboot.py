"""Restarting a board for a new kernel: the passphrase first, then the board, then its volume."""

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from bootwright.core.endpoints import Endpoint, SshEndpoint
from bootwright.core.errors import FailedError, InputError
from bootwright.core.io.ask import Ask
from bootwright.core.report import Reporter
from bootwright.core.secret import Secret
from bootwright.provision import reboot
from bootwright.provision.reboot import READ_AGAIN_S, REBOOT_S, restart_board
from bootwright.remote.io.connection import RemoteFinished, UnreachableError
from bootwright.volume.unlock import UnlockOptions
from bootwright.volume.unlock_result import Result, UnlockResult
from tests.support.connection import WHERE, AnsweringBoard
from tests.support.reporter import Notes

VOLUME = (Path(__file__).parent.parent / "cases" / "volume" / "open.txt").read_text(
    encoding="utf-8"
)

LOOK, TRY, RESTART = "reading the volume's state", "trying the passphrase", "restarting"

PASSPHRASE = Secret(b"correct horse battery staple")


def failed(status: int, message: str = "") -> RemoteFinished:
    return RemoteFinished(status, b"", message.encode())


class Unlocking:
    """What unlocking is called with, in place of doing it; each call has another result."""

    def __init__(self, *results: Result) -> None:
        self.results = list(results)
        self.calls: list[tuple[Secret, UnlockOptions, Ask | None]] = []

    def __call__(
        self,
        endpoint: Endpoint,
        passphrase: Secret,
        reporter: Reporter,
        options: UnlockOptions,
        *,
        ask: Ask | None,
    ) -> UnlockResult:
        self.calls.append((passphrase, options, ask))
        result = self.results.pop(0)
        return UnlockResult(endpoint.name, "serial", result, "a detail", 1, 1, 1.0, 2.0)


@pytest.fixture
def unlocking(monkeypatch: pytest.MonkeyPatch) -> Unlocking:
    unlocking = Unlocking(Result.UNLOCKED)
    monkeypatch.setattr(reboot, "unlock", unlocking)
    return unlocking


SERIAL = Endpoint("odroid", serial_url="socket://192.0.2.1:4000", ssh=SshEndpoint("192.0.2.1"))
OVER_SSH = Endpoint("odroid", ssh=SshEndpoint("192.0.2.1"), unlock="ssh")


def make(**answers: Sequence[str | RemoteFinished]) -> AnsweringBoard:
    return AnsweringBoard({LOOK: [VOLUME], TRY: [""], RESTART: [""], **answers})


def restart(
    board: AnsweringBoard, endpoint: Endpoint = SERIAL, passphrase: Secret = PASSPHRASE
) -> list[str]:
    """Restart the board; return the titles of the steps that were shown."""
    notes = Notes()
    reconnector = board.network.reconnector()
    kernel = "6.1.0-51-armmp-lpae"
    restart_board(reconnector, endpoint, passphrase, kernel, notes, ask)
    # The connection that was made again can be used.
    reconnector.board.run("true", title=LOOK, sudo=True, timeout=1)
    return notes.steps


def ask(text: str) -> str:
    raise AssertionError(text)


def test_the_passphrase_is_tried_before_the_board_goes_down(unlocking: Unlocking) -> None:
    board = make()
    assert restart(board) == [
        "Try the passphrase, while the board is still up",
        "Restart odroid",
        "Reach odroid again",
    ]
    assert board.network.titles == [LOOK, TRY, RESTART, LOOK]
    assert board.network.waits == [0.0, REBOOT_S]
    # The passphrase is given to the script that tries it, and to who unlocks: to nobody else.
    given = [title for title, data in board.inputs if PASSPHRASE.reveal() in data]
    assert given == [TRY]
    assert unlocking.calls == [
        (PASSPHRASE, UnlockOptions(via="serial", timeout=REBOOT_S, restarted_after=0), ask)
    ]


def test_a_volume_that_is_opened_over_ssh_is_opened_so_again(unlocking: Unlocking) -> None:
    restart(make(), OVER_SSH)
    assert [options.via for _, options, _ in unlocking.calls] == ["ssh"]


@pytest.mark.parametrize(
    ("answers", "error", "message"),
    [
        ({TRY: [failed(2)]}, InputError, "opens no key slot of its volume; the board was not"),
        (
            {TRY: [failed(1, "no dm-crypt")]},
            FailedError,
            r"tried; the board was not restarted \(exit status 1\)\n  standard error: no dm-crypt",
        ),
        (
            {LOOK: [VOLUME.replace("== device", "== other")]},
            FailedError,
            "no encrypted volume in /etc/crypttab",
        ),
    ],
    ids=["wrong", "cannot be tried", "no volume"],
)
def test_a_passphrase_that_does_not_open_the_volume_leaves_the_board_up(
    unlocking: Unlocking,
    answers: dict[str, Sequence[str | RemoteFinished]],
    error: type[Exception],
    message: str,
) -> None:
    board = make(**answers)
    with pytest.raises(error, match=message) as caught:
        restart(board)
    assert str(caught.value).startswith(WHERE)
    assert RESTART not in board.network.titles
    assert unlocking.calls == []


@pytest.mark.parametrize(
    ("endpoint", "passphrase", "message"),
    [
        (Endpoint("odroid", ssh=SshEndpoint("192.0.2.1")), PASSPHRASE, "has no serial port"),
        (SERIAL, Secret(b""), "the passphrase is empty"),
        (SERIAL, Secret(b"two\nlines"), "control character"),
    ],
    ids=["no way to unlock", "empty", "cannot be typed"],
)
def test_what_could_not_be_unlocked_again_is_not_even_asked(
    unlocking: Unlocking, endpoint: Endpoint, passphrase: Secret, message: str
) -> None:
    board = make()
    with pytest.raises(InputError, match=message):
        restart(board, endpoint, passphrase)
    assert board.network.titles == []
    assert unlocking.calls == []


def test_a_board_that_refuses_to_restart_is_an_error(unlocking: Unlocking) -> None:
    board = make(**{RESTART: [failed(1, "Failed to connect to bus")]})
    with pytest.raises(FailedError) as caught:
        restart(board)
    assert str(caught.value) == (
        f"{WHERE}: it does not shut down; look at its console (exit status 1)\n"
        "  standard error: Failed to connect to bus"
    )
    assert unlocking.calls == []


def test_a_board_that_stays_up_is_an_error(unlocking: Unlocking) -> None:
    board = make()
    board.network.stays = True
    with pytest.raises(FailedError, match="it does not shut down; look at its console"):
        restart(board)
    assert unlocking.calls == []


def test_a_volume_that_does_not_open_is_an_error(unlocking: Unlocking) -> None:
    unlocking.results = [Result.WRONG_PASSPHRASE]
    board = make()
    with pytest.raises(FailedError, match="a detail"):
        restart(board)
    assert board.network.waits == [0.0]


def test_a_console_that_still_shows_the_boot_before_is_read_again(unlocking: Unlocking) -> None:
    unlocking.results = [Result.ALREADY_UNLOCKED, Result.ALREADY_UNLOCKED, Result.UNLOCKED]
    board = make()
    board.network.before(RESTART, lambda: out_of_reach(board, 2))
    restart(board)
    assert len(unlocking.calls) == 3
    assert board.network.waits == [0.0, READ_AGAIN_S, READ_AGAIN_S, REBOOT_S]


def out_of_reach(board: AnsweringBoard, connections: float) -> None:
    board.network.unreachable = connections


def test_a_board_that_opens_its_volume_itself_is_reached_at_once(unlocking: Unlocking) -> None:
    unlocking.results = [Result.ALREADY_UNLOCKED]
    board = make()
    restart(board)
    assert board.network.waits == [0.0, READ_AGAIN_S]


def test_a_board_that_was_unlocked_and_does_not_come_is_an_error(unlocking: Unlocking) -> None:
    board = make()
    board.network.before(RESTART, lambda: out_of_reach(board, math.inf))
    with pytest.raises(UnreachableError, match="no answer"):
        restart(board)
    assert len(unlocking.calls) == 1


def test_a_console_is_not_read_again_for_ever(
    unlocking: Unlocking, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlocking.results = [Result.ALREADY_UNLOCKED] * 10
    now = [0.0]

    def clock() -> float:
        now[0] += 250.0
        return now[0]

    monkeypatch.setattr(reboot, "time", SimpleNamespace(monotonic=clock))
    board = make()
    board.network.before(RESTART, lambda: out_of_reach(board, math.inf))
    with pytest.raises(UnreachableError):
        restart(board)
    # The end is set at 250 s + 600 s, and it is read again at 500 s and 750 s.
    assert len(unlocking.calls) == 3
