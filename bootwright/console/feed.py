"""A console in use: output is masked, recorded and followed; what is typed is recorded."""

import codecs
import re
from collections.abc import Callable

from bootwright.console.boot import BootWatcher, State
from bootwright.console.ports import ConnectionBack, ConnectionLost, ConsoleLine, Recorder
from bootwright.console.redact import Redactor
from bootwright.core.report import Reporter
from bootwright.core.run_log import event
from bootwright.core.secret import MASK, Secret
from bootwright.core.text import sanitize_line

IDLE_S = 0.3
"""Seconds without a byte after which an unfinished line is recorded."""

ECHO_S = 5.0
"""The same, while an echo of what was typed may still be on its way."""

PROGRESS_S = 10.0
"""Seconds between messages about how far the boot is; there is none if nothing has changed."""


_NOT_TEXT = re.compile(r"[\x00-\x06\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\ufffd]")
"""Characters that no text has: all control characters but those of a terminal's output."""


class ConsoleFeed:
    """All that a session reads from its console and types there goes through here.

    The redactor masks secrets in what the recorder gets. The watcher gets the output unmasked:
    a mask might cover a word of the boot's reports. So once a secret was typed, no message
    quotes the board's output.

    Args:
        console: the board's console.
        watcher: follows the boot.
        recorder: writes the transcript.
        reporter: gets a message about a lost connection, and about progress.
        clock: returns seconds from some start.

    Attributes:
        losses: how many times the connection was lost.
        lost: why it was lost last; empty if it was not.
        received: how many bytes have come.
        last_byte: when the last one came; before the first, when the feed was made.
        secret_typed: a secret was typed, so the output may repeat it.
    """

    def __init__(
        self,
        console: ConsoleLine,
        watcher: BootWatcher,
        recorder: Recorder,
        reporter: Reporter,
        clock: Callable[[], float],
    ) -> None:
        self._console = console
        self._watcher = watcher
        self._recorder = recorder
        self._reporter = reporter
        self._clock = clock
        self._progress = ""
        self._redactor = Redactor()
        self.secret_typed = False
        self._reported_at = self._begin = self.last_byte = clock()
        self.losses = 0
        self.received = 0
        self.lost = ""
        # Since the last loss nothing has come, and nothing could be typed.
        self._away = False
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._characters = self._unreadable = 0

    def history(self, restarted_after: int | None = None) -> list[State]:
        """Take what was printed before now; return the states entered.

        Args:
            restarted_after: how many bytes of it were printed before a restart was ordered;
                ``None`` if none was.
        """
        printed = self._console.history()
        if restarted_after is None:
            return self._take(printed)
        self._take(printed[:restarted_after])
        self._watcher.expect_restart()
        return self._take(printed[restarted_after:])

    def read(self, *, report_progress: bool = True) -> list[State]:
        """Take what has come; return the states entered, in order.

        Args:
            report_progress: tell the operator now and then how far the boot is.
        """
        try:
            data = self._console.read()
        except ConnectionLost as lost:
            self._note_loss(str(lost))
            return []
        except ConnectionBack:
            # Silence counts from now on: nobody listened before.
            self.last_byte = self._clock()
            return []
        now = self._clock()
        if report_progress:
            self._report_progress(now)
        if data:
            self.last_byte, self._away = now, False
            return self._take(data)
        if now - self.last_byte >= (ECHO_S if self._redactor.expects_echo else IDLE_S):
            self.end()
        return []

    @property
    def readable(self) -> bool:
        """Whether most of what came is text.

        At the wrong speed, more than half of the characters are none: bytes that are not UTF-8,
        zeros and other control characters.
        """
        return self._unreadable * 4 <= self._characters

    def quiet(self) -> float:
        """Return the seconds since the last byte came."""
        return self._clock() - self.last_byte

    def type(self, data: bytes) -> bool:
        """Type ``data``; return whether it was certainly sent."""
        sent = self._write(data)
        if sent:
            self._recorder.typed(data)
        return sent

    def type_secret(self, before: bytes, secret: Secret, after: bytes) -> bool:
        """Type a secret with keys around it, in one write; return whether it was certainly sent."""
        self.end()
        self._redactor.arm(secret)
        self.secret_typed = True
        self._recorder.typed(before + MASK.encode() + after)
        event("serial", "secret typed")
        return self._write(before + secret.reveal() + after)

    def _write(self, data: bytes) -> bool:
        try:
            self._console.write(data)
        except ConnectionLost as lost:
            self._note_loss(str(lost))
            return False
        self._away = False
        return True

    def _take(self, data: bytes) -> list[State]:
        self.received += len(data)
        text = self._decoder.decode(data)
        self._characters += len(text)
        self._unreadable += len(_NOT_TEXT.findall(text))
        self._record(self._redactor.feed(data))
        states = self._watcher.feed(data)
        for state in states:
            event("serial", "state", state=state.value, received=self.received)
        return states

    def _record(self, data: bytes) -> None:
        if data:
            self._recorder.printed(data)

    def end(self) -> None:
        """Record what the redactor has held back."""
        self._record(self._redactor.flush())

    def _note_loss(self, why: str) -> None:
        self.end()
        self.losses += 1
        self._watcher.connection_lost()
        if why != self.lost or not self._away:
            self._recorder.remark(why)
        if why != self.lost:
            self._reporter.warn(why)
        self.lost, self._away = why, True
        # The seconds of silence, after which something is typed, are counted from now on.
        self.last_byte = self._clock()

    def _report_progress(self, now: float) -> None:
        if now - self._reported_at >= PROGRESS_S:
            self._reported_at = now
            watcher = self._watcher
            line = watcher.waiting_line or watcher.last_line or "nothing on the console yet"
            if self.secret_typed:
                line = f"the boot is {self._watcher.state.value}"
            if line != self._progress:
                self._progress = line
                self._reporter.note(f"{now - self._begin:.0f} s: {sanitize_line(line)}")
