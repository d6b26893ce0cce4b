"""The simulated board: how it prints, and what becomes of what is typed."""

import math
from pathlib import Path

import pytest

from bootwright.console.prompt import find_question
from bootwright.console.simulated_board import (
    AskPassphrase,
    Listen,
    Output,
    Pieces,
    SimulatedBoard,
    interrupt,
)
from bootwright.console.systemd_messages import HIDDEN, HINT, INITRAMFS, Dialect
from tests.support.consoles import VERSIONS

CASES = Path(__file__).parent.parent / "cases" / "console"
RECORDED = (CASES / "debian12-systemd252-unlock.log").read_bytes()
WRONG_FIRST = (CASES / "debian12-systemd252-wrong-then-right.log").read_bytes()

VOLUME, MOUNT = "docker-data", "/mnt/docker-data"
DISK = f"{VOLUME} on {MOUNT}"
SECRET = b"correct horse"
ERASED = b"\b \b" * len(HINT)
NEW, OLD = Dialect(colours=False), Dialect(239, colours=False, units=False, shorten=False)


def at_once(*parts: bytes) -> Pieces:
    return tuple((0.0, part) for part in parts)


def ask(dialect: Dialect = NEW, **changes: object) -> AskPassphrase:
    values: dict[str, object] = {
        "disk": VOLUME,
        "dialect": dialect,
        "prompt": at_once(*dialect.question(DISK)),
        "right": SECRET,
        "opened": at_once(b"open\r\n"),
        "refused": at_once(b"wrong\r\n"),
        "gave_up": (Output(at_once(b"gave up\r\n")),),
    }
    return AskPassphrase(**(values | changes))  # type: ignore[arg-type]


def waiting(*steps: Output | AskPassphrase | Listen, at: float = 1.0) -> SimulatedBoard:
    """Return a board whose first question waits; what it printed so far is read."""
    board = SimulatedBoard(steps)
    board.due(at)
    return board


def test_the_wire_has_a_speed() -> None:
    board = SimulatedBoard([Output(((0.5, b"0123456789"), (1.0, b"abc")))], speed=10)
    assert board.next_at() == 0
    assert board.due(0.5) == b""
    assert board.next_at() == pytest.approx(0.6)
    assert board.due(0.6) == b"0"
    assert board.due(1.0) == b"1234"
    # The pause begins when the line is free again, after 1.5 s.
    assert board.due(2.5) == b"56789"
    assert board.due(2.6) == b"a"
    assert not board.over
    assert board.due(9) == b"bc"
    assert board.over
    assert board.next_at() == math.inf


def test_bytes_come_out_once_and_in_order_however_one_looks() -> None:
    text = bytes(range(256))
    board = SimulatedBoard([Output(((0.01, text[:100]), (0.0, text[100:])))])
    got, now = b"", 0.0
    while not board.over:
        now += 0.0001
        got += board.due(now)
    assert got == text


def test_tab_hides_the_passphrase() -> None:
    board = SimulatedBoard([ask()])
    assert board.due(1) == f"Please enter passphrase for disk {DISK}: ".encode() + HINT
    board.type(b"\t", 1)
    assert board.due(2) == ERASED + HIDDEN
    board.type(SECRET + b"\r", 2)
    assert board.due(3) == b"\r\n"
    # The key derivation takes two seconds.
    assert board.due(5) == b"open\r\n"
    (answer,) = board.answers
    assert (answer.disk, answer.given, answer.how) == (VOLUME, SECRET, "enter")
    assert (answer.hidden, answer.echoed, answer.at) == (True, b"", 2)
    assert board.exposed + board.unread == b""


@pytest.mark.parametrize("version", [208, 239, 240, 244])
def test_tab_hides_where_no_hint_says_so(version: int) -> None:
    board = waiting(ask(Dialect(version)))
    board.type(b"\t", 1)
    assert board.due(2) == HIDDEN
    # A second one is a character like any other.
    board.type(b"\tx\n", 2)
    assert board.due(3) == b"\r\n"
    assert board.answers[0].given == b"\tx"


def test_without_tab_each_character_shows_an_asterisk() -> None:
    board = waiting(ask())
    board.type("aü".encode(), 1)
    assert board.due(2) == ERASED + b"**"
    board.type(b"\b", 2)
    assert board.due(3) == b"\b \b"
    board.type(b"bc\x15d", 3)
    assert board.due(4) == b"**" + b"\b \b" * 3 + b"*"
    board.type(b"\t", 4)
    assert board.due(5) == b"\b \b" + HIDDEN
    board.type(b"e\x15f\n", 5)
    assert board.due(6) == b"\r\n"
    assert (board.answers[0].given, board.answers[0].hidden) == (b"f", True)


