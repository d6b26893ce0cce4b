"""A board's clock is set before its volume is opened, or its passphrases are changed."""

from pathlib import Path

import pytest

from bootwright.core.board import Kdf
from bootwright.core.endpoints import Endpoint, SshEndpoint
from bootwright.core.errors import BootwrightError, FailedError
from bootwright.core.secret import Secret
from bootwright.remote.io.clock import set_clock
from bootwright.remote.io.connection import Remote, RemoteFinished
from bootwright.volume import keyslots, unlock_ssh
from bootwright.volume.keyslots import Passphrases, change_keyslots
from bootwright.volume.unlock_ssh import unlock_over_ssh
from tests.support.connection import AnsweringBoard
from tests.support.reporter import Notes

CASES = Path(__file__).parent.parent / "cases" / "volume"

COLLECT, SET_CLOCK = "reading the volume's state", "setting the clock"
ENDPOINT = Endpoint("box", ssh=SshEndpoint("192.0.2.1"))
NOW = 1795380070 + 37.0
"""When the recorded board was asked, by its own clock."""


def board_of(monkeypatch: pytest.MonkeyPatch, name: str, now: float) -> AnsweringBoard:
    """Return a board that reports a recorded state; this machine's clock shows ``now``."""
    board = AnsweringBoard(
        {
            COLLECT: [(CASES / f"{name}.txt").read_text()],
            SET_CLOCK: ["== end\n"],
            "opening the volume": ["== problem\n|no\n== end\n"],
            "passphrase add": ["== end\n"],
        }
    )

    def connection(*_: object, wait: float = 0, **__: object) -> Remote:
        return board.network.connect(wait)

    for module in (keyslots, unlock_ssh):
        monkeypatch.setattr(module, "Remote", connection)
        monkeypatch.setattr(module.time, "time", lambda: now)
    return board


@pytest.mark.parametrize(("now", "sets"), [(NOW, []), (NOW + 1e8, [SET_CLOCK])])
def test_before_the_volume_is_opened(
    monkeypatch: pytest.MonkeyPatch, now: float, sets: list[str]
) -> None:
    board = board_of(monkeypatch, "locked", now)
    unlock_over_ssh(ENDPOINT, Secret(b"word"), timeout=60, reporter=Notes())
    assert board.network.titles == [COLLECT, *sets, "opening the volume"]


@pytest.mark.parametrize(("now", "sets"), [(NOW, []), (NOW + 1e8, [SET_CLOCK])])
def test_before_a_passphrase_is_added(
    monkeypatch: pytest.MonkeyPatch, now: float, sets: list[str]
) -> None:
    board = board_of(monkeypatch, "locked", now)
    both = Passphrases(Secret(b"old word"), Secret(b"new word"))
    # What the board answers then is not what a board says.
    with pytest.raises(BootwrightError):
        change_keyslots(
            ENDPOINT, "add", both, Kdf(memory_kib=64, iterations=4, threads=1), reporter=Notes()
        )
    assert board.network.titles == [COLLECT, *sets, "passphrase add"]


def test_not_if_there_is_nothing_to_open(monkeypatch: pytest.MonkeyPatch) -> None:
    board = board_of(monkeypatch, "open", 0.0)
    unlock_over_ssh(ENDPOINT, Secret(b"word"), timeout=60, reporter=Notes())
    assert board.network.titles == [COLLECT]


def test_what_a_board_wrote_in_place_of_its_answer_is_shown() -> None:
    written = RemoteFinished(0, b"Your password has expired.\n", b"warning\n")
    remote = AnsweringBoard({SET_CLOCK: [written]}).network.reconnector().board
    with pytest.raises(FailedError) as raised:
        set_clock(remote)
    assert str(raised.value).splitlines() == [
        f"{remote.where}: setting the clock: the board's answer was cut short (exit status 0)",
        "  standard error: warning",
        "  standard output: Your password has expired.",
    ]
