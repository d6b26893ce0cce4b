"""Which question is open, by what was printed and typed: an example of each."""

import pytest

from bootwright.console.boot import BootWatcher
from bootwright.console.open_question import OpenQuestion

PROMPT = b"Please enter passphrase for disk docker-data: "
HINT = b"(press TAB for no echo) "
ERASED = b"\b \b" * len(HINT)
HIDDEN = b"(no echo) "
INITRAMFS = b"Please unlock disk docker-data: "
OTHER = b"Please enter passphrase for disk swap: "
PIN = b"Please enter LUKS2 token PIN: "
LINE = b"\r\n[  OK  ] Started something else.\r\n"
RECORD = b"[   47.067120] usb 1-1: new device\r\n"
OPENED = b"\r\n[  OK  ] Finished Cryptography Setup for docker-data.\r\n"

TAB, PASSPHRASE, EMPTY, LOST = "TAB", "PASSPHRASE", "EMPTY", "LOST"
Happening = bytes | str
"""Printed by the board; or what we typed, or that the connection was lost."""

Q = OpenQuestion
EXAMPLES: list[tuple[OpenQuestion, tuple[Happening, ...]]] = [
    (Q.NOTHING_PRINTED, ()),
    (Q.NOTHING_PRINTED, (b"Linux\r\n", LOST)),
    (Q.NOTHING_PRINTED, (INITRAMFS, LOST)),
    (Q.NONE, (b"Linux\r\n",)),
    (Q.NONE, (PROMPT, LINE, TAB, HIDDEN, EMPTY)),
    (Q.BLANK_LINE, (TAB, b"        ")),
    (Q.BLANK_LINE, (b"Linux\r\n\t",)),
    (Q.HIDDEN_UNSEEN, (TAB, HIDDEN)),
    (Q.HIDDEN_UNSEEN, (b"Linux\r\n", TAB, b"(no" + RECORD + b" echo) ")),
    (Q.NOT_OURS, (OTHER,)),
    (Q.NOT_OURS, (PROMPT, b"(verification) ")),
    (Q.NOT_OURS, (b"Please enter passphrase for disk ",)),
    (Q.NOT_OURS, (PROMPT + b"\r\n" + OTHER,)),
    # Other programs that ask, and whatever else waits in the middle of a line.
    (Q.NOT_OURS, (b"Linux\r\n" + PIN + HINT,)),
    (Q.NOT_OURS, (PIN + HINT + LINE,)),
    (Q.NOT_OURS, (PIN + HINT + RECORD,)),
    (Q.NOT_OURS, (PIN + HINT + LINE.lstrip(),)),
    (Q.NOT_OURS, (TAB, PIN + HINT + ERASED + HIDDEN)),
    (Q.NOT_OURS, (TAB, b"Kodeord for disken> " + HIDDEN)),
    (Q.NOT_OURS, (PROMPT + b"\r\n" + PIN + HINT,)),
    (Q.NOT_OURS, (PROMPT + b"\r\n" + PIN + LINE,)),
    (Q.NOT_OURS, (PROMPT, TAB, b"\r\n" + PIN + HINT + ERASED + HIDDEN)),
    (Q.NOT_OURS, (b"Please enter a new root password (empty to skip): " + HINT,)),
    (Q.NOT_OURS, (b"Welcome to GRUB!\r\nEnter passphrase for hd0,gpt2 (1c5f0fb2): ",)),
    (Q.NOT_OURS, (b"Password (/dev/disk/by-uuid/1c5f0fb2) [1/5]:",)),
    (Q.NOT_OURS, (b"Password (/dev/disk/by-uuid/1c5f0fb2) [1/5]:" + LINE,)),
    (Q.NOT_OURS, (b"Enter passphrase for /dev/mmcblk0p2: " + RECORD,)),
    (Q.NOT_OURS, (b"Please enter passphrase for disk docker-data on /mnt/docker-data::",)),
    (Q.NOT_OURS, (b"Hit any key to stop autoboot:  0 \r\n=> ",)),
    (Q.VISIBLE, (PIN + HINT + LINE + PROMPT + HINT,)),
    (Q.NONE, (PIN + HINT + LINE + b"U-Boot 2024.01 (Jan 08 2024)\r\nLinux\r\n",)),
    # None of these lines asks for anything.
    (Q.NONE, (b"Linux\r\n[***   ] A start job is running for swap (5s / no limit)",)),
    (Q.NONE, (b"Linux\r\n\xff",)),
    (Q.NONE, (b"[  OK  ] Started Forward Password Requests to Wall.\r\n",)),
    (Q.VISIBLE, (PROMPT + LINE + b"Starting Dispatch Password Requests to Console...\r\n",)),
    (Q.CLOSED, (PROMPT, PASSPHRASE)),
    (Q.CLOSED, (PROMPT, PASSPHRASE, b"\r\nInvalid passphrase.\r\n")),
    (Q.CLOSED, (PROMPT, OPENED)),
    (Q.CLOSED, (b"board login: ",)),
    (Q.INCOMPLETE, (PROMPT + HINT[:5],)),
    (Q.INCOMPLETE, (PROMPT + b"(v",)),
    (Q.VISIBLE, (PROMPT,)),
    (Q.VISIBLE, (PROMPT + HINT,)),
    (Q.VISIBLE, (PROMPT + HINT + LINE,)),
    (Q.VISIBLE, (PROMPT + HINT, TAB)),
    (Q.BEFORE_LOSS, (PROMPT + HINT, LOST)),
    (Q.BEFORE_LOSS, (PROMPT, PASSPHRASE, b"\r\n" + PROMPT, LOST)),
    (Q.BEFORE_LOSS_OUTPUT_AFTER, (PROMPT + HINT, LOST, LINE)),
    (Q.VISIBLE, (PROMPT + HINT, LOST, b"\r\n" + PROMPT + HINT)),
    (Q.HIDDEN, (PROMPT + HINT, LOST, TAB, HIDDEN)),
    (Q.VISIBLE, (PROMPT, PASSPHRASE, b"\r\n" + PROMPT)),
    (Q.VISIBLE_HINT_CUT, (PROMPT + HINT[:5] + LINE.lstrip(),)),
    (Q.HIDDEN, (PROMPT + HINT, TAB, ERASED + HIDDEN)),
    (Q.HIDDEN, (PROMPT + HINT + LINE, TAB, ERASED + HIDDEN)),
    (Q.HIDDEN, (PROMPT, TAB, HIDDEN + LINE)),
    (Q.HIDDEN, (PROMPT, TAB, HIDDEN + RECORD)),
    (Q.HIDDEN_LINE_OPEN, (PROMPT, TAB, HIDDEN + b"\r\n/ # ")),
    (Q.HIDDEN_BY_OTHERS, (PROMPT + HINT + ERASED + HIDDEN,)),
    (Q.HIDDEN_BY_OTHERS_OUTPUT_AFTER, (PROMPT + HIDDEN + LINE,)),
    (Q.INITRAMFS, (INITRAMFS,)),
    (Q.INITRAMFS, (INITRAMFS + RECORD,)),
    (Q.INITRAMFS_OUTPUT_AFTER, (INITRAMFS + LINE,)),
    (Q.INITRAMFS_LINE_OPEN, (INITRAMFS + b"\r\n(initramfs) ",)),
]


@pytest.mark.parametrize(("question", "happenings"), EXAMPLES)
def test_the_open_question(question: OpenQuestion, happenings: tuple[Happening, ...]) -> None:
    watcher = BootWatcher("docker-data", "/mnt/docker-data")
    notes = {
        TAB: watcher.tab_typed,
        PASSPHRASE: watcher.passphrase_typed,
        EMPTY: watcher.empty_answer_typed,
        LOST: watcher.connection_lost,
    }
    for happening in happenings:
        if isinstance(happening, bytes):
            watcher.feed(happening)
        else:
            notes[happening]()
    assert watcher.open_question is question


def test_each_has_an_example() -> None:
    assert {question for question, _ in EXAMPLES} == set(OpenQuestion)