def test_backspace_first_hides_too() -> None:
    board = waiting(ask())
    board.type(b"\x7f", 1)
    assert board.due(2) == ERASED + HIDDEN
    board = waiting(ask())
    board.type(b"a\x7f\x7f", 1)
    assert board.due(2) == ERASED + b"*\b \b\a"


def test_what_comes_before_the_echo_is_off_is_seen_and_read() -> None:
    board = SimulatedBoard([ask(echo_delay=0.5)], tab_echo=b"        ")
    prompt = board.due(0.4)
    assert prompt.endswith(HINT)
    board.type(b"\tcorrect", 0.4)
    assert board.due(0.45) == b"        correct"
    board.type(b" horse\n", 0.6)
    out = board.due(0.61)
    assert out == ERASED + HIDDEN + b"\r\n"
    (answer,) = board.answers
    assert (answer.given, answer.echoed, answer.hidden) == (SECRET, b"correct", True)
    assert board.exposed == b"\tcorrect"


def test_the_echo_goes_off_when_the_last_byte_is_on_the_wire() -> None:
    prompt = ask().prompt
    seconds = sum(len(part) for _, part in prompt) / 11520
    board = SimulatedBoard([ask(echo_delay=0.0)])
    board.type(b"a", seconds - 0.001)
    board.type(b"b\n", seconds + 0.001)
    board.due(9)
    assert (board.answers[0].given, board.answers[0].echoed) == (b"ab", b"a")


def test_type_ahead_is_lost() -> None:
    board = SimulatedBoard([Output(((1.0, b"Linux\r\n"),)), ask()])
    board.type(SECRET + b"\n", 0.5)
    assert board.due(0.9) == SECRET + b"\r\n"
    board.due(5)
    assert board.answers == []
    assert board.unread == SECRET + b"\n"


def test_wrong_answers_and_the_end_of_the_tries() -> None:
    board = waiting(ask(tries=2), Output(at_once(b"never\r\n")))
    board.type(b"x\n", 1)
    assert board.due(2) == ERASED + b"*\r\n"
    assert board.due(4) == b"wrong\r\n" + b"".join(NEW.question(DISK))
    board.type(b"y\n", 4)
    assert board.due(9) == ERASED + b"*\r\ngave up\r\n"
    assert board.over
    assert [answer.given for answer in board.answers] == [b"x", b"y"]


def test_what_is_typed_during_the_key_derivation_goes_nowhere() -> None:
    board = waiting(ask())
    board.type(b"x\n" + SECRET, 1)
    board.type(b"\n", 1.5)
    board.due(9)
    assert [answer.given for answer in board.answers] == [b"x"]
    assert board.exposed == b"\n"


def test_control_d_cancels() -> None:
    board = waiting(ask())
    board.type(b"\x04", 1)
    assert board.due(5) == ERASED + b"(skipped)\r\ngave up\r\n"
    assert board.answers[0].how == "cancel"
    board = waiting(ask(OLD))
    board.type(b"\x04\n", 1)
    assert board.due(2) == b"*\r\n"
    assert board.answers[0].given == b"\x04"


def test_the_initial_ram_disk_knows_no_tab() -> None:
    board = SimulatedBoard([ask(Dialect(INITRAMFS), echo_delay=5.0)])
    assert board.due(1) == f"Please unlock disk {DISK}: ".encode()
    # The echo is off before the question is printed.
    board.type(b"x\t\x15y\t\n", 1)
    assert board.due(7) == b"\r\n"
    assert (board.answers[0].given, board.answers[0].hidden) == (b"y\t", True)
    assert board.exposed == b""


def test_questions_come_one_after_the_other() -> None:
    other = ask(disk="swap", prompt=at_once(*NEW.question("swap")), opened=())
    board = waiting(other, ask(), Listen(at_once(b"board login: "), b"Password: "))
    board.type(SECRET + b"\n", 1)
    assert board.due(4) == ERASED + b"*" * len(SECRET) + b"\r\n" + b"".join(NEW.question(DISK))
    board.type(b"\t" + SECRET + b"\n", 4)
    assert board.due(7).endswith(b"open\r\nboard login: ")
    board.type(b"root\n", 8)
    assert board.due(9) == b"root\r\nPassword: "
    assert [answer.disk for answer in board.answers] == ["swap", VOLUME]
    assert board.unread == b"root\n"


