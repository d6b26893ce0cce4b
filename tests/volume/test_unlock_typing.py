"""When the passphrase is typed, and at what: a scripted console with a false clock."""

import pytest

from bootwright.volume.unlock_decisions import SETTLE_NO_TAB_S, SETTLE_S
from bootwright.volume.unlock_result import Result
from tests.support.schemas import check_broken_documents, check_document
from tests.support.scripted_console import (
    ERASED,
    HIDDEN,
    HINT,
    OLD_PROMPT,
    OPENED,
    PROMPT,
    RECORDED,
    SECRET,
    TYPED,
    Board,
    Script,
)


def test_the_passphrase_follows_the_answer_to_tab() -> None:
    def script(board: Board) -> Script:
        yield b"Linux\r\n"
        yield PROMPT
        yield from board.wait_for(b"\t")
        assert SECRET not in board.typed
        yield b"\r\n[  OK  ] Started something else.\r\n"
        yield HIDDEN
        yield from board.wait_for(SECRET + b"\n")
        yield b"\r\n"
        yield OPENED

    board = Board(script)
    result = board.unlock()
    result.check()
    assert result.result is Result.UNLOCKED
    assert board.typed == TYPED
    assert (result.prompts_seen, result.attempts) == (1, 1)
    assert result.to_prompt == pytest.approx(0.2)
    assert result.to_unlocked is not None and result.to_unlocked > 0.2
    assert SECRET.decode() not in board.log.getvalue()
    document = check_document("unlock", result.document())
    check_broken_documents("unlock", document)
    assert document == {
        "schema": "bootwright.unlock/1",
        "target": "board",
        "via": "serial",
        "result": "unlocked",
        "detail": "the boot reported the volume open",
        "prompts_seen": 1,
        "attempts": 1,
        "seconds": {"to_prompt": 0.2, "to_unlocked": round(result.to_unlocked, 1)},
    }


@pytest.mark.parametrize("prompt", [OLD_PROMPT, PROMPT])
def test_the_tab_waits_for_the_echo_to_go_off(prompt: bytes) -> None:
    def script(board: Board) -> Script:
        yield from board.answers(prompt)
        yield OPENED

    board = Board(script)
    assert board.unlock().result is Result.UNLOCKED
    assert board.typed == TYPED
    assert 0.1 + SETTLE_S <= board.typed_at[0] <= 0.1 + SETTLE_S + 0.2


@pytest.mark.parametrize("echo", [b"\t", b"        "])
def test_a_tab_that_came_too_early_is_shown_and_answered_all_the_same(echo: bytes) -> None:
    def script(board: Board) -> Script:
        yield PROMPT
        yield from board.wait_for(b"\t")
        yield echo
        yield b""
        yield HIDDEN
        yield from board.wait_for(b"\n")
        yield OPENED

    board = Board(script)
    assert board.unlock().result is Result.UNLOCKED
    assert board.typed == TYPED


def test_the_initial_ram_disk_gets_no_tab() -> None:
    def script(board: Board) -> Script:
        yield b"Please unlock disk docker-data: "
        yield from board.wait_for(b"\n")
        yield b"\r\ncryptsetup: docker-data: set up successfully\r\n"

    board = Board(script)
    assert board.unlock().result is Result.UNLOCKED
    assert board.typed == b"\x15" + SECRET + b"\n"
    assert board.typed_at[0] >= 0.1 + SETTLE_NO_TAB_S


def test_a_prompt_in_the_history_is_answered() -> None:
    def script(board: Board) -> Script:
        yield from board.wait_for(b"\t")
        yield HIDDEN
        yield from board.wait_for(b"\n")
        yield OPENED

    recorded_prompt = RECORDED[: RECORDED.index(b"(press TAB") + len(HINT)]
    board = Board(script, history=recorded_prompt)
    result = board.unlock()
    assert (result.result, result.prompts_seen, result.to_prompt) == (Result.UNLOCKED, 1, 0)


@pytest.mark.parametrize("echo", [b"", b"\t", b"        "])
def test_a_prompt_that_does_not_react_gets_no_passphrase(echo: bytes) -> None:
    """It may be a text that somebody shows, or the terminal may show what is typed."""

    def script(board: Board) -> Script:
        yield PROMPT
        yield from board.wait_for(b"\t")
        yield echo

    board = Board(script)
    result = board.unlock()
    # The TABs are erased: the question may have taken them as characters.
    assert (result.result, board.typed) == (Result.NO_PROMPT, b"\t\t\x15")
    assert "not react" in result.detail and "password-echo=no" in result.detail
    assert "not react" in board.log.getvalue()


@pytest.mark.parametrize("ended", ["timeout", "interrupt"])
def test_a_tab_that_is_not_answered_yet_is_erased_at_the_end(ended: str) -> None:
    def script(board: Board) -> Script:
        yield PROMPT
        yield from board.wait_for(b"\t")
        if ended == "interrupt":
            raise KeyboardInterrupt
        yield from board.wait_for(b"anything")

    board = Board(script)
    if ended == "interrupt":
        with pytest.raises(KeyboardInterrupt):
            board.unlock()
    else:
        assert board.unlock(timeout=5).result is Result.NO_PROMPT
    assert board.typed == b"\t\x15"


def test_a_prompt_that_is_asked_anew_while_tab_is_on_its_way() -> None:
    def script(board: Board) -> Script:
        yield PROMPT
        yield from board.wait_for(b"\t")
        yield b"\r\n" + PROMPT
        yield from board.wait_for(b"\t\t")
        yield HIDDEN
        yield from board.wait_for(b"\n")
        yield OPENED

    board = Board(script)
    assert board.unlock().result is Result.UNLOCKED


@pytest.mark.parametrize("left", [ERASED + b"***", HIDDEN])
def test_what_somebody_typed_is_cleared(left: bytes) -> None:
    def script(board: Board) -> Script:
        yield PROMPT + left
        if left != HIDDEN:
            yield from board.wait_for(b"\t")
            yield b"\b \b" * 3 + b"(no echo) "
        yield from board.wait_for(b"\n")
        yield OPENED

    board = Board(script)
    assert board.unlock().result is Result.UNLOCKED
    assert board.typed.replace(b"\t", b"") == b"\x15" + SECRET + b"\n"


SHELLS = [b"(initramfs) ", b"/ # ", b"=> ", b"ODROID-XU3 # ", b"$ ", b"root:~# ", b"Password: "]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("prompt", [PROMPT, b"Please unlock disk docker-data: "])
def test_who_prints_after_the_prompt_gets_nothing(prompt: bytes, shell: bytes) -> None:
    def script(board: Board) -> Script:
        yield prompt
        if prompt == PROMPT:
            yield from board.wait_for(b"\t")
            yield HIDDEN + b"\r\n" + shell
        else:
            yield b"\r\n" + shell

    board = Board(script)
    result = board.unlock(timeout=20)
    assert (result.result, result.attempts) == (Result.NO_PROMPT, 0)
    assert SECRET not in board.typed


def test_a_late_answer_to_a_tab_in_the_silence() -> None:
    """The line was slow: the TAB reached the board when nobody waited for it any more."""

    def script(board: Board) -> Script:
        yield from board.wait_for(b"\t")
        yield from [b""] * 100
        yield HIDDEN
        yield from board.wait_for(b"\x15\n")
        board.typed = b""
        yield from board.answers(PROMPT, HIDDEN)
        yield OPENED

    board = Board(script)
    assert board.unlock().result is Result.UNLOCKED
    assert board.typed == TYPED
