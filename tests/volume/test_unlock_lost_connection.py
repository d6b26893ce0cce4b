"""Restarts and lost connections while unlocking: a scripted console with a false clock."""

import pytest

from bootwright.console.tries import PendingPrompt
from bootwright.volume.unlock_result import Result
from tests.support.scripted_console import (
    HIDDEN,
    LOGIN,
    OLD_PROMPT,
    OPENED,
    PROMPT,
    SECRET,
    TYPED,
    U_BOOT,
    Board,
    Script,
    UnpluggedBoard,
    UnreliableBoard,
)


def test_a_restart_is_waited_through() -> None:
    def script(board: Board) -> Script:
        yield from board.answers(OLD_PROMPT)
        board.typed += b"|"
        yield U_BOOT
        yield from board.answers(PROMPT)
        yield OPENED

    board = Board(script)
    result = board.unlock()
    assert (result.result, result.attempts) == (Result.UNLOCKED, 2)
    assert board.typed == TYPED + b"|" + TYPED
    assert "restarted" in board.log.getvalue()


def test_a_lost_connection_while_the_prompt_waits() -> None:
    def script(board: Board) -> Script:
        yield PROMPT + b"\r\n[  OK  ] Started x.\r\n"
        yield UnreliableBoard.LOST
        yield from board.wait_for(b"\t")
        yield HIDDEN
        yield from board.wait_for(b"\n")
        yield OPENED

    board = UnreliableBoard(script)
    assert board.unlock().result is Result.UNLOCKED
    assert board.typed == TYPED


def test_a_lost_connection_before_the_prompt() -> None:
    def script(board: Board) -> Script:
        yield b"[  OK  ] Started x.\r\nPlease enter passphrase for"
        yield UnreliableBoard.LOST
        yield b" disk docker-data: \r\n"
        yield from board.answers(PROMPT)
        yield OPENED

    board = UnreliableBoard(script)
    result = board.unlock()
    assert (result.result, result.prompts_seen) == (Result.UNLOCKED, 1)


@pytest.mark.parametrize("begin", [0.0, 6.0])
def test_a_question_that_was_printed_while_the_line_was_away_is_found(begin: float) -> None:
    """Also at the start of ``--watch``, which waits for a port that is not there."""

    def script(board: Board) -> Script:
        while board.now < begin + 20:
            yield b""
        board.typed = b""
        yield from board.wait_for(b"\t")
        yield HIDDEN
        yield from board.wait_for(b"\x15\n")
        yield from board.answers(PROMPT, HIDDEN)
        yield OPENED

    board = UnpluggedBoard(script, begin, begin + 30)
    assert board.unlock(timeout=120).result is Result.UNLOCKED
    assert board.typed == b"\t\x15\n" + TYPED
    assert board.log.getvalue().count("lost") == 2


def test_a_question_that_waits_is_answered_after_a_long_time_without_a_line() -> None:
    def script(board: Board) -> Script:
        yield PROMPT
        yield from board.wait_for(b"\t")
        yield HIDDEN
        yield from board.wait_for(b"\n")
        yield OPENED

    board = UnpluggedBoard(script, 0.15, 60)
    assert board.unlock(timeout=120).result is Result.UNLOCKED
    assert board.typed == TYPED


BOOT_LOADERS = [
    U_BOOT,
    b"\xff\x00\xfeU-Boot 2012.07-g2f4a1c (Apr 01 2014 - 10:00:00) for ODROID\r\n",
    b"\r\nU-Boot 1.1.6 (Apr 01 2008 - 10:00:00)\r\n",
    b"\r\nA vendor's loader 3\r\n",
]


@pytest.mark.parametrize("banner", BOOT_LOADERS)
def test_the_countdown_of_a_board_that_is_switched_on_is_not_stopped(banner: bytes) -> None:
    """It is switched on after the TAB that searches for a question, which nobody answers."""

    def script(board: Board) -> Script:
        yield from board.wait_for(b"\t")
        yield b""
        yield banner
        yield b"Hit any key to stop autoboot:  3 "
        for seconds in (b"2", b"1", b"0"):
            for _ in range(10):
                yield b""
            yield b"\b\b\b " + seconds + b" "
        assert board.typed == b"\t"
        board.typed = b""
        yield b"\r\nStarting kernel ...\r\n\r\n"
        yield from board.answers(PROMPT, HIDDEN)
        yield OPENED

    board = Board(script)
    assert board.unlock().result is Result.UNLOCKED
    assert board.typed == TYPED


