"""unlock() over a real line: a scripted board behind a socket or a pseudo-terminal."""

import io
import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bootwright.console.io.pending_prompt import recall
from bootwright.console.transcript import read_transcript
from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import InputError, RefusedError
from bootwright.core.report import TextReporter
from bootwright.core.secret import Secret
from bootwright.volume.unlock import UnlockOptions, unlock
from bootwright.volume.unlock_result import Result
from tests.support.bench import INV, Bench
from tests.support.runlogs import assert_hidden, records
from tests.support.serial_boards import (
    HIDDEN,
    OLD_PROMPT,
    OPENED,
    PROMPT,
    SECRET,
    TYPED,
    Line,
    Script,
    good_board,
    old_board,
    run,
    running,
    socket_board,
)

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def own_build_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the consoles' locks are."""
    monkeypatch.setenv("BOOTWRIGHT_BUILD", str(tmp_path / "build"))


def test_a_prompt_sent_at_once_is_not_lost() -> None:
    with socket_board(good_board) as endpoint:
        assert run(endpoint).result is Result.UNLOCKED


def test_a_prompt_byte_by_byte() -> None:
    def script(line: Line) -> None:
        for byte in b"\x1b[0;1;39m" + OLD_PROMPT + b"\x1b[0m":
            line.send(bytes([byte]))
        line.expect(b"\t")
        line.send(b"(no echo) ")
        line.expect(SECRET + b"\n")
        for byte in OPENED:
            line.send(bytes([byte]))

    with socket_board(script) as endpoint:
        result = run(endpoint)
    assert (result.result, result.prompts_seen) == (Result.UNLOCKED, 1)


def test_an_interrupted_prompt() -> None:
    def script(line: Line) -> None:
        line.send(b"Please en[   47.067120] EXT4-fs (sda1): mounted\r\n" + OLD_PROMPT[9:])
        line.expect(b"\t")
        line.send(b"(no e[  OK  ] Started x.\r\ncho) ")
        line.expect(SECRET + b"\n")
        line.send(OPENED)

    with socket_board(script) as endpoint:
        assert run(endpoint).result is Result.UNLOCKED


def test_a_wrong_passphrase() -> None:
    with socket_board(good_board) as endpoint:
        result = run(endpoint, b"wrong")
    assert (result.result, result.attempts) == (Result.WRONG_PASSPHRASE, 1)


def test_wrong_then_right_in_two_runs_on_a_line_without_a_past() -> None:
    def first(line: Line) -> None:
        line.send(PROMPT)
        line.expect(b"\t")
        line.send(HIDDEN)
        line.expect(b"\n")
        line.send(b"\r\n" + PROMPT)

    def second(line: Line) -> None:
        line.expect(b"\t")
        line.send(HIDDEN)
        line.expect(b"\n")
        line.send(OPENED if line.got == TYPED else b"\r\nAnother question")

    with replugged_board(first, second) as endpoint:
        assert run(endpoint, b"wrong").result is Result.WRONG_PASSPHRASE
        assert run(endpoint).result is Result.UNLOCKED
    assert recall("board") is None


def test_another_disks_prompt() -> None:
    def script(line: Line) -> None:
        line.send(PROMPT.replace(b"docker-data on", b"swap on"))
        with pytest.raises(AssertionError):
            line.expect(b"anything")
        assert line.got == b""

    with socket_board(script) as endpoint:
        assert run(endpoint, timeout=1.5).result is Result.NO_PROMPT


def test_silence_until_the_timeout() -> None:
    def script(line: Line) -> None:
        with pytest.raises(AssertionError):
            line.expect(b"anything")

    with socket_board(script) as endpoint:
        assert run(endpoint, timeout=0.5).result is Result.NO_PROMPT


def test_a_line_that_is_lost_and_stays_away() -> None:
    with socket_board(old_board) as endpoint:
        result = run(endpoint, timeout=2)
    assert result.result is Result.FAILED
    assert "did not report the volume open" in result.detail


def test_success_counts_if_the_line_is_lost_right_after() -> None:
    def script(line: Line) -> None:
        old_board(line)
        line.send(OPENED)

    for _ in range(5):
        with socket_board(script) as endpoint:
            assert run(endpoint).result is Result.UNLOCKED


