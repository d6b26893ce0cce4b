"""Restarts and lost connections while unlocking: a scripted console with a false clock."""

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


def test_what_was_left_is_forgotten_with_a_restart() -> None:
    def script(board: Board) -> Script:
        yield U_BOOT
        yield from board.answers(PROMPT, HIDDEN)
        yield b"\r\n" + PROMPT

    result = Board(script).unlock(pending_prompt=PendingPrompt(3, fresh=True))
    assert "2 tries are left of 3" in result.detail
