"""How a boot ended, and what the operator gets to know: a scripted console with a false clock."""

import functools
import io

import pytest

from bootwright.console.boot import BootWatcher
from bootwright.core.errors import FailedError
from bootwright.core.report import TextReporter
from bootwright.core.secret import Secret
from bootwright.volume.unlock_result import Result
from bootwright.volume.unlock_session import UnlockSession
from tests.support.scripted_console import (
    HIDDEN,
    LOGIN,
    OLD_PROMPT,
    OPENED,
    OTHER,
    PROMPT,
    RECORDED,
    SECRET,
    TYPED,
    U_BOOT,
    Board,
    Script,
)
from tests.support.tape import Tape


@pytest.mark.parametrize("history", [b"", RECORDED])
def test_what_is_open_already(history: bytes) -> None:
    def script(_: Board) -> Script:
        yield LOGIN

    board = Board(script, history)
    result = board.unlock()
    assert (result.result, result.attempts, board.typed) == (Result.ALREADY_UNLOCKED, 0, b"")
    result.check()


def test_somebody_else_unlocks_it() -> None:
    def script(_: Board) -> Script:
        yield OLD_PROMPT
        yield OPENED

    board = Board(script)
    assert board.unlock().result is Result.ALREADY_UNLOCKED
    assert board.typed == b""


def test_only_the_latest_boot_of_the_history_counts() -> None:
    def script(board: Board) -> Script:
        yield from board.answers(b"")
        yield OPENED

    history = RECORDED + b"\r\n[   99.000001] reboot: Restarting system\r\n" + OLD_PROMPT
    board = Board(script, history)
    result = board.unlock()
    assert (result.result, result.prompts_seen) == (Result.UNLOCKED, 1)


def test_another_disks_prompt_is_left_alone() -> None:
    def script(_: Board) -> Script:
        yield OTHER

    board = Board(script)
    result = board.unlock()
    assert (result.result, board.typed) == (Result.NO_PROMPT, b"")
    assert "swap" in result.detail


def test_a_login_prompt_over_the_passphrase_prompt() -> None:
    def script(_: Board) -> Script:
        yield OLD_PROMPT + LOGIN

    board = Board(script)
    result = board.unlock()
    assert (result.result, board.typed) == (Result.FAILED, b"")
    assert "nofail" in result.detail


def test_silence() -> None:
    board = Board(lambda _: iter(()))
    result = board.unlock(timeout=30)
    assert (result.result, result.prompts_seen, result.to_prompt) == (Result.NO_PROMPT, 0, None)
    assert "cable" in result.detail and "--baud" in result.detail
    assert "cable" in board.log.getvalue()
    assert 30 < board.now < 31
    # Once, to see whether a prompt waits that was printed before.
    # Nothing answered, so the TAB is erased: it might be in the answer to a question.
    assert board.typed == b"\t\x15"


def test_the_wrong_speed() -> None:
    def script(_: Board) -> Script:
        while True:
            yield bytes(range(0x80, 0x90))

    result = Board(script).unlock(timeout=5)
    assert result.result is Result.NO_PROMPT
    assert "is not text: is the speed right" in result.detail


@pytest.mark.parametrize("noise", [b"\0", b"\x80\0\0", b"\x18~\x06\x80"])
def test_the_wrong_speed_may_bring_zeros(noise: bytes) -> None:
    """What a receiver reads of 115200 baud at 921600, 1500000 and 230400."""

    def script(_: Board) -> Script:
        while True:
            yield noise

    board = Board(script)
    assert "is the speed right" in board.unlock(timeout=40).detail
    assert board.log.getvalue().count("is the speed right") == 1
    assert board.typed == b""


def test_text_in_another_language_is_text() -> None:
    def script(_: Board) -> Script:
        yield "Загрузка системы…\r\n".encode() * 10

    result = Board(script).unlock(timeout=5)
    assert "its last line: Загрузка системы…" in result.detail


def test_another_disks_prompt_is_not_brought_back() -> None:
    def script(board: Board) -> Script:
        yield OTHER
        yield from board.wait_for(b"anything")

    board = Board(script)
    assert board.unlock().result is Result.NO_PROMPT
    assert board.typed == b""


def test_no_report_of_an_open_volume() -> None:
    def script(board: Board) -> Script:
        yield from board.answers(OLD_PROMPT)

    result = Board(script).unlock()
    assert (result.result, result.attempts) == (Result.FAILED, 1)
    assert "did not report" in result.detail


