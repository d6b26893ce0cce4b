"""The operator's terminal, joined to a board's console: ``inv console``."""

import contextlib
import os
import select
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

from bootwright.console.harmless import HarmlessFilter
from bootwright.console.line import LineCut, NoRecorder, Recorder
from bootwright.console.scribe import Scribe
from bootwright.effects.console import SelectableConsole, open_console
from bootwright.effects.transcript_file import TranscriptFile
from bootwright.endpoints import Endpoint
from bootwright.errors import InputError
from bootwright.report import Reporter

LEAVE = b"\x1d"
"""Ctrl-], as with telnet."""

POLL_S = 0.1
"""Seconds between looks at a line that cannot be waited for."""

HISTORY = 4096
"""Bytes of what was printed before that are shown."""

_RESTORE = "\x1b[0m\x1b[?25h\n"


def work_at_console(endpoint: Endpoint, transcript: str | None, reporter: Reporter) -> None:
    """Join the terminal to the console of ``endpoint`` until Ctrl-] is typed.

    Args:
        endpoint: the board; its serial line is used.
        transcript: a new file for what goes over the console; passwords are masked.
        reporter: where to tell of a line that is cut and back.

    Raises:
        InputError: there is no terminal, or the target has no serial line.
        RefusedError: another program uses the console.
        FailedError: the serial line cannot be opened.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InputError("inv console needs a terminal; for scripts there is inv unlock")
    with contextlib.ExitStack() as stack:
        console = stack.enter_context(open_console(endpoint, "inv console", reporter))
        recorder: Recorder = NoRecorder()
        if transcript is not None:
            title = f"{endpoint.name}: inv console"
            recorder = stack.enter_context(TranscriptFile(Path(transcript), title))
        scribe = Scribe(recorder, endpoint.volume, endpoint.mount)
        stack.callback(scribe.end)
        reporter.note(f"{endpoint.serial_url}: connected; leave with Ctrl-]")
        with _every_key():
            _join(console, scribe, recorder, reporter)


def _join(
    console: SelectableConsole, scribe: Scribe, recorder: Recorder, reporter: Reporter
) -> None:
    harmless = HarmlessFilter()

    def show(data: bytes) -> None:
        sys.stdout.write(harmless.feed(data))
        sys.stdout.flush()

    # From the beginning of a line on.
    show(console.history()[-HISTORY:].partition(b"\n")[2])
    while True:
        line = console.fileno()
        watched = [sys.stdin.fileno(), *([line] if line >= 0 else [])]
        ready = select.select(watched, [], [], POLL_S)[0]
        try:
            if sys.stdin.fileno() in ready:
                keys = os.read(sys.stdin.fileno(), 1024)
                keys, left, _ = keys.partition(LEAVE)
                scribe.typed(keys)
                console.write(keys)
                if left or not keys:
                    return
            if line < 0 or line in ready or not ready:
                data = console.read()
                scribe.printed(data)
                show(data)
                if not data:
                    scribe.idle()
        except LineCut as cut:
            recorder.remark(str(cut))
            reporter.warn(str(cut))


@contextlib.contextmanager
def _every_key() -> Iterator[None]:
    """Have the terminal pass on each key as it is typed, Ctrl-C among them."""
    before = termios.tcgetattr(sys.stdin)
    raw = termios.tcgetattr(sys.stdin)
    raw[0] &= ~(termios.ICRNL | termios.INLCR | termios.IGNCR | termios.IXON | termios.ISTRIP)
    raw[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG | termios.IEXTEN)
    raw[6][termios.VMIN], raw[6][termios.VTIME] = 1, 0
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, raw)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        sys.stdout.write(_RESTORE)
        sys.stdout.flush()
