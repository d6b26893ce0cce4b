"""Where a passphrase comes from: a file, standard input, the operator's own command."""

import io
import os
import pty
import sys
from pathlib import Path

import pytest

from bootwright.core.config import Target
from bootwright.core.errors import FailedError, InputError
from bootwright.core.io import secret_input
from bootwright.core.io.secret_input import read_passphrase
from bootwright.core.secret import Secret


def read(target: Target, file: str | None = None) -> Secret:
    return read_passphrase(target, file, twice=False)


def target(*command: str) -> Target:
    return Target(
        name="odroid",
        board="odroid-xu3",
        rootfs="debian",
        hostname="odroid",
        passphrase_command=command,
    )


def test_a_command_has_the_environment_that_it_has_by_hand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PASSWORD_STORE_DIR", "/store")
    monkeypatch.setenv("LC_ALL", "C")
    command = target("sh", "-c", 'echo "$PASSWORD_STORE_DIR $LC_ALL"')
    assert read(command).reveal() == b"/store C"


def test_a_command_that_fails_is_quoted_without_its_output() -> None:
    script = "echo hunter2-hunter2; echo 'odroid is not in the password store' >&2"
    with pytest.raises(InputError) as raised:
        read(target("sh", "-c", f"{script}; echo it was hunter2-hunter2 >&2; exit 3"))
    assert str(raised.value) == (
        "passphrase_command of odroid ended with 3:"
        " odroid is not in the password store / it was ***"
    )
    with pytest.raises(InputError, match="ended with 1, and wrote no reason"):
        read(target("false"))


def test_without_a_terminal_a_command_that_asks_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret_input, "COMMAND_S", 0.5)
    monkeypatch.setattr(secret_input, "has_terminal", lambda: False)
    alive = tmp_path / "alive"
    os.mkfifo(alive)
    # The reader sees the end when the last process with the pipe open has ended.
    reader = os.open(alive, os.O_RDONLY | os.O_NONBLOCK)
    script = f"exec 3>{alive}; echo 'Enter PIN:' >&2; sleep 60 & sleep 60"
    with pytest.raises(FailedError) as raised:
        read(target("sh", "-c", script))
    assert str(raised.value) == (
        "passphrase_command of odroid: no end after 0 s, without a terminal on which it could ask."
        " It wrote: Enter PIN:"
    )
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_on_a_terminal_a_command_can_ask_and_takes_as_long_as_a_person(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(secret_input, "COMMAND_S", 0.0)
    child, terminal = pty.fork()
    if child == 0:
        code = 1
        try:
            command = "[ -t 2 ]; printf 'PIN? ' >&2; read pin; echo opened by $pin"
            ended = read(target("sh", "-ec", command))
            code = 0 if ended.reveal() == b"opened by 1234" else 2
        finally:
            os._exit(code)
    shown = b""
    while b"PIN? " not in shown:
        shown += os.read(terminal, 1000)
    os.write(terminal, b"1234\n")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(terminal)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xef\xbb\xbfsecret pass\r\n", "byte order mark"),
        ("secret pass".encode("utf-16"), "byte order mark"),
        (b"gr\xfc\xdfe\n", "not UTF-8"),
    ],
)
def test_a_file_that_another_program_saved(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "pass"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(InputError, match=why):
        read(target(), str(file))


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"correct horse\n")))
    assert read(target(), "-").reveal() == b"correct horse"
    with pytest.raises(InputError, match="only one option can read it"):
        read(target(), "-")
