"""Transcripts: reading hostile ones, writing to a full disk; the terminal they are made at."""

import io
import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from bootwright.console.io import terminal
from bootwright.console.io.transcript_file import TranscriptFile
from bootwright.console.ports import ConnectionLost, NoRecorder
from bootwright.console.session_recorder import SessionRecorder
from bootwright.console.transcript import header_line, read_transcript
from bootwright.core.errors import InputError
from bootwright.core.report import TextReporter

FULL = Path("/dev/full")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[" * 100_000, "line 2: JSON that is nested too deeply"),
        (f'[{"9" * 400}, "o", "x"]', "line 2: the number of seconds is too large"),
    ],
)
def test_a_hostile_transcript(line: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(read_transcript(header_line("t", 0) + line, "file"))


def full_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open
    monkeypatch.setattr(os, "open", lambda _path, *_: real(FULL, os.O_WRONLY))


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")
def test_a_full_disk_ends_the_transcript_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, warnings = tmp_path / "t.cast", list[str]()
    with monkeypatch.context() as patch:
        full_disk(path, patch)
        one = TranscriptFile(path, "t", warn=warnings.append)
        other = TranscriptFile(path, "t")
    with one, other:
        for recorder in (one, other):
            recorder.printed(b"x" * 20_000)
            recorder.typed(b"y\n")
            recorder.remark("z")
    (warning,) = warnings
    assert warning == f"{path}: No space left on device; the transcript ends here"
    assert capsys.readouterr().err == f"warning: {warning}\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_put_back_when_the_program_is_ended(number: signal.Signals) -> None:
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    program = (
        "import time\nfrom bootwright.console.io.terminal import _every_key\n"
        "with _every_key():\n    print('on', flush=True)\n    time.sleep(60)\n"
    )
    running = subprocess.Popen([sys.executable, "-c", program], stdin=theirs, stdout=theirs)
    try:
        shown = b""
        while b"on" not in shown:
            shown += os.read(ours, 100)
        assert termios.tcgetattr(theirs) != before
        running.send_signal(number)
        assert running.wait(30) == 128 + number
        assert os.read(ours, 1000).strip() == terminal._RESTORE.strip().encode()
        assert termios.tcgetattr(theirs) == before
    finally:
        running.kill()
        running.wait()
        os.close(ours)
        os.close(theirs)


class Away:
    """A console whose line is away, as the one that opens it again tells."""

    def history(self) -> bytes:
        return "\u00e9\n\u00e9\n".encode()

    def read(self) -> bytes:
        return b""

    def write(self, data: bytes) -> None:
        raise ConnectionLost("the line is still away")

    def fileno(self) -> int:
        return -1


def test_a_paste_into_a_line_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    keys, typing = os.pipe()
    os.write(typing, b"x" * 5000 + terminal.LEAVE)
    told, shown = io.StringIO(), io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with os.fdopen(keys) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "stdout", shown)
        scribe = SessionRecorder(NoRecorder(), "docker-data", "/mnt/docker-data")
        terminal._connect(Away(), scribe, NoRecorder(), TextReporter(told))
    os.close(typing)
    assert told.getvalue().count("the line is still away") == 1
    # A terminal that cannot show it gets something else.
    shown.seek(0)
    assert shown.read() == "?\n"