def test_a_login_prompt_is_no_report_of_an_open_volume() -> None:
    def script(board: Board) -> Script:
        yield from board.answers(OLD_PROMPT)
        yield LOGIN

    board = Board(script)
    assert board.unlock().result is Result.FAILED
    assert board.now < 20


def test_failure_and_what_follows_it() -> None:
    failed = b"\r\n[FAILED] Failed to start Cryptography Setup for docker-data.\r\n"

    def stuck(board: Board) -> Script:
        yield failed

    def shell(board: Board) -> Script:
        yield failed
        yield b"You are in emergency mode. After logging in, type x\r\n"

    def later(board: Board) -> Script:
        yield from board.answers(OLD_PROMPT)
        yield failed
        yield b"Give root password for maintenance\r\n"

    assert Board(stuck).unlock().result is Result.FAILED
    assert Board(shell).unlock().result is Result.EMERGENCY
    assert Board(later).unlock().result is Result.EMERGENCY


@pytest.mark.parametrize(
    "word", [b"docker4ever", b"data-is-mine", b"forest green", b"Crypto2024", b"Please let me"]
)
def test_a_passphrase_of_words_that_boots_print(word: bytes) -> None:
    def right(board: Board) -> Script:
        yield from board.answers(PROMPT, HIDDEN)
        yield OPENED

    def wrong(board: Board) -> Script:
        yield from board.answers(PROMPT, HIDDEN)
        yield b"\r\n" + PROMPT

    for script, expected in ((right, Result.UNLOCKED), (wrong, Result.WRONG_PASSPHRASE)):
        board = Board(script)
        clock = functools.partial(getattr, board, "now")
        session = UnlockSession(
            target="board",
            watcher=BootWatcher("docker-data", "/mnt/docker-data"),
            console=board,
            passphrase=Secret(word),
            timeout=60,
            reporter=TextReporter(io.StringIO()),
            clock=clock,
        )
        assert session.run().result is expected


@pytest.mark.parametrize(
    "echo",
    [
        SECRET + b" ",
        SECRET[:7] + b"[   47.067120] EXT4-fs (sda1): mounted\r\n" + SECRET[7:] + b" ",
        SECRET[:7],
    ],
)
def test_an_echoed_passphrase_gets_nowhere(echo: bytes) -> None:
    def script(board: Board) -> Script:
        yield from board.answers(PROMPT)
        # No line break: the report is glued to the echo.
        yield echo + b"[FAILED] Failed to start Cryptography Setup for docker-data.\r\n"

    board, tape = Board(script), Tape()
    result = board.unlock(recorder=tape)
    assert result.result is Result.FAILED
    everything = str(result.document()) + board.log.getvalue() + tape.all.decode()
    assert SECRET[:7].decode() not in everything
    assert SECRET[7:].decode() not in everything
    assert b"<\t>" in tape.all
    assert b"<\x15***\n>" in tape.all
    assert b"***" in tape.all.partition(b"\n>")[2]


def test_a_wrong_passphrase_is_the_only_one() -> None:
    def script(board: Board) -> Script:
        yield from board.answers(OLD_PROMPT)
        yield b"\r\n" + OLD_PROMPT

    board = Board(script)
    result = board.unlock()
    assert result.result is Result.WRONG_PASSPHRASE
    assert (result.prompts_seen, result.attempts, board.typed) == (2, 1, TYPED)
    assert "2 tries are left of 3" in result.detail
    with pytest.raises(FailedError, match="wrong-passphrase"):
        result.check()


def test_each_boot_is_unlocked_until_the_passphrase_is_wrong() -> None:
    def script(board: Board) -> Script:
        for _ in range(2):
            yield from board.answers(PROMPT)
            yield OPENED + LOGIN
            yield from [b""] * 1000
            yield U_BOOT + b"Linux\r\n"
            # Longer than the timeout, which is for the answer.
            yield from [b""] * 100
        yield LOGIN
        yield U_BOOT
        yield from board.answers(PROMPT)
        yield b"\r\n" + PROMPT

    board = Board(script)
    results = board.session(timeout=5, endless=True).results()
    seen = [next(results).result for _ in range(4)]
    assert seen == [
        Result.UNLOCKED,
        Result.UNLOCKED,
        Result.ALREADY_UNLOCKED,
        Result.WRONG_PASSPHRASE,
    ]
    assert board.typed.count(SECRET) == 3
