"""When the passphrase is typed, and what came of it: a scripted console, a false clock."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bootwright.console.boot import BootWatcher
from bootwright.errors import FailedError, InputError
from bootwright.passphrase import check_typeable
from bootwright.report import TextReporter
from bootwright.secret import Secret
from bootwright.unlock_result import Result, UnlockResult
from bootwright.unlock_session import SETTLE_S, UnlockSession

CASES = Path(__file__).parent.parent / "cases" / "console"
RECORDED = (CASES / "debian12-systemd252-unlock.log").read_bytes()

SECRET = b"correct horse"
OLD_PROMPT = b"Please enter passphrase for disk docker-data! "
HINT = b"(press TAB for no echo) "
PROMPT = b"Please enter passphrase for disk docker-data on /mnt/docker-data: " + HINT
OTHER = b"Please enter passphrase for disk swap: " + HINT
ERASED = b"\b \b" * len(HINT)
HIDDEN = ERASED + b"(no echo) "
OPENED = b"\r\n[  OK  ] Finished Cryptography Setup for docker-data.\r\n"
LOGIN = b"\r\nboard login: "

Script = Iterator[bytes]


class Board:
    """A console that follows a script; a read takes a tenth of a second of its clock.

    The script is a generator: it yields what is printed and looks at ``typed``.
    """

    def __init__(self, script: Callable[["Board"], Script], history: bytes = b"") -> None:
        self.now = 0.0
        self.typed = b""
        self.typed_at: list[float] = []
        self._history = history
        self._script = script(self)

    def history(self) -> bytes:
        return self._history

    def read(self) -> bytes:
        self.now += 0.1
        return next(self._script, b"")

    def write(self, data: bytes) -> None:
        self.typed += data
        self.typed_at.append(self.now)

    def wait_for(self, typed: bytes) -> Iterator[bytes]:
        while not self.typed.endswith(typed):
            yield b""

    def unlock(self, timeout: float = 60) -> UnlockResult:
        self.log = io.StringIO()
        return UnlockSession(
            target="board",
            watcher=BootWatcher("docker-data", "/mnt/docker-data"),
            console=self,
            passphrase=Secret(SECRET),
            timeout=timeout,
            reporter=TextReporter(self.log),
            clock=lambda: self.now,
        ).run()


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
    assert board.typed == b"\t" + SECRET + b"\n"
    assert (result.prompts_seen, result.attempts) == (1, 1)
    assert result.to_prompt == pytest.approx(0.2)
    assert result.to_unlocked is not None and result.to_unlocked > 0.2
    assert SECRET.decode() not in board.log.getvalue()
    assert result.as_json() == {
        "schema": "bootwright.unlock/1",
        "target": "board",
        "via": "serial",
        "result": "unlocked",
        "detail": "the boot reported the volume open",
        "prompts_seen": 1,
        "attempts": 1,
        "seconds": {"to_prompt": 0.2, "to_unlocked": round(result.to_unlocked, 1)},
    }


def test_an_old_prompt_gets_no_tab_but_time_to_turn_its_echo_off() -> None:
    def script(board: Board) -> Script:
        yield OLD_PROMPT
        yield from board.wait_for(b"\n")
        yield OPENED

    board = Board(script)
    assert board.unlock().result is Result.UNLOCKED
    assert board.typed == SECRET + b"\n"
    assert board.typed_at[0] >= 0.1 + SETTLE_S


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


def test_a_wrong_passphrase_is_the_only_one() -> None:
    def script(board: Board) -> Script:
        yield OLD_PROMPT
        yield from board.wait_for(b"\n")
        yield b"\r\n"
        while True:
            yield OLD_PROMPT

    board = Board(script)
    result = board.unlock()
    assert result.result is Result.WRONG_PASSPHRASE
    assert (result.prompts_seen, result.attempts, board.typed) == (2, 1, SECRET + b"\n")
    with pytest.raises(FailedError, match="wrong-passphrase"):
        result.check()


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
        yield from board.wait_for(b"\n")
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
    result = board.unlock(timeout=20)
    assert (result.result, result.prompts_seen, result.to_prompt) == (Result.NO_PROMPT, 0, None)
    assert "nothing came" in result.detail
    assert 20 < board.now < 21


def test_no_report_of_an_open_volume() -> None:
    def script(_: Board) -> Script:
        yield OLD_PROMPT

    result = Board(script).unlock()
    assert (result.result, result.attempts) == (Result.FAILED, 1)
    assert "did not report" in result.detail


def test_a_login_prompt_is_no_report_of_an_open_volume() -> None:
    def script(board: Board) -> Script:
        yield OLD_PROMPT
        yield from board.wait_for(b"\n")
        yield LOGIN

    board = Board(script)
    assert board.unlock().result is Result.FAILED
    assert board.now < 20


@pytest.mark.parametrize("echo", [b"\t", b"        "])
def test_a_terminal_that_echoes_gets_no_passphrase(echo: bytes) -> None:
    def script(board: Board) -> Script:
        yield PROMPT
        yield from board.wait_for(b"\t")
        yield echo

    board = Board(script)
    result = board.unlock()
    assert (result.result, board.typed) == (Result.FAILED, b"\t")
    assert "shows what is typed; the passphrase was not sent" in result.detail


def test_a_prompt_that_does_not_react_gets_no_passphrase() -> None:
    def script(_: Board) -> Script:
        yield PROMPT

    board = Board(script)
    result = board.unlock()
    assert (result.result, board.typed) == (Result.FAILED, b"\t")
    assert "does not react" in result.detail


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


def test_failure_and_what_follows_it() -> None:
    failed = b"\r\n[FAILED] Failed to start Cryptography Setup for docker-data.\r\n"

    def stuck(board: Board) -> Script:
        yield failed

    def shell(board: Board) -> Script:
        yield failed
        yield b"You are in emergency mode. After logging in, type x\r\n"

    def later(board: Board) -> Script:
        yield OLD_PROMPT
        yield from board.wait_for(b"\n")
        yield failed
        yield b"Give root password for maintenance\r\n"

    assert Board(stuck).unlock().result is Result.FAILED
    assert Board(shell).unlock().result is Result.EMERGENCY
    assert Board(later).unlock().result is Result.EMERGENCY


def test_a_restart_after_the_answer() -> None:
    def script(board: Board) -> Script:
        yield OLD_PROMPT
        yield from board.wait_for(b"\n")
        yield b"\r\nU-Boot 2024.01 (Jan 08 2024)\r\n"
        yield OLD_PROMPT

    board = Board(script)
    result = board.unlock()
    assert (result.result, board.typed) == (Result.FAILED, SECRET + b"\n")
    assert "restarted" in result.detail


def test_an_echoed_passphrase_does_not_reach_the_result() -> None:
    def script(board: Board) -> Script:
        yield OLD_PROMPT
        yield from board.wait_for(b"\n")
        # No line break: the report is glued to the echo.
        yield SECRET + b" [FAILED] Failed to start Cryptography Setup for docker-data.\r\n"

    board = Board(script)
    result = board.unlock()
    assert result.result is Result.FAILED
    assert SECRET.decode() not in str(result.as_json()) + board.log.getvalue()
    assert "***" in result.detail


@pytest.mark.parametrize(
    "value", [b"", b"a\tb", b"a\n", b"\x00", b"\x7f", b"\x08", b"\x15", b"\x04", b"a" * 513]
)
def test_passphrases_that_cannot_be_typed(value: bytes) -> None:
    with pytest.raises(InputError) as raised:
        check_typeable(value, "bench")
    assert value.decode() not in str(raised.value) or value == b""


def test_passphrases_that_can_be_typed() -> None:
    check_typeable(b"correct horse battery staple", "bench")
    check_typeable("Grüße ☃ \\ \"'$`".encode(), "bench")
