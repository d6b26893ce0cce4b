"""The operator's terminal, connected to a board's console: ``inv console``."""

import contextlib
import io
import os
import select
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

from bootwright.console.io.console import SelectableConsole, open_console
from bootwright.console.io.transcript_file import TranscriptFile
from bootwright.console.ports import ConnectionBack, ConnectionLost, NoRecorder, Recorder
from bootwright.console.session_recorder import SessionRecorder
from bootwright.console.terminal_filter import TerminalFilter
from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import InputError
from bootwright.core.io.signals import exit_on_signal, without_signals
from bootwright.core.report import Reporter

LEAVE = b"\x1d"
"""Ctrl-], as with telnet."""

POLL_S = 0.1
"""Seconds between reads of a line that ``select`` cannot wait for."""

HISTORY = 4096
"""How many bytes of the console's log are shown at the start."""

_RESTORE = "\x1b[?1049l\x1b[?2004l\x1b[?1l\x1b[?7h\x1b[r\x1b(B\x1b>\x1b[0m\x1b[?25h\n"
"""Resets what a board's editor or menu may have changed: alternate screen, bracketed paste, keys,
line wrapping, scroll region, character set, colours, and the hidden cursor."""


def work_at_console(endpoint: Endpoint, transcript: str | None, reporter: Reporter) -> None:
    """Connect the terminal to the console of ``endpoint`` until Ctrl-] is typed.

    Args:
        endpoint: the board; its serial line is used.
        transcript: a new file for what goes over the console; passwords are masked.
        reporter: gets a message when the serial line is lost, and when it is back.

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
            recorder = stack.enter_context(
                TranscriptFile(Path(transcript), title, warn=reporter.warn)
            )
        session = SessionRecorder(recorder, endpoint.volume, endpoint.mount)
        stack.callback(session.end)
        reporter.note(f"{endpoint.serial_url}: connected; leave with Ctrl-]")
        with _every_key():
            _connect(console, session, recorder, reporter)


def _connect(
    console: SelectableConsole, session: SessionRecorder, recorder: Recorder, reporter: Reporter
) -> None:
    terminal_filter = TerminalFilter()
    loss_reported = False
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal whose encoding is not UTF-8 cannot show every character.
        sys.stdout.reconfigure(errors="replace")

    def show(data: bytes) -> None:
        sys.stdout.write(terminal_filter.feed(data))
        sys.stdout.flush()

    # The first of these lines may be incomplete.
    show(console.history()[-HISTORY:].partition(b"\n")[2])
    while True:
        line, leave = console.fileno(), False
        loss_reported = loss_reported and line < 0
        watched = [sys.stdin.fileno(), *([line] if line >= 0 else [])]
        ready = select.select(watched, [], [], POLL_S)[0]
        try:
            if sys.stdin.fileno() in ready:
                keys = os.read(sys.stdin.fileno(), 1024)
                keys, leave_key, _ = keys.partition(LEAVE)
                leave = bool(leave_key or not keys)
                if keys:
                    session.typed(keys)
                    console.write(keys)
            if not leave and (line < 0 or line in ready or not ready):
                data = console.read()
                session.printed(data)
                show(data)
                if not data:
                    session.idle()
        except ConnectionBack:
            loss_reported = False
        except ConnectionLost as lost:
            if not loss_reported:  # Each key that is typed meanwhile raises it again.
                recorder.remark(str(lost))
                reporter.warn(str(lost))
            loss_reported = line < 0
        if leave:
            return


@contextlib.contextmanager
def _every_key() -> Iterator[None]:
    """Have the terminal pass on each key as it is typed, also Ctrl-C.

    Its settings are restored in every case, also after SIGTERM and SIGHUP.
    """
    before = termios.tcgetattr(sys.stdin)
    raw = termios.tcgetattr(sys.stdin)
    raw[0] &= ~(termios.ICRNL | termios.INLCR | termios.IGNCR | termios.IXON | termios.ISTRIP)
    raw[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG | termios.IEXTEN)
    raw[6][termios.VMIN], raw[6][termios.VTIME] = 1, 0
    with exit_on_signal():
        try:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, raw)
            yield
        finally:
            with without_signals(), contextlib.suppress(OSError, termios.error):
                # After SIGHUP there is no terminal.
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
                sys.stdout.write(_RESTORE)
                sys.stdout.flush()
