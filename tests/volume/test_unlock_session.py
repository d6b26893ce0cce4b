"""When the passphrase is typed, and what came of it: a scripted console, a false clock."""

import functools
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bootwright.console.boot import BootWatcher
from bootwright.console.ports import ConnectionLost
from bootwright.console.tries import PendingPrompt, Tries
from bootwright.core.errors import FailedError, InputError
from bootwright.core.passphrase import check_typeable
from bootwright.core.report import TextReporter
from bootwright.core.secret import Secret
from bootwright.volume.unlock_decisions import SETTLE_NO_TAB_S, SETTLE_S
from bootwright.volume.unlock_result import Result, UnlockResult
from bootwright.volume.unlock_session import UnlockSession
from tests.support.schemas import check_broken_documents, check_document
from tests.support.tape import Tape

CASES = Path(__file__).parent.parent / "cases" / "console"
RECORDED = (CASES / "debian12-systemd252-unlock.log").read_bytes()

SECRET = b"correct horse"
OLD_PROMPT = b"Please enter passphrase for disk docker-data! "
HINT = b"(press TAB for no echo) "
PROMPT = b"Please enter passphrase for disk docker-data on /mnt/docker-data: " + HINT
OTHER = b"Please enter passphrase for disk swap: " + HINT
ERASED = b"\b \b" * len(HINT)
HIDDEN = ERASED + b"(no echo) "
TYPED = b"\t\x15" + SECRET + b"\n"
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

    def answers(self, prompt: bytes, hidden: bytes = b"(no echo) ") -> Iterator[bytes]:
        """Ask as systemd does, up to the Enter."""
        yield prompt
        yield from self.wait_for(b"\t")
        yield hidden
        yield from self.wait_for(b"\n")

    def session(self, timeout: float = 60, **more: Any) -> UnlockSession:
        self.log = io.StringIO()
        return UnlockSession(
            target="board",
            watcher=BootWatcher("docker-data", "/mnt/docker-data"),
            console=self,
            passphrase=Secret(SECRET),
            timeout=timeout,
            reporter=TextReporter(self.log),
            clock=lambda: self.now,
            **more,
        )

    def unlock(self, timeout: float = 60, **more: Any) -> UnlockResult:
        return self.session(timeout, **more).run()


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


def refusing(times: int) -> Callable[[Board], Script]:
    def script(board: Board) -> Script:
        for _ in range(times):
            yield from board.answers(PROMPT, HIDDEN)
            board.typed += b"|"
            yield b"\r\n"
        yield from board.answers(PROMPT, HIDDEN)
        yield OPENED

    return script


def test_the_last_try_is_kept() -> None:
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


def test_another_passphrase_is_asked_for_while_a_try_may_be_used() -> None:
    said: list[str] = []

    def another(left: str) -> Secret | None:
        said.append(left)
        return Secret(b"another")

    board = Board(refusing(1))
    assert board.unlock(another=another).result is Result.UNLOCKED
    assert board.typed == TYPED + b"|\t\x15another\n"
    assert said == ["the passphrase is wrong; 2 tries are left of 3"]

    board = Board(refusing(5))
    result = board.unlock(another=another)
    assert (result.result, result.attempts) == (Result.WRONG_PASSPHRASE, 2)
    assert "1 try is left, the last of 3" in result.detail
    assert Board(refusing(1)).unlock(another=lambda _: None).attempts == 1


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


def test_what_a_shell_shows_is_no_prompt() -> None:
    def script(_: Board) -> Script:
        yield LOGIN + b"root\r\nroot@board:~# cat console.log\r\n" + PROMPT

    watcher = BootWatcher("docker-data", "/mnt/docker-data")
    watcher.feed(next(script(Board(script))))
    assert (watcher.open_question.is_ours, watcher.prompts_seen) == (False, 0)


def test_silence() -> None:
    board = Board(lambda _: iter(()))
    result = board.unlock(timeout=30)
    assert (result.result, result.prompts_seen, result.to_prompt) == (Result.NO_PROMPT, 0, None)
    assert "cable" in result.detail and "--baud" in result.detail
    assert "cable" in board.log.getvalue()
    assert 30 < board.now < 31
    # Once, to see whether a prompt waits that was printed before.
    assert board.typed == b"\t"


def test_the_wrong_speed() -> None:
    def script(_: Board) -> Script:
        while True:
            yield bytes(range(0x80, 0x90))

    result = Board(script).unlock(timeout=5)
    assert result.result is Result.NO_PROMPT
    assert "is not text: is the speed right" in result.detail


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
    # The last try is kept, over runs as well.
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


def test_what_was_left_is_forgotten_with_a_restart() -> None:
    def script(board: Board) -> Script:
        yield U_BOOT
        yield from board.answers(PROMPT, HIDDEN)
        yield b"\r\n" + PROMPT

    result = Board(script).unlock(pending_prompt=PendingPrompt(3, fresh=True))
    assert "2 tries are left of 3" in result.detail


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


