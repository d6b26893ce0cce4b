"""Which of the tries of a boot are used: a scripted console with a false clock."""

from collections.abc import Callable

import pytest

from bootwright.console.tries import PendingPrompt, Tries
from bootwright.core.secret import Secret
from bootwright.volume.unlock_result import Result
from tests.support.scripted_console import (
    HIDDEN,
    LOGIN,
    OPENED,
    OTHER,
    PROMPT,
    TYPED,
    U_BOOT,
    Board,
    Script,
)


def refusing(times: int) -> Callable[[Board], Script]:
    def script(board: Board) -> Script:
        for _ in range(times):
            yield from board.answers(PROMPT, HIDDEN)
            board.typed += b"|"
            yield b"\r\n"
        yield from board.answers(PROMPT, HIDDEN)
        yield OPENED

    return script


def test_the_last_try_is_reserved() -> None:
    history = (PROMPT + b"\r\n") * 2
    board = Board(refusing(0), history)
    result = board.unlock()
    assert (result.result, result.attempts, board.typed) == (Result.FAILED, 0, b"")
    assert "1 try is left, the last of 3" in result.detail
    assert "--all-tries" in result.detail
    for tries in (Tries(3, use_all=True), Tries(0), Tries(4)):
        assert Board(refusing(0), history).unlock(tries=tries).result is Result.UNLOCKED
    # Where there is but one try, it is for using.
    assert Board(refusing(0)).unlock(tries=Tries(1)).result is Result.UNLOCKED


@pytest.mark.parametrize(
    "gave_up",
    [
        b"Too many attempts to activate; giving up.\r\n",
        b"Failed to activate with specified passphrase.\r\nToo many attempts; giving up.\r\n",
    ],
)
def test_a_board_that_takes_fewer_passphrases_is_believed(gave_up: bytes) -> None:
    """Its crypttab has ``tries=1``; ours was thought to have 3."""

    def script(board: Board) -> Script:
        yield from board.answers(PROMPT, HIDDEN)
        yield from (b"\r\n" + gave_up).splitlines(keepends=True)

    def another(_: str) -> Secret | None:
        raise AssertionError("there is nothing that would read it")

    board = Board(script)
    session = board.session(another=another)
    result = session.run()
    assert (result.result, board.typed, session.waiting) == (Result.WRONG_PASSPHRASE, TYPED, 0)
    assert "takes no other in this boot (Too many attempts" in result.detail


def test_a_board_that_takes_more_passphrases_is_believed() -> None:
    board = Board(refusing(0), (PROMPT + b"\r\n") * 3)
    result = board.unlock()
    assert (result.result, board.typed) == (Result.FAILED, b"")
    assert "allows more than 3 tries" in result.detail


def test_another_passphrase_is_asked_for_while_a_try_may_be_used() -> None:
    asked: list[str] = []

    def another(left: str) -> Secret | None:
        asked.append(left)
        return Secret(b"another")

    board = Board(refusing(1))
    assert board.unlock(another=another).result is Result.UNLOCKED
    assert board.typed == TYPED + b"|\t\x15another\n"
    assert asked == ["the passphrase is wrong; 2 tries are left of 3"]

    board = Board(refusing(5))
    result = board.unlock(another=another)
    assert (result.result, result.attempts) == (Result.WRONG_PASSPHRASE, 2)
    assert "1 try is left, the last of 3" in result.detail
    assert Board(refusing(1)).unlock(another=lambda _: None).attempts == 1


def test_a_prompt_that_was_printed_before() -> None:
    """A TAB finds it, an empty answer brings it back; that is one try."""

    def script(board: Board) -> Script:
        yield from board.wait_for(b"\t")
        yield HIDDEN
        yield from board.wait_for(b"\n")
        assert board.typed == b"\t\x15\n"
        board.typed = b""
        yield b"\r\n"
        yield from board.answers(PROMPT, HIDDEN)
        yield OPENED

    board = Board(script)
    result = board.unlock()
    assert (result.result, result.attempts, board.typed) == (Result.UNLOCKED, 1, TYPED)

    def wrong(board: Board) -> Script:
        yield from script(board)
        board.typed += b"|"
        yield PROMPT

    # The same again for a board that does not take the passphrase.
    board = Board(lambda board: (b"" if part == OPENED else part for part in wrong(board)))
    result = board.unlock()
    assert result.result is Result.WRONG_PASSPHRASE
    assert "1 try is left, the last of 3" in result.detail

    board = Board(script)
    result = board.unlock(tries=Tries(2))
    assert (result.result, board.typed) == (Result.FAILED, b"\t")