def counts_down(board: Board, banner: bytes) -> Script:
    """Start the board: its loader counts down, which any key would stop."""
    before = board.typed
    yield banner + b"Hit any key to stop autoboot:  9 "
    for seconds in b"876543210":
        yield from [b""] * 10
        yield b"\b\b\b " + bytes([seconds]) + b" "
    assert board.typed == before
    board.typed = b""
    yield b"\r\nStarting kernel ...\r\n\r\n"
    yield from board.answers(PROMPT, HIDDEN)
    yield OPENED


@pytest.mark.parametrize("banner", BOOT_LOADERS)
def test_a_restart_while_the_line_was_away_is_not_stopped(banner: bytes) -> None:
    """Our question was open when the line was lost: it may be over when the line is back."""

    def restarted(board: Board) -> Script:
        yield PROMPT
        while board.now < 29.5:
            yield b""
        assert board.typed == b""
        yield from counts_down(board, banner)

    def restarts(board: Board) -> Script:
        yield PROMPT
        yield from board.wait_for(b"\t")
        yield from counts_down(board, banner)

    for script in (restarted, restarts):
        board = UnpluggedBoard(script, 0.15, 30)
        assert board.unlock(timeout=120).result is Result.UNLOCKED
        assert board.typed == TYPED


def test_a_run_that_ends_in_a_countdown_after_a_loss_does_not_stop_it() -> None:
    def script(board: Board) -> Script:
        yield PROMPT
        yield from board.wait_for(b"\t")
        yield BOOT_LOADERS[-1] + b"Hit any key to stop autoboot:  3 "

    board = UnpluggedBoard(script, 0.15, 10)
    assert board.unlock(timeout=17).result is Result.NO_PROMPT
    assert board.typed == b"\t"


@pytest.mark.parametrize("banner", BOOT_LOADERS)
def test_a_run_that_ends_in_a_countdown_does_not_stop_it(banner: bytes) -> None:
    def script(board: Board) -> Script:
        yield from board.wait_for(b"\t")
        yield banner + b"Hit any key to stop autoboot:  3 "

    board = Board(script)
    assert board.unlock(timeout=6).result is Result.NO_PROMPT
    assert board.typed == b"\t"


def test_after_an_uncertain_send_nothing_is_typed_any_more() -> None:
    def script(board: Board) -> Script:
        yield from board.answers(PROMPT)
        yield b"\r\n" + PROMPT
        yield from board.wait_for(b"anything")

    board = UnreliableBoard(script, lost_at=SECRET)
    result = board.unlock()
    assert (result.result, result.attempts, board.typed) == (Result.FAILED, 1, TYPED)
    assert "while the passphrase was being sent" in result.detail


def test_an_uncertain_send_that_arrived() -> None:
    def script(board: Board) -> Script:
        yield from board.answers(PROMPT)
        yield OPENED

    assert UnreliableBoard(script, lost_at=SECRET).unlock().result is Result.UNLOCKED


def test_after_a_lost_connection_an_earlier_boot_does_not_count() -> None:
    def script(board: Board) -> Script:
        yield from board.answers(PROMPT, HIDDEN)
        yield OPENED + LOGIN
        yield UnreliableBoard.LOST
        # Switched off and on: its prompt was printed while the line was away.
        yield from board.wait_for(b"\n\t")
        yield HIDDEN
        yield from board.wait_for(b"\x15\n")
        yield from board.answers(PROMPT, HIDDEN)
        yield OPENED

    results = UnreliableBoard(script).session(endless=True).results()
    assert [next(results).result for _ in range(2)] == [Result.UNLOCKED, Result.UNLOCKED]


