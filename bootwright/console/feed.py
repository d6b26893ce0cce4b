"""A console at work: what comes is masked, recorded and followed; what is typed is recorded."""

from collections.abc import Callable

from bootwright.console.boot import BootWatcher, State
from bootwright.console.ports import ConnectionLost, ConsoleLine, Recorder
from bootwright.console.redact import Redactor
from bootwright.core.report import Reporter
from bootwright.core.secret import MASK, Secret
from bootwright.core.text import sanitize_line

IDLE_S = 0.3
"""Seconds without a byte after which an unfinished line is written down."""

ECHO_S = 5.0
"""The same, while an echo of what was typed may still be on its way."""

PROGRESS_S = 10.0
"""Seconds between lines that tell how far the boot is."""


class ConsoleFeed:
    """The one way between a session and its console.

    What the board prints reaches the recorder through the redactor. The watcher sees it as
    it is, for a masked word would hide the boot's reports; no message quotes a line of the
    board once a secret was typed.

    Args:
        console: the board's console.
        watcher: follows the boot.
        recorder: writes the transcript.
        reporter: where to tell of cuts and progress.
        clock: seconds from some start.

    Attributes:
        cuts: how many times the line was cut.
        received: bytes that have come.
        last_byte: when the last one came; at first, when the feed was made.
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
        self._redactor = Redactor()
        self._secret_typed = False
        self._shown_at = self._begin = self.last_byte = clock()
        self.cuts = 0
        self.received = 0
        self._unreadable = 0

    def history(self) -> list[State]:
        """Take what was printed before now; return the states entered."""
        return self._take(self._console.history())

    def read(self) -> list[State]:
        """Take what has come; return the states entered, in order."""
        try:
            data = self._console.read()
        except ConnectionLost as cut:
            self._cut(str(cut))
            return []
        now = self._clock()
        self._show_progress(now)
        if data:
            self.last_byte = now
            return self._take(data)
        if now - self.last_byte >= (ECHO_S if self._redactor.watchful else IDLE_S):
            self.end()
        return []

    @property
    def readable(self) -> bool:
        """Whether most of what came is plain text, as it is not at the wrong speed."""
        return self._unreadable * 4 <= self.received

    def quiet(self) -> float:
        """Return the seconds since the last byte came."""
        return self._clock() - self.last_byte

    def type(self, data: bytes) -> bool:
        """Type ``data``; return whether it went out for certain."""
        self._recorder.typed(data)
        return self._write(data)

    def type_secret(self, before: bytes, secret: Secret, after: bytes) -> bool:
        """Type a secret at once with keys around it; return whether it went out for certain."""
        self.end()
        self._redactor.arm(secret)
        self._secret_typed = True
        self._recorder.typed(before + MASK.encode() + after)
        return self._write(before + secret.reveal() + after)

    def _write(self, data: bytes) -> bool:
        try:
            self._console.write(data)
        except ConnectionLost as cut:
            self._cut(str(cut))
            return False
        return True

    def _take(self, data: bytes) -> list[State]:
        self.received += len(data)
        self._unreadable += sum(byte >= 0x80 for byte in data)
        self._record(self._redactor.feed(data))
        return self._watcher.feed(data)

    def _record(self, data: bytes) -> None:
        if data:
            self._recorder.printed(data)

    def end(self) -> None:
        """Write down what was held back."""
        self._record(self._redactor.flush())

    def _cut(self, why: str) -> None:
        self.end()
        self.cuts += 1
        self._watcher.cut()
        self._recorder.remark(why)
        self._reporter.warn(why)
        # The wait for a sign of life begins anew.
        self.last_byte = self._clock()

    def _show_progress(self, now: float) -> None:
        if now - self._shown_at >= PROGRESS_S:
            self._shown_at = now
            line = self._watcher.last_line or "nothing on the console yet"
            if self._secret_typed:
                line = f"the boot is {self._watcher.state.value}"
            self._reporter.note(f"{now - self._begin:.0f} s: {sanitize_line(line)}")