def test_a_question_that_an_earlier_run_left_waiting() -> None:
    def script(board: Board) -> Script:
        yield from board.wait_for(b"\t")
        yield HIDDEN
        yield from board.wait_for(b"\n")
        yield OPENED if board.typed == TYPED else b"\r\n" + PROMPT

    # It was ours that asked last: no try is spent on finding out.
    board = Board(script)
    assert board.unlock(pending_prompt=PendingPrompt(2, fresh=True)).result is Result.UNLOCKED
    assert board.typed == TYPED
    # The last try is reserved, over runs as well.
    for left in (PendingPrompt(3, fresh=True), PendingPrompt(2, fresh=False)):
        board = Board(script)
        result = board.unlock(pending_prompt=left)
        assert (result.result, board.typed) == (Result.FAILED, b"\t")
        assert "--all-tries" in result.detail

    def refused(board: Board) -> Script:
        yield from board.answers(PROMPT, HIDDEN)
        yield b"\r\n" + PROMPT

    session = Board(refused).session()
    assert session.run().result is Result.WRONG_PASSPHRASE
    assert session.waiting == 2
    session = Board(script).session(pending_prompt=PendingPrompt(2, fresh=True))
    assert session.run().ok
    assert session.waiting == 0


def test_a_refusal_of_another_disks_passphrase_does_not_count() -> None:
    def script(board: Board) -> Script:
        yield from board.answers(PROMPT)
        yield b"\r\nFailed to activate with specified passphrase. (Passphrase incorrect?)\r\n"
        yield b""
        yield OPENED

    result = Board(script).unlock()
    assert (result.result, result.attempts) == (Result.UNLOCKED, 1)


@pytest.mark.parametrize(
    "refused",
    [
        b"\r\nFailed to activate with specified passphrase. (Passphrase incorrect?)\r\n",
        b"\r\nToo many attempts to activate; giving up.\r\n",
    ],
)
def test_a_refusal_that_no_question_follows_is_not_ours_however_long_ours_takes(
    refused: bytes,
) -> None:
    """Deriving the key of our volume takes a slow board many seconds."""

    def script(board: Board) -> Script:
        yield OTHER + b"\r\n"
        yield from board.answers(PROMPT, HIDDEN)
        yield refused
        yield from [b""] * 200
        yield OPENED

    board = Board(script)
    results = board.session(endless=True).results()
    assert next(results).result is Result.UNLOCKED
    assert board.typed == TYPED

    def never(board: Board) -> Script:
        yield OTHER + b"\r\n"
        yield from board.answers(PROMPT, HIDDEN)
        yield refused

    result = Board(never).unlock()
    assert (result.result, result.attempts) == (Result.FAILED, 1)
    assert "did not say for which volume" in result.detail


WRONG = b"\r\nFailed to activate with specified passphrase. (Passphrase incorrect?)\r\n"
OTHERS_UNIT = b"         Starting Cryptography Setup for swap...\r\n"
FAILED_UNIT = (
    b"[\x1b[0;1;31mFAILED\x1b[0m] Failed to start "
    b"\x1b[0;1;39msystemd-cryptse\xe2\x80\xa6yptography Setup"
    b" for docker-data.\r\n"
)
FAILED_LOG = (
    b"[   42.123456] systemd[1]: systemd-cryptsetup@docker\\x2ddata.service: Failed with result"
    b" 'exit-code'.\r\n"
)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # The boot opens no other volume.
        (b"", (WRONG,)),
        # The unit that has failed is ours, at once or late.
        (OTHERS_UNIT, (WRONG, FAILED_UNIT)),
        (OTHERS_UNIT, (WRONG, FAILED_LOG)),
        (OTHER + b"\r\n", (WRONG, *[b""] * 50, FAILED_UNIT)),
        (OTHER + b"\r\n", (WRONG, *[b""] * 50, FAILED_LOG)),
        (OTHERS_UNIT, (b"\r\nToo many attempts to activate; giving up.\r\n", FAILED_UNIT)),
        # The report names ours.
        (
            OTHERS_UNIT,
            (
                b"\r\ncryptsetup: ERROR: docker-data: cryptsetup failed,"
                b" bad password or options?\r\n",
            ),
        ),
    ],
)
def test_a_wrong_passphrase_is_reported_soon(before: bytes, after: tuple[bytes, ...]) -> None:
    """Also where no question follows, as with ``tries=1``."""

    def script(board: Board) -> Script:
        yield before
        yield from board.answers(PROMPT, HIDDEN)
        yield from after

    board = Board(script)
    result = board.unlock(another=lambda _: None)
    assert (result.result, board.typed) == (Result.WRONG_PASSPHRASE, TYPED)
    assert board.now < 15
    assert ("takes no other in this boot" in result.detail) == (len(after) > 1)