@contextmanager
def replugged_board(*scripts: Script) -> Iterator[Endpoint]:
    """A server that hangs up after each script and takes the client again."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for script in scripts:
                connection, _ = server.accept()
                with connection:
                    script(Line(connection.fileno()))

        with running(serve):
            port = server.getsockname()[1]
            yield Endpoint("board", serial_url=f"socket://127.0.0.1:{port}")


def test_a_line_that_is_cut_and_comes_back(tmp_path: Path) -> None:
    def first(line: Line) -> None:
        line.send(b"Linux\r\nPlease enter pass")

    def second(line: Line) -> None:
        line.send(PROMPT[:30])
        line.send(PROMPT[30:])

    def third(line: Line) -> None:
        # The prompt still waits: it is not printed again, but it answers.
        line.expect(b"\t")
        line.send(HIDDEN)
        line.expect(SECRET + b"\n")
        line.send(OPENED)
        with pytest.raises(AssertionError, match="closed"):
            line.expect(b"anything")

    transcript = tmp_path / "unlock.cast"
    with replugged_board(first, second, third) as endpoint:
        log = io.StringIO()
        options = UnlockOptions(timeout=30, transcript=transcript)
        result = unlock(endpoint, Secret(SECRET), TextReporter(log), options)
    assert (result.result, result.attempts) == (Result.UNLOCKED, 1)
    assert log.getvalue().count("the serial line was lost") == 2
    assert log.getvalue().count("the serial line is back") == 2
    events = list(read_transcript(transcript.read_text(), "x"))
    assert [event.kind for event in events].count("m") == 2
    assert stat.S_IMODE(transcript.stat().st_mode) == 0o600
    with pytest.raises(InputError, match="exists already"), replugged_board() as endpoint:
        unlock(endpoint, Secret(SECRET), TextReporter(log), options)


def test_a_transcript_is_the_console_as_it_was_without_the_passphrase(tmp_path: Path) -> None:
    noise = b"\x1b]0;title\x07\xff\xfe \xf0\x9f\x94"

    def script(line: Line) -> None:
        line.send(noise + b"\x90 " + PROMPT)
        line.expect(b"\t")
        line.send(HIDDEN)
        line.expect(b"\n")
        line.send(SECRET[:5] + b"[   47.067120] EXT4-fs (sda1): mounted\r\n" + SECRET[5:])
        line.send(OPENED)

    path = tmp_path / "unlock.cast"
    with socket_board(script) as endpoint:
        options = UnlockOptions(timeout=30, transcript=path)
        unlock(endpoint, Secret(SECRET), TextReporter(io.StringIO()), options).check()
    text = path.read_text()
    assert text.isascii() and not set(text) & set(map(chr, range(32))) - {"\n"}
    events = list(read_transcript(text, "x"))
    printed = b"".join(event.data for event in events if event.kind == "o")
    assert printed == noise + b"\x90 " + PROMPT + HIDDEN + b"***\r\n***" + OPENED
    assert [event.data for event in events if event.kind == "i"] == [b"\t", b"\x15***\n"]
    assert [event.at for event in events] == sorted(event.at for event in events)


def test_a_logged_console(tmp_path: Path) -> None:
    """The log has all, the socket repeats a part of it: the prompt counts once."""
    path = tmp_path / "console.log"
    with path.open("wb", buffering=0) as log:
        log.write(b"Linux\r\n" + PROMPT[:30])

        def script(line: Line) -> None:
            def say(data: bytes) -> None:
                # In this order: the run ends, and hangs up, when the log reports the volume open.
                line.send(data)
                log.write(data)

            say(PROMPT[30:])
            line.expect(b"\t")
            say(HIDDEN)
            line.expect(b"\n")
            # More than the sockets buffer: it must be read, or the board stands still.
            for _ in range(20):
                say(b"[  OK  ] Started something.\r\n" * 1000)
            say(OPENED)

        with socket_board(script) as board:
            endpoint = Endpoint("emulator", serial_url=board.serial_url, console_history=path)
            result = run(endpoint, timeout=60)
    assert (result.result, result.prompts_seen, result.attempts) == (Result.UNLOCKED, 1, 1)


def test_a_console_has_one_user_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    path.touch()

    def script(line: Line) -> None:
        with pytest.raises(RefusedError, match=rf"process {os.getpid()} \(inv unlock\) is using"):
            run(endpoint)
        path.write_bytes(b"board login: ")
        with pytest.raises(AssertionError):
            line.expect(b"anything")

    with socket_board(script) as board:
        endpoint = Endpoint("emulator", serial_url=board.serial_url, console_history=path)
        assert run(endpoint).result is Result.ALREADY_UNLOCKED


def test_a_board_that_does_not_ask_at_boot_is_not_called_open() -> None:
    """Its login prompt says nothing of the volume."""
    endpoint = Endpoint("bench", serial_url="socket://127.0.0.1:9", unlock="ssh")
    with pytest.raises(InputError, match="no host for it"):
        run(endpoint)
    with pytest.raises(InputError, match="does not ask for the passphrase at boot"):
        unlock(endpoint, Secret(SECRET), TextReporter(), UnlockOptions(via="serial"))


def test_the_log_of_a_run_has_states_but_nothing_of_the_passphrase(tmp_path: Path) -> None:
    """The passphrase comes from a command, and the board repeats it."""

    def script(line: Line) -> None:
        line.send(b"Linux\r\n" + OLD_PROMPT)
        line.expect(b"\t")
        line.send(b"(no echo) ")
        line.expect(SECRET + b"\n")
        line.send(SECRET + b"\r\n" + OPENED)

    bench = Bench(tmp_path)
    (tmp_path / "word").write_bytes(SECRET + b"\n")
    bench.own_checkout(
        "[targets.box]\n"
        'board = "odroid-xu3"\nrootfs = "debian"\n'
        f'passphrase_command = ["sh", "-c", "cat {tmp_path}/word; cat {tmp_path}/word >&2"]\n'
    )
    with socket_board(script) as endpoint:
        done = subprocess.run(
            [
                INV,
                "unlock",
                "box",
                "--via",
                "serial",
                "--port",
                str(endpoint.serial_url),
                "--debug",
            ],
            cwd=bench.checkout,
            env=bench.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert SECRET.decode() not in done.stdout + done.stderr
    assert_hidden(tmp_path / "build", SECRET.decode())
    found = records(tmp_path / "build")
    command = next(one for one in found if one.get("what") == "sh" and one["event"] == "end")
    assert (command["status"], command["stdout"], command["stderr"]) == (0, "***", "***")
    serial = [one for one in found if one["gateway"] == "serial"]
    states = [one["state"] for one in serial if one["event"] == "state"]
    assert states[-2:] == ["unlocking", "unlocked"] or states[-1] == "unlocked", states
    assert [one["event"] for one in serial][-1] == "close"
    assert serial[-1]["read"] > 100