def test_a_restart_takes_the_question_away() -> None:
    restart = Output(at_once(b"\r\nU-Boot SPL 2020.01\r\n"))
    board = waiting(ask(patience=2.0), restart, ask())
    board.type(b"\tsec", 1)
    assert board.due(1.5) == ERASED + HIDDEN
    assert board.due(9) == b"\r\nU-Boot SPL 2020.01\r\n" + b"".join(NEW.question(DISK))
    assert [(answer.given, answer.how) for answer in board.answers] == [(b"sec", "gone")]


def test_others_print_while_the_question_waits() -> None:
    board = waiting(ask(meanwhile=((0.5, b"one\r\n"), (2.0, b"two\r\n"), (3.0, b"three\r\n"))))
    assert board.due(1.1) == b""
    board.type(b"\t", 1.2)
    assert board.due(1.3) == ERASED + HIDDEN
    assert board.due(4) == b"two\r\n"
    board.type(SECRET + b"\n", 4)
    assert board.due(99) == b"\r\nopen\r\n"


def test_the_answer_to_tab_can_be_slow_and_interrupted() -> None:
    record = b"[   47.067120] x\r\n"
    board = waiting(ask(OLD, reaction=1.0, reply_interruptions=((3, 0.5, record),)))
    board.type(b"\t", 1)
    assert board.due(1.9) == b""
    assert board.due(2.2) == HIDDEN[:3]
    assert board.due(3) == record + HIDDEN[3:]


def test_an_interrupted_question() -> None:
    assert interrupt(b"abcdef", ()) == ((0.0, b"abcdef"),)
    tears = ((4, 0.5, b"<2>"), (0, 0.0, b"<0>"), (4, 0.0, b"<1>"))
    pieces = interrupt(b"abcdef", tears)
    assert b"".join(part for _, part in pieces) == b"<0>abcd<1><2>ef"
    assert (0.5, b"<2>") in pieces


@pytest.mark.parametrize("version", sorted(set(VERSIONS)))
@pytest.mark.parametrize("disk", [VOLUME, DISK, f"SD card ({VOLUME})", f"SD ({VOLUME}) on {MOUNT}"])
def test_its_questions_are_those_of_the_table(version: int, disk: str) -> None:
    dialect = Dialect(version, colours=False, lock=version >= 246)
    text = b"".join(dialect.question(disk)).decode()
    question = find_question(text)
    assert question is not None
    assert (question.volume, question.verification) == (VOLUME, False)
    assert question.systemd == (version != INITRAMFS)


def test_a_question_for_a_new_passphrase() -> None:
    for dialect in (OLD, NEW):
        question = find_question(b"".join(dialect.question(VOLUME, verify=True)).decode())
        assert question is not None
        assert question.verification


def test_it_prints_what_debian_12_was_recorded_to_print() -> None:
    dialect = Dialect()
    assert b"".join(dialect.question(DISK)) in RECORDED
    lines = [line + b"\n" for line in dialect.opened(VOLUME, MOUNT).split(b"\n")[:-1]]
    assert len(lines) == 3
    for line in lines:
        assert line.removeprefix(b"[") in RECORDED
        assert line.removeprefix(b"[") in WRONG_FIRST
    assert b"".join(dialect.question(DISK)) + ERASED + HIDDEN + b"\r\n" in WRONG_FIRST


def test_the_ends_of_the_tries_by_version() -> None:
    old = OLD.gave_up(VOLUME, MOUNT)
    assert old.startswith(b"Too many attempts; giving up.\r\n")
    assert b"[FAILED] Failed to start Cryptography Setup for docker-data." in old
    assert b"[DEPEND] Dependency failed for /mnt/docker-data." in old
    assert b"Too many attempts to activate" in NEW.gave_up(VOLUME, MOUNT)
    assert b"maximum number of tries" in Dialect(INITRAMFS).gave_up(VOLUME, MOUNT)
    assert Dialect(INITRAMFS).refused().endswith(b"bad password or options?\r\n")
    assert OLD.refused() == b"Invalid passphrase.\r\n"
    assert OLD.opened(VOLUME, MOUNT).startswith(b"[  OK  ] Started Cryptography Setup")
    assert b"root account is locked" in NEW.emergency(locked=True)
    assert b"Give root password" in Dialect(229).emergency(locked=False)
