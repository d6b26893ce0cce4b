"""What a transcript of interactive work holds: everything but what was typed in secret."""

import re

import pytest

from bootwright.console.session_recorder import SessionRecorder
from tests.support.tape import Tape

PROMPT = b"Please enter passphrase for disk docker-data: (press TAB for no echo) "
STATUS = b"\r\n[  OK  ] Started something.\r\n"


def work() -> tuple[Tape, SessionRecorder]:
    tape = Tape()
    return tape, SessionRecorder(tape, "docker-data", "/mnt/docker-data")


def test_what_is_typed_in_the_open_is_written_down() -> None:
    tape, scribe = work()
    scribe.printed(b"board login: ")
    scribe.typed(b"root\r")
    scribe.printed(b"root\r\n")
    assert tape.all == b"board login: <r><o><o><t><\r>root\r\n"


@pytest.mark.parametrize(
    "asks",
    [
        PROMPT,
        PROMPT + STATUS,
        b"board login: root\r\nPassword: ",
        b"[sudo] password for alarm: ",
        b"Enter passphrase for /dev/mmcblk0p2: ",
        b"Give root password for maintenance\r\n(or press Control-D to continue): ",
        b"Enter PIN: ",
        b"Passwort: ",
        b"Mot de passe : ",
        b"Verification code: ",
        b"Enter PEM pass phrase: ",
        b"wpa psk: ",
        b"Token? ",
    ],
)
def test_what_is_typed_in_secret_is_not(asks: bytes) -> None:
    tape, scribe = work()
    scribe.printed(asks)
    scribe.printed(b"[   47.067120] EXT4-fs: mounted\r\n")
    asks += b"[   47.067120] EXT4-fs: mounted\r\n"
    for byte in b"hunxx\x7f\x7fter2":
        scribe.typed(bytes([byte]))
        scribe.printed(b"*")
    scribe.typed(b"\r")
    scribe.printed(b"\r\nnext: ")
    scribe.typed(b"y")
    scribe.printed(b"y")
    scribe.end()
    assert tape.all == asks + b"<***\r>" + b"*" * 11 + b"\r\n<y>next: y"


def test_an_echo_is_masked_too() -> None:
    tape, scribe = work()
    scribe.printed(PROMPT)
    for byte in b"hunter2":
        scribe.typed(bytes([byte]))
        scribe.printed(bytes([byte]))
    scribe.typed(b"\r")
    scribe.printed(b"\r\nhun[   47.067120] EXT4-fs: mounted\r\nter2\r\n")
    scribe.idle()
    assert b"hunter2" not in tape.all and b"ter2" not in tape.all
    assert tape.all.startswith(PROMPT + b"<***\r>***\r\n")


def test_leaving_in_the_middle() -> None:
    tape, scribe = work()
    scribe.printed(PROMPT)
    scribe.typed(b"hunt")
    scribe.printed(b"hunt")
    scribe.end()
    assert tape.all == PROMPT + b"<***>***"


@pytest.mark.parametrize("noise", [b"", b"[   47.067120] usb 1-1: new device\r\n", b"*****"])
def test_what_the_board_does_not_echo_is_masked_whatever_it_asks(noise: bytes) -> None:
    tape, scribe = work()
    scribe.printed(b"Geheimnis> ")
    for byte in b"hunter2":
        scribe.typed(bytes([byte]))
    scribe.printed(noise)
    scribe.typed(b"\r")
    scribe.printed(b"\r\n")
    scribe.typed(b"ls")
    scribe.printed(b"ls")
    scribe.end()
    assert tape.all == b"Geheimnis> " + noise + b"<***\r>\r\n<l><s>ls"


def test_a_secret_that_was_not_echoed_is_masked_in_later_output() -> None:
    tape, scribe = work()
    scribe.printed(b"> ")
    scribe.typed(b"hunter2\r")
    scribe.printed(b"\r\nyou typed hunter2\r\n")
    scribe.end()
    assert b"hunter2" not in tape.all


def test_editing_at_a_shell_is_written_down() -> None:
    tape, scribe = work()
    for keys, echo in (
        (b"l", b"l"),
        (b"x", b"x"),
        (b"\x7f", b"\b \b"),
        (b"s\t", b"s "),
        (b"\x1b[A", b"\r$ reboot"),
        (b"\x1bOD", b"\b"),
        (b"\r", b"\r\n"),
        (b"pwd\r", b"pwd\r\n/root\r\n"),
    ):
        scribe.typed(keys)
        scribe.printed(echo)
    typed = b"".join(re.findall(rb"<(.)>", tape.all, re.DOTALL))
    assert typed == b"lx\x7fs\t\x1b[A\x1bOD\rpwd\r"


def test_what_was_typed_ahead_is_masked_because_its_echo_comes_too_late() -> None:
    tape, scribe = work()
    scribe.typed(b"one\rtwo\r")
    scribe.printed(b"two\r\n")
    assert tape.all == b"<***\r><t><w><o><\r>two\r\n"