@pytest.mark.parametrize("echo", [b"", b"\t", b"        "])
def test_a_prompt_that_does_not_react_gets_no_passphrase(echo: bytes) -> None:
    """It may be a text that somebody shows, or the terminal may show what is typed."""

    def script(board: Board) -> Script:
        yield PROMPT
        yield from board.wait_for(b"\t")
        yield echo

    board = Board(script)
    result = board.unlock()
    assert (result.result, board.typed.strip(b"\t")) == (Result.NO_PROMPT, b"")
    assert "not react" in result.detail
    assert "not react" in board.log.getvalue()


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
        yield from board.answers(OLD_PROMPT)
        yield failed
        yield b"Give root password for maintenance\r\n"

    assert Board(stuck).unlock().result is Result.FAILED
    assert Board(shell).unlock().result is Result.EMERGENCY
    assert Board(later).unlock().result is Result.EMERGENCY


U_BOOT = b"\r\nU-Boot 2024.01 (Jan 08 2024)\r\n"


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


class Cutting(Board):
    """A board whose line is cut where the script yields ``CUT``, or while it is typed at."""

    CUT = b"\0cut"

    def __init__(self, script: Callable[[Board], Script], cut_writes: bytes = b"") -> None:
        super().__init__(script)
        self._cut_writes = cut_writes

    def read(self) -> bytes:
        data = super().read()
        if data == self.CUT:
            raise ConnectionLost("cut")
        return data

    def write(self, data: bytes) -> None:
        super().write(data)
        if self._cut_writes and self._cut_writes in data:
            raise ConnectionLost("cut while typing")


def test_a_cut_while_the_prompt_waits() -> None:
    def script(board: Board) -> Script:
        yield PROMPT + b"\r\n[  OK  ] Started x.\r\n"
        yield Cutting.CUT
        yield from board.wait_for(b"\t")
        yield HIDDEN
        yield from board.wait_for(b"\n")
        yield OPENED

    board = Cutting(script)
    assert board.unlock().result is Result.UNLOCKED
    assert board.typed == TYPED


def test_a_cut_before_the_prompt() -> None:
    def script(board: Board) -> Script:
        yield b"[  OK  ] Started x.\r\nPlease enter passphrase for"
        yield Cutting.CUT
        yield b" disk docker-data: \r\n"
        yield from board.answers(PROMPT)
        yield OPENED

    board = Cutting(script)
    result = board.unlock()
    assert (result.result, result.prompts_seen) == (Result.UNLOCKED, 1)


def test_after_an_uncertain_send_nothing_is_typed_any_more() -> None:
    def script(board: Board) -> Script:
        yield from board.answers(PROMPT)
        yield b"\r\n" + PROMPT
        yield from board.wait_for(b"anything")

    board = Cutting(script, cut_writes=SECRET)
    result = board.unlock()
    assert (result.result, result.attempts, board.typed) == (Result.FAILED, 1, TYPED)
    assert "while the passphrase was being sent" in result.detail


def test_an_uncertain_send_that_arrived() -> None:
    def script(board: Board) -> Script:
        yield from board.answers(PROMPT)
        yield OPENED

    assert Cutting(script, cut_writes=SECRET).unlock().result is Result.UNLOCKED


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


def test_after_a_cut_an_earlier_boot_counts_no_more() -> None:
    def script(board: Board) -> Script:
        yield from board.answers(PROMPT, HIDDEN)
        yield OPENED + LOGIN
        yield Cutting.CUT
        # Switched off and on: its prompt was printed while the line was away.
        yield from board.wait_for(b"\n\t")
        yield HIDDEN
        yield from board.wait_for(b"\x15\n")
        yield from board.answers(PROMPT, HIDDEN)
        yield OPENED

    results = Cutting(script).session(endless=True).results()
    assert [next(results).result for _ in range(2)] == [Result.UNLOCKED, Result.UNLOCKED]


def test_floods_are_read_faster_than_a_line_brings_them() -> None:
    """Work for a byte must not grow with the line; counted, not timed."""
    for unit in (b" ", b"Please enter ", b"Please enter passphrase for disk ("):
        watcher = BootWatcher("docker-data", "/mnt/docker-data")
        watcher.feed(unit * (200_000 // len(unit)))
        assert watcher.prompts_seen == 0


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
    said = str(result.document()) + board.log.getvalue() + tape.all.decode()
    assert SECRET[:7].decode() not in said
    assert SECRET[7:].decode() not in said
    assert b"<\t>" in tape.all
    assert b"<\x15***\n>" in tape.all
    assert b"***" in tape.all.partition(b"\n>")[2]


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