def test_a_refusal_that_names_another_volume_is_not_ours() -> None:
    def script(board: Board) -> Script:
        yield b"Please unlock disk docker-data: "
        yield from board.wait_for(b"\n")
        yield b"\r\ncryptsetup: ERROR: swap: cryptsetup failed, bad password or options?\r\n"
        yield b"cryptsetup: ERROR: swap: maximum number of tries exceeded\r\n"
        yield from [b""] * 200
        yield b"cryptsetup: docker-data: set up successfully\r\n"

    assert Board(script).unlock().result is Result.UNLOCKED


def test_a_refusal_before_the_unit_of_another_volume_fails_is_not_ours() -> None:
    """It gives up first, and its unit, which names it, fails after that."""

    def script(board: Board) -> Script:
        yield from board.answers(PROMPT, HIDDEN)
        yield WRONG + b"Too many attempts to activate; giving up.\r\n"
        yield b"[FAILED] Failed to start Cryptography Setup for swap.\r\n"
        yield from [b""] * 200
        yield OPENED

    board = Board(script)
    assert board.unlock().result is Result.UNLOCKED
    assert board.log.getvalue().count("did not say for which volume") == 1


def test_a_passphrase_that_is_tried_twice() -> None:
    """systemd 257 tries it again, which takes as long as before; its issue 38495."""

    def script(board: Board) -> Script:
        yield OTHERS_UNIT
        yield from board.answers(PROMPT, HIDDEN)
        yield WRONG
        yield from [b""] * 100
        yield WRONG
        yield from board.answers(PROMPT, HIDDEN)

    result = Board(script).unlock()
    assert (result.result, result.attempts) == (Result.WRONG_PASSPHRASE, 1)


def test_a_unit_that_fails_after_the_passphrase() -> None:
    """A console that shows no logs shows nothing else of a wrong passphrase with ``tries=1``."""

    def script(board: Board) -> Script:
        yield from board.answers(PROMPT, HIDDEN)
        yield FAILED_UNIT

    board = Board(script)
    result = board.unlock()
    assert result.result is Result.FAILED
    assert "the passphrase may be wrong" in result.detail
    assert board.now < 15


def test_the_second_passphrase_waits_for_the_second_question() -> None:
    """The boot says that the first was wrong before it asks again; and a person takes time."""

    def script(board: Board) -> Script:
        yield from board.answers(PROMPT, HIDDEN)
        yield b"\r\nFailed to activate with specified passphrase. (Passphrase incorrect?)\r\n"
        board.typed += b"|"
        yield from [b""] * 5
        yield from board.answers(PROMPT, HIDDEN)
        yield OPENED

    board = Board(script)
    assert board.unlock(another=lambda _: Secret(b"another")).result is Result.UNLOCKED
    assert board.typed == TYPED + b"|\t\x15another\n"


def test_a_second_passphrase_for_a_board_that_went_on_meanwhile() -> None:
    def script(board: Board) -> Script:
        yield b"Please unlock disk docker-data: "
        yield from board.wait_for(b"\n")
        yield b"\r\ncryptsetup: cryptsetup failed, bad password or options?\r\n"
        yield U_BOOT
        yield LOGIN

    board = Board(script)
    assert board.unlock(another=lambda _: Secret(b"another")).attempts == 1
    assert b"another" not in board.typed