BANNERS = [
    U_BOOT,
    b"\r\n[    0.000000] Linux version 6.1.0 (debian)\r\n",
    b"\r\nbarebox 2024.03.0 #1\r\n",
    b"\r\nWelcome to GRUB!\r\n",
    b"\r\nNOTICE:  BL31: v2.8(release)\r\n",
    b"\r\nWelcome to Debian GNU/Linux 12 (bookworm)!\r\n",
]


@pytest.mark.parametrize("banner", BANNERS)
@pytest.mark.parametrize("known", [True, False])
def test_after_an_ordered_restart_the_login_of_the_boot_before_says_nothing(
    banner: bytes, known: bool
) -> None:
    """With a log of the console, and on a line without a past."""

    def script(board: Board) -> Script:
        yield OPENED + LOGIN
        yield b"\r\n[  OK  ] Reached target System Reboot.\r\n" + LOGIN
        yield banner
        yield from board.answers(PROMPT, HIDDEN)
        yield OPENED

    history = OPENED + LOGIN if known else b""
    board = Board(script, history)
    result = board.unlock(restarted_after=len(history))
    assert (result.result, board.typed) == (Result.UNLOCKED, TYPED)


def test_a_new_boot_that_was_logged_before_we_came_is_seen() -> None:
    def script(board: Board) -> Script:
        yield from board.wait_for(b"\t")
        yield HIDDEN
        yield from board.wait_for(b"\n")
        yield OPENED

    before = OPENED + LOGIN
    board = Board(script, before + LOGIN + U_BOOT + PROMPT)
    assert board.unlock(restarted_after=len(before)).result is Result.UNLOCKED


def test_after_an_ordered_restart_silence_ends_the_boot_before() -> None:
    def up(_: Board) -> Script:
        yield LOGIN
        yield from [b""] * 110
        yield LOGIN

    result = Board(up).unlock(restarted_after=0)
    assert (result.result, result.attempts) == (Result.ALREADY_UNLOCKED, 0)

    def waits(board: Board) -> Script:
        yield from board.wait_for(b"\t")
        yield HIDDEN
        yield from board.wait_for(b"\x15\n")
        yield from board.answers(PROMPT, HIDDEN)
        yield OPENED

    assert Board(waits).unlock(restarted_after=0).result is Result.UNLOCKED


def test_a_boot_without_a_banner_is_seen_by_its_question() -> None:
    """A quiet boot prints nothing else, and the login prompt of the boot before is there."""

    def script(board: Board) -> Script:
        for _ in range(2):
            yield from board.answers(PROMPT, HIDDEN)
            yield OPENED + LOGIN
            yield from [b""] * 1000
            yield LOGIN
            yield from [b""] * 100

    board = Board(script)
    results = board.session(endless=True).results()
    assert [next(results).result for _ in range(2)] == [Result.UNLOCKED, Result.UNLOCKED]
    assert board.typed == TYPED * 2
    # While the board runs, nothing is written or typed.
    assert len(board.log.getvalue().splitlines()) < 10


@pytest.mark.parametrize(
    "text", [PROMPT, PROMPT + HIDDEN, b"Please unlock disk docker-data: ", OLD_PROMPT + LOGIN]
)
def test_a_question_that_somebody_displays_on_a_running_board_gets_no_passphrase(
    text: bytes,
) -> None:
    def script(board: Board) -> Script:
        yield LOGIN
        yield b"\r\nroot@board:~# tail -f console.log\r\n" + text
        yield from [b"", b"\t"] * 300
        yield U_BOOT
        yield from board.answers(PROMPT, HIDDEN)
        yield OPENED

    board = Board(script)
    results = board.session(endless=True).results()
    assert next(results).result is Result.ALREADY_UNLOCKED
    assert next(results).result is Result.UNLOCKED
    assert board.typed.count(SECRET) == 1 and board.typed.endswith(TYPED)


def test_what_was_left_is_forgotten_with_a_restart() -> None:
    def script(board: Board) -> Script:
        yield U_BOOT
        yield from board.answers(PROMPT, HIDDEN)
        yield b"\r\n" + PROMPT

    result = Board(script).unlock(pending_prompt=PendingPrompt(3, fresh=True))
    assert "2 tries are left of 3" in result.detail
