"""Questions that are not the volume's, whoever asks: they get nothing, and are quoted."""

import io
from random import Random

import pytest

from bootwright.console.simulated_board import AskPassphrase, Output
from bootwright.console.systemd_messages import Dialect
from bootwright.core.report import TextReporter
from bootwright.core.secret import Secret
from bootwright.volume.unlock_result import Result
from tests.support import console_noise as noise
from tests.support.consoles import OURS, VOLUME, Scenario, at_once
from tests.support.scripted_console import HINT, OPENED, PROMPT, TYPED, Board, Script
from tests.volume.test_generated_consoles import Console, problems, unlock_session

BOOT = b"U-Boot 2018.01\r\n[    2.113000] systemd[1]: Detected architecture arm.\r\n"
STATUS = b"\r\n[  OK  ] Started something else.\r\n"


@pytest.mark.parametrize(
    ("printed", "quoted"),
    [
        (
            b"A password is required to open the volume:\r\nEnter passphrase for /dev/mmcblk0p2: ",
            "Enter passphrase for /dev/mmcblk0p2:",
        ),
        (b"Password (/dev/disk/by-uuid/1c5f) [1/5]:", "Password (/dev/disk/by-uuid/1c5f) [1/5]:"),
        (b"Welcome to GRUB!\r\n\r\nEnter passphrase for hd0,gpt2 (1c5f): ", "for hd0,gpt2 (1c5f):"),
        (b"Hit any key to stop autoboot:  0 \r\n=> ", 'at "=>"'),
        (
            b"Please enter passphrase for disk docker-data on /mnt/docker-data::",
            "on /mnt/docker-data::",
        ),
        (b"Please enter LUKS2 token PIN: " + HINT, "Please enter LUKS2 token PIN:"),
        (b"Please enter LUKS2 token PIN: " + HINT + STATUS, "Please enter LUKS2 token PIN:"),
        (b"Please enter a new root password (empty to skip): " + HINT, "a new root password"),
    ],
)
def test_a_question_that_is_not_ours_gets_nothing_and_is_quoted(
    printed: bytes, quoted: str
) -> None:
    def script(board: Board) -> Script:
        yield BOOT + printed
        yield from board.wait_for(b"anything")

    board = Board(script)
    result = board.unlock(timeout=40)
    assert (result.result, board.typed) == (Result.NO_PROMPT, b"")
    assert quoted in result.detail


def test_our_question_after_another_programs_is_answered() -> None:
    def script(board: Board) -> Script:
        yield BOOT + b"Please enter LUKS2 token PIN: " + HINT
        yield from [b""] * 300
        assert board.typed == b""
        yield b"\b \b" * len(HINT) + b"\r\n"
        yield from board.answers(PROMPT)
        yield OPENED

    board = Board(script)
    assert (board.unlock(timeout=90).result, board.typed) == (Result.UNLOCKED, TYPED)


def test_another_programs_question_takes_the_place_of_ours() -> None:
    """A status line hides it again, but the passphrase must not go there."""

    def script(board: Board) -> Script:
        yield PROMPT
        yield from board.wait_for(b"\t")
        yield b"\r\nPlease enter LUKS2 token PIN: " + HINT + STATUS
        yield b"\b \b" * len(HINT) + b"(no echo) "
        yield from board.wait_for(b"anything")

    board = Board(script)
    result = board.unlock(timeout=60)
    assert (result.result, result.attempts) == (Result.NO_PROMPT, 0)
    assert board.typed.strip(b"\t\x15") == b""


QUESTIONS = (
    "Please enter LUKS2 token PIN:",
    "Please enter security token PIN:",
    "Please enter a new root password (empty to skip):",
    "Password for user root:",
)


def generated(seed: int) -> Scenario:
    """Return a boot that asks for another secret, amid noise, and then perhaps for ours."""
    rng = Random(seed)
    dialect = Dialect(version=rng.choice((229, 244, 246, 252, 257)), colours=rng.random() < 0.5)
    question = rng.choice(QUESTIONS).encode() + b" " + dialect.hint
    outputs = [
        noise.status_line(rng),
        noise.waiting_line(rng),
        *(noise.record(rng, stamped=stamped) for stamped in (True, False)),
    ]
    foreign = AskPassphrase(
        disk="another secret",
        dialect=dialect,
        prompt=at_once(question),
        right=b"1234",
        meanwhile=tuple((rng.uniform(0, 2), rng.choice(outputs)) for _ in range(rng.randrange(4))),
        patience=rng.choice((8.0, 1000.0)),
    )
    ours = AskPassphrase(
        disk=OURS,
        dialect=dialect,
        prompt=at_once(b"".join(dialect.question(VOLUME))),
        right=b"qXv7Zk9wB",
        opened=at_once(dialect.opened(VOLUME, "/mnt/docker-data")),
    )
    begin = at_once(noise.KERNEL_START + noise.boot_text(rng, start=False))
    script = (Output(begin), foreign, Output(at_once(b"\r\n")), ours)
    answered = frozenset({Result.UNLOCKED})
    waits = frozenset({Result.NO_PROMPT}) if foreign.patience > 100 else frozenset()
    return Scenario(seed, "another secret", script, b"qXv7Zk9wB", answered, waits)


def test_generated_questions_for_other_secrets() -> None:
    for seed in range(100):
        scenario = generated(seed)
        assert problems(scenario) == [], seed
        line = Console(scenario)
        secret = Secret(scenario.passphrase)
        unlock_session(line, secret, TextReporter(io.StringIO()), line.clock)
        read = [answer for answer in line.board.answers if answer.disk != OURS]
        assert all((answer.given, answer.how) == (b"", "gone") for answer in read), seed
        assert read or not line.board.typed, seed
