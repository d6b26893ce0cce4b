"""The boot state machine: on recorded consoles, in any chunks, interrupted at any place."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootwright.console.boot import BootWatcher, State
from bootwright.console.open_question import OpenQuestion

CASES = Path(__file__).parent.parent / "cases" / "console"
RECORDED = (CASES / "debian12-systemd252-unlock.log").read_bytes()
WRONG_FIRST = (CASES / "debian12-systemd252-wrong-then-right.log").read_bytes()

HINT = "(press TAB for no echo) "
PROMPT = b"Please enter passphrase for disk docker-data on /mnt/docker-data: "
OTHER = b"Please enter passphrase for disk swap: "
VERIFY = b"Please enter passphrase for disk docker-data! (verification) "
OPENED = b"[  OK  ] Finished Cryptography Setup for docker-data.\r\n"
TARGET = b"[  OK  ] Reached target Local Encrypted Volumes.\r\n"
LOGIN = b"\r\nDebian GNU/Linux 12 board ttySAC2\r\n\r\nboard login: "


def watcher() -> BootWatcher:
    return BootWatcher("docker-data", "/mnt/docker-data")


def open_question(boot: BootWatcher) -> OpenQuestion:
    return boot.open_question


def states(*parts: bytes) -> list[State]:
    boot = watcher()
    return [state for part in parts for state in boot.feed(part)]


def test_a_recorded_boot() -> None:
    boot = watcher()
    assert boot.state is State.SILENT
    # Twice booting: something came, and the kernel's first message.
    assert boot.feed(RECORDED) == [
        State.BOOTING,
        State.BOOTING,
        State.PROMPT,
        State.UNLOCKED,
        State.LOGIN,
    ]
    assert (boot.prompts_seen, boot.opened, boot.login_seen, boot.boots) == (1, True, True, 1)
    assert boot.other_disks == ()


def test_a_recorded_boot_with_a_wrong_passphrase_first() -> None:
    boot = watcher()
    first, _, rest = WRONG_FIRST.partition(b"(no echo) \r\n")
    boot.feed(first)
    assert boot.state is State.PROMPT
    assert open_question(boot) is OpenQuestion.VISIBLE
    boot.tab_typed()
    assert open_question(boot) is OpenQuestion.VISIBLE
    boot.feed(b"(no echo) ")
    assert open_question(boot) is OpenQuestion.HIDDEN
    boot.passphrase_typed()
    second, _, rest = rest.partition(b"(no echo) \r\n")
    assert boot.feed(b"\r\n" + second) == [State.REFUSED]
    boot.passphrase_typed()
    assert boot.feed(b"(no echo) \r\n" + rest) == [State.UNLOCKED, State.LOGIN]
    assert boot.prompts_seen == 2


@settings(max_examples=30, deadline=None)
@given(st.data(), st.sampled_from([RECORDED, WRONG_FIRST]))
def test_chunks_do_not_matter(data: st.DataObject, recorded: bytes) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(recorded)), max_size=40)))
    boot = watcher()
    seen = []
    for begin, end in zip([0, *cuts], [*cuts, len(recorded)], strict=True):
        seen += boot.feed(recorded[begin:end])
    whole = watcher()
    assert seen == whole.feed(recorded)
    assert boot.prompts_seen == whole.prompts_seen


@pytest.mark.parametrize("recorded", [RECORDED, WRONG_FIRST])
def test_one_byte_at_a_time(recorded: bytes) -> None:
    boot = watcher()
    seen = [state for byte in recorded for state in boot.feed(bytes([byte]))]
    assert seen == watcher().feed(recorded)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 2000), max_size=6), st.data())
def test_kernel_messages_at_any_place(places: list[int], data: st.DataObject) -> None:
    text = (
        b"\x1b[0;1;39m" + PROMPT + HINT.encode() + b"\x1b[0m\r\n"
        b"[\x1b[0;32m  OK  \x1b[0m] Finished \x1b[0;1;39msystemd-cryptsetu\xe2\x80\xa6ryptography"
        b" Setup for docker-data.\r\r\nboard login: "
    )
    messages = st.sampled_from([b"EXT4-fs (vda1): mounted", b"usb 1-1: new device", b"a] [b: c!"])
    # In the middle of an escape sequence or of a letter is for the next test.
    allowed = [
        at
        for at in range(len(text))
        if b"\x1b" not in text[max(0, at - 8) : at] and not 0x80 <= text[at] < 0xC0
    ]
    for place in sorted({allowed[place % len(allowed)] for place in places}, reverse=True):
        record = b"[   47.067120] " + data.draw(messages) + b"\r\n"
        text = text[:place] + record + text[place:]
    assert states(text) == [State.BOOTING, State.PROMPT, State.UNLOCKED, State.LOGIN]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_noise_is_no_prompt(noise: bytes) -> None:
    assert not set(states(noise)) - {State.BOOTING, State.LOGIN}


def test_a_question_counts_when_it_is_complete() -> None:
    boot = watcher()
    assert boot.feed(PROMPT[:-1]) == [State.BOOTING]
    assert boot.feed(PROMPT[-1:]) == [State.PROMPT]
    assert open_question(boot) is OpenQuestion.VISIBLE
    # The hint belongs to the same question; half of it may still become something else.
    boot.feed(b"(press TAB")
    assert open_question(boot) is OpenQuestion.INCOMPLETE
    assert boot.feed(b" for no echo) ") == []
    assert (open_question(boot), boot.prompts_seen) == (OpenQuestion.VISIBLE, 1)


def test_a_question_goes_on_waiting_under_other_output() -> None:
    boot = watcher()
    boot.feed(PROMPT + b"[  OK  ] Listening on x.\r\r\n")
    boot.feed(b"\x1bM\r\x1b[K[*** ] (1 of 2) Job x/start running (4s / no limit)\r\r\n")
    assert open_question(boot) is OpenQuestion.VISIBLE
    # What TAB prints comes on a new line then.
    boot.tab_typed()
    boot.feed(b"\b \b\b \b(no echo) ")
    assert open_question(boot) is OpenQuestion.HIDDEN


def test_a_second_question_is_a_second_prompt() -> None:
    boot = watcher()
    assert boot.feed(PROMPT + b"\r\n" + PROMPT) == [State.BOOTING, State.PROMPT, State.PROMPT]
    assert boot.prompts_seen == 2


def test_a_question_for_another_disk_is_not_ours() -> None:
    boot = watcher()
    boot.feed(OTHER)
    assert open_question(boot) is OpenQuestion.NOT_OURS
    assert (boot.prompts_seen, boot.other_disks) == (0, ("swap",))
    boot.feed(b"\r\n" + PROMPT)
    assert open_question(boot) is OpenQuestion.VISIBLE
    # The terminal now reads the answer to the other one.
    boot.feed(b"\r\n" + OTHER)
    assert open_question(boot) is OpenQuestion.NOT_OURS
    assert boot.prompts_seen == 1


@pytest.mark.parametrize("ending", ["! (verification) ", " (verification): "])
def test_a_new_passphrase_is_not_ours_to_choose(ending: str) -> None:
    boot = watcher()
    text = f"Please enter passphrase for disk docker-data{ending}".encode()
    for byte in text[:-1]:
        boot.feed(bytes([byte]))
    assert open_question(boot) in (OpenQuestion.INCOMPLETE, OpenQuestion.NOT_OURS)
    boot.feed(text[-1:])
    assert (open_question(boot), boot.prompts_seen) == (OpenQuestion.NOT_OURS, 0)
    assert boot.state is State.BOOTING


@pytest.mark.parametrize(
    "text",
    [
        b"Invalid passphrase.\r\n",
        b"Failed to activate with specified passphrase. (Passphrase incorrect?)\r\n",
        b"Too many attempts; giving up.\r\n",
        b"cryptsetup failed, bad password or options?\r\n",
        PROMPT,
    ],
)
def test_a_refusal_counts_after_an_answer_only(text: bytes) -> None:
    boot = watcher()
    boot.feed(PROMPT + b"\r\n")
    assert State.REFUSED not in boot.feed(text)
    boot = watcher()
    boot.feed(PROMPT)
    boot.passphrase_typed()
    assert boot.feed(b"\r\n" + text) == [State.REFUSED]


def test_the_target_counts_after_an_answer_only() -> None:
    # With `nofail` it is reached while the question waits.
    assert State.UNLOCKED not in states(PROMPT, b"\r\n" + TARGET)
    boot = watcher()
    boot.feed(PROMPT)
    boot.passphrase_typed()
    assert boot.feed(b"\r\n" + TARGET + OPENED) == [State.UNLOCKED]


def test_another_disks_success_is_not_ours() -> None:
    boot = watcher()
    boot.feed(PROMPT)
    boot.passphrase_typed()
    assert boot.feed(b"\r\n[  OK  ] Finished Cryptography Setup for swap.\r\n" + OTHER) == []
    assert boot.state is State.ANSWERED


def test_failure_and_emergency() -> None:
    failed = b"[FAILED] Failed to start Cryptography Setup for docker-data.\r\n"
    shell = (
        b"You are in emergency mode. After logging in, type x\r\nGive root password for maintenance"
    )
    assert states(PROMPT, b"\r\n" + failed + shell + b"\r\n") == [
        State.BOOTING,
        State.PROMPT,
        State.FAILED,
        State.EMERGENCY,
    ]


def test_login_prompts() -> None:
    assert states(LOGIN) == [State.BOOTING, State.LOGIN]
    assert states(b"Last login: Tue Jan  6 on ttySAC2\r\n") == [State.BOOTING]
    boot = watcher()
    boot.feed(PROMPT + LOGIN)
    assert open_question(boot) is OpenQuestion.CLOSED
    assert boot.login_seen


def test_a_restart_begins_anew() -> None:
    boot = watcher()
    boot.feed(RECORDED)
    boot.feed(b"\r\n[  99.000001] reboot: Restarting system\r\n")
    assert (boot.opened, boot.login_seen, boot.prompts_seen) == (False, False, 0)
    assert boot.feed(RECORDED)[-3:] == [State.PROMPT, State.UNLOCKED, State.LOGIN]
    assert boot.prompts_seen == 1


def test_what_a_shell_displays_is_no_prompt() -> None:
    boot = watcher()
    boot.feed(LOGIN + b"root\r\nroot@board:~# cat console.log\r\n" + PROMPT + HINT.encode())
    assert (open_question(boot), boot.prompts_seen) == (OpenQuestion.CLOSED, 0)


def test_floods_are_read_faster_than_a_line_brings_them() -> None:
    """Work for a byte must not grow with the line; counted, not timed."""
    for unit in (b" ", b"Please enter ", b"Please enter passphrase for disk ("):
        boot = watcher()
        boot.feed(unit * (50_000 // len(unit)))
        assert boot.prompts_seen == 0
