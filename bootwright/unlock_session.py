"""One console, from power-on to the open volume: when to type what, and what came of it.

The rules, from how systemd asks (``ask_password_tty()`` in ``ask-password-api.c``, the same
from v208 to today):

* The prompt is printed first and the terminal's echo turned off after it. A TAB is answered
  by ``(no echo) ``, whether the prompt says so (v245+) or not: from then on nothing that is
  typed is shown, not even its length. This answer is waited for before the passphrase is
  typed; a text that only looks like a prompt does not give it.
* What is typed before the prompt is thrown away, so nothing is typed early.
* Ctrl-U clears what somebody else may have typed.
* A wrong passphrase is never followed by the same one: the board counts the tries.
* Only the boot's own report of the open volume is success.

Debian's initial RAM disk takes a TAB for a character: there the passphrase follows when the
console has been quiet for a moment.
"""

import time
from collections.abc import Callable, Iterator, Sequence

from bootwright.console.advice import CHECK, why_no_prompt
from bootwright.console.boot import BootWatcher, State
from bootwright.console.line import ConsoleLine, NoRecorder, Recorder
from bootwright.console.normalise import shown
from bootwright.console.tries import Tries
from bootwright.console_feed import ConsoleFeed
from bootwright.report import Reporter
from bootwright.secret import Secret
from bootwright.unlock_result import Result, UnlockResult

SETTLE_S = 0.1
"""Seconds from the prompt's last byte to the TAB. The echo goes off when the prompt has
drained; a TAB that comes before is shown, and answered all the same."""

SETTLE_NO_TAB_S = 0.5
"""Seconds from a prompt that knows no TAB to the passphrase."""

SETTLE_TORN_S = 2.0
"""The same, if something was printed after the prompt: a shell would have shown itself."""

ACKNOWLEDGE_S = 10.0
"""Seconds that a prompt may take to answer a TAB; an emulated board is slow."""

AFTERMATH_S = 5.0
"""Seconds from a failure to the maintenance shell that may follow it."""

WAKE_SILENT_S = 5.0
"""Seconds of silence from the start after which a TAB is tried: a prompt that was printed
before we came cannot be seen."""

WAKE_BOOTING_S = 15.0
"""The same, after something has come."""

HINT_S = 15.0
"""Seconds of silence from the start after which the operator is told what to check."""

THREE = Tries()
"""As systemd has it, and our cards' crypttab."""

TAB = b"\t"
CLEAR = b"\x15"  # Ctrl-U
ENTER = b"\n"


class UnlockSession:
    """Follows a console until the boot has decided, and answers each question once.

    Args:
        target: the target's name, for the result.
        watcher: follows the boot; new.
        console: the board's console.
        passphrase: what to type.
        timeout: seconds for the whole of a boot.
        reporter: where to tell what is done.
        recorder: writes the transcript.
        tries: how many passphrases the boot takes.
        another: asks for another passphrase after a wrong one; is told how many tries
            are left, in words.
        patient: wait for a prompt without end; the timeout begins with the answer.
        clock: seconds from some start.
    """

    def __init__(
        self,
        *,
        target: str,
        watcher: BootWatcher,
        console: ConsoleLine,
        passphrase: Secret,
        timeout: float,
        reporter: Reporter,
        recorder: Recorder | None = None,
        tries: Tries = THREE,
        another: Callable[[str], Secret | None] | None = None,
        patient: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._target = target
        self._watcher = watcher
        self._passphrase = passphrase
        self._timeout = timeout
        self._reporter = reporter
        self._tries = tries
        self._another = another
        self._patient = patient
        self._clock = clock
        self._feed = ConsoleFeed(console, watcher, recorder or NoRecorder(), reporter, clock)
        self._begin_boot()

    def _begin_boot(self) -> None:
        self._begin = self._clock()
        self._boots = self._watcher.boots
        self._to_prompt: float | None = None
        self._attempts = 0
        self._given_at: float | None = None
        self._number_given = 0
        self._unsure = ""
        self._asked_without_us = 0
        self._deaf = False
        self._settled: tuple[int, str] | None = None
        self._settled_at = self._begin
        self._woken_at = -1
        self._hinted = False

    def run(self) -> UnlockResult:
        """Return how it ended.

        Raises:
            FailedError: the console was lost for good.
        """
        return next(self.results())

    def results(self) -> Iterator[UnlockResult]:
        """Return how each boot ended, one after the other, without end."""
        self._reporter.note(f"watching the console of {self._target}")
        # An earlier boot's end is in the history too: only its last state counts.
        self._note_prompt(self._feed.history())
        self._boots = self._watcher.boots
        while True:
            yield self._one_boot()
            self._await_next_boot()
            self._begin_boot()

    def _one_boot(self) -> UnlockResult:
        states: Sequence[State] = ()
        while True:
            ended = self._judge(states)
            if ended is None:
                ended = self._act()
            if ended is None and self._overdue():
                ended = self._timed_out()
            if ended is not None:
                return ended
            states = self._read()

    def _await_next_boot(self) -> None:
        """Return when the board has started again, or shows a new question."""
        cuts = self._feed.cuts
        while self._watcher.boots == self._boots and self._feed.cuts == cuts:
            if State.PROMPT in self._read():
                return

    def _elapsed(self) -> float:
        return self._clock() - self._begin

    def _overdue(self) -> bool:
        if self._given_at is None and self._patient:
            return False
        since = self._begin if self._given_at is None or not self._patient else self._given_at
        return self._clock() - since > self._timeout

    def _read(self) -> list[State]:
        states = self._feed.read()
        self._note_prompt(states)
        return states

    def _note_prompt(self, states: Sequence[State]) -> None:
        if self._watcher.state in (State.PROMPT, State.REFUSED):
            # What comes after the question on its line may still belong to it.
            now = (self._watcher.prompts_seen, self._watcher.question_line)
            if now != self._settled:
                self._settled, self._settled_at = now, self._clock()
        if State.PROMPT in states:
            if self._to_prompt is None:
                self._to_prompt = self._elapsed()
            self._reporter.note(f"prompt: {shown(self._watcher.question)}")

    # What the boot has decided -----------------------------------------------------------

    def _judge(self, states: Sequence[State]) -> UnlockResult | None:
        """Return the result if the boot has decided; ``states`` are those just entered."""
        if self._watcher.boots != self._boots:
            self._restarted()
        if self._given_at is not None:
            for state in states:
                if ended := self._judge_answered(state):
                    return ended
            return None
        watcher = self._watcher
        if watcher.opened:
            return self._result(Result.ALREADY_UNLOCKED, watcher.reason)
        if watcher.login_seen:
            if not watcher.prompts_seen:
                return self._result(Result.ALREADY_UNLOCKED, watcher.reason)
            # Its reader and the prompt's would share what is typed, and show it.
            return self._result(
                Result.FAILED,
                "a login prompt has taken the console from the passphrase prompt; nothing was "
                "typed. Unlock over SSH, and drop `nofail` from crypttab",
            )
        return self._judge_failure(watcher.state)

    def _restarted(self) -> None:
        if self._given_at is not None or self._to_prompt is not None:
            self._reporter.warn("the board restarted; waiting for its prompt again")
        attempts = self._attempts
        begin = self._begin
        self._begin_boot()
        if not self._patient:
            self._attempts, self._begin = attempts, begin

    def _judge_answered(self, state: State) -> UnlockResult | None:
        if state is State.UNLOCKED:
            detail = "the boot reported the volume open"
            return self._result(Result.UNLOCKED, detail, to_unlocked=self._elapsed())
        if state is State.REFUSED:
            return self._refused()
        if state is State.LOGIN:
            return self._aftermath(
                "a login prompt came, but the boot did not report the volume open; look with "
                "`inv status`, and drop `quiet` from the kernel command line"
            )
        return self._judge_failure(state)

    def _refused(self) -> UnlockResult | None:
        if self._unsure:
            return self._result(Result.FAILED, f"{self._unsure}; the board asks again")
        left = self._tries.left(self._number_given)
        if self._another is not None and not self._tries.is_kept(self._number_given + 1):
            fresh = self._another(f"the passphrase is wrong; {left}")
            if fresh is not None:
                self._passphrase = fresh
                self._given_at = None
                return None
        return self._result(Result.WRONG_PASSPHRASE, f"the board refused the passphrase; {left}")

    def _number(self) -> int:
        """Return which of this boot's tries the question that waits is, counted from 1."""
        return self._watcher.prompts_seen + self._asked_without_us

    def _judge_failure(self, state: State) -> UnlockResult | None:
        if state is State.EMERGENCY:
            return self._result(
                Result.EMERGENCY,
                f"the boot ended in a maintenance shell ({shown(self._watcher.reason)}); "
                "after too many wrong passphrases, or a volume that does not open, only a "
                "restart helps: switch the board off and on, then run `inv unlock` again",
            )
        if state is State.FAILED:
            return self._aftermath(
                f"the boot reported: {shown(self._watcher.reason)}; look at the console"
            )
        return None

    def _aftermath(self, detail: str) -> UnlockResult:
        """Return the failure ``detail``, or what the next seconds make of it."""
        end = self._clock() + AFTERMATH_S
        states: Sequence[State] = (self._watcher.state,)
        while self._clock() < end:
            for state in states:
                if state is State.EMERGENCY:
                    return self._judge_failure(state) or self._timed_out()
                if state is State.UNLOCKED and self._given_at is not None:
                    return self._judge_answered(state) or self._timed_out()
            states = self._read()
        return self._result(Result.FAILED, detail)

    # What to type ------------------------------------------------------------------------

    def _act(self) -> UnlockResult | None:
        """Type what the moment asks for; return a result only if that must be left undone."""
        if self._given_at is None and self._watcher.pending:
            return self._answer() if self._settled_long_enough() else None
        if self._given_at is None:
            return self._wake()
        return None

    def _settled_long_enough(self) -> bool:
        if self._watcher.knows_tab:
            return self._clock() - self._settled_at >= SETTLE_S
        if self._watcher.at_question:
            return self._clock() - self._settled_at >= SETTLE_NO_TAB_S
        return self._feed.quiet() >= SETTLE_TORN_S

    def _answer(self) -> UnlockResult | None:
        if self._tries.is_kept(self._number()):
            return self._result(
                Result.FAILED,
                f"the passphrase was not given: {self._tries.left(self._number() - 1)}, and a "
                "wrong one ends the boot in emergency mode. Use it with --all-tries, or restart "
                "the board",
            )
        if not self._watcher.knows_tab:
            self._give(before=b"")
        elif self._watcher.hidden and not self._watcher.at_question:
            # Somebody typed a TAB and left it; whether it still waits cannot be seen.
            return self._ask_anew()
        elif self._watcher.hidden or self._hide():
            self._give(before=CLEAR)
        return None

    def _give(self, before: bytes) -> None:
        sure = self._feed.type_secret(before, self._passphrase, ENTER)
        if not sure:
            self._unsure = "the line was cut while the passphrase was on its way"
        self._watcher.answered()
        self._attempts += 1
        self._number_given = self._number()
        self._given_at = self._clock()
        self._reporter.note("passphrase given; waiting for the boot to report the volume open")

    def _hide(self) -> bool:
        """Have the question hide what is typed; return whether it still waits and does."""
        for _ in range(2):
            self._feed.type(TAB)
            end = self._clock() + ACKNOWLEDGE_S
            while self._clock() <= end:
                states = self._read()
                if not self._watcher.pending or State.PROMPT in states:
                    # Answered by somebody else, or asked anew: begin again from there.
                    return False
                if self._watcher.hidden:
                    return True
        self._deaf = True
        self._reporter.warn(
            "what looks like a prompt does not react to keys; the passphrase was not sent"
        )
        self._watcher.withdraw()
        return False

    def _wake(self) -> UnlockResult | None:
        """Find a question that was printed before we came: it answers a TAB."""
        silent = self._watcher.state is State.SILENT
        if self._watcher.elsewhere or not (silent or self._watcher.state is State.BOOTING):
            return None
        quiet = self._feed.quiet()
        if silent and quiet >= HINT_S and not self._hinted:
            self._hinted = True
            self._reporter.warn(CHECK)
        wait = WAKE_SILENT_S if silent else WAKE_BOOTING_S
        if quiet < wait or self._woken_at == self._feed.received:
            return None
        sent = self._feed.type(TAB)
        end = self._clock() + ACKNOWLEDGE_S
        while sent and not self._watcher.hidden and self._clock() < end:
            if self._read():
                break
        self._woken_at = self._feed.received
        return self._ask_anew() if self._watcher.hidden else None

    def _ask_anew(self) -> UnlockResult | None:
        """Have a hidden question printed again by an empty answer, which is a wrong one."""
        self._asked_without_us += 0 if self._watcher.pending else 1
        if self._tries.is_kept(self._number() + 1):
            return self._result(
                Result.FAILED,
                "a passphrase prompt waits, but for which disk cannot be seen, and an empty "
                "answer, which brings it back, would use up the tries. Give it with "
                "--all-tries, or restart the board",
            )
        self._reporter.note(
            "a passphrase prompt waits that was printed before; an empty answer brings it back"
        )
        self._watcher.hidden = False
        self._feed.type(CLEAR + ENTER)
        self._woken_at = self._feed.received
        return None

    # What is told ------------------------------------------------------------------------

    def _timed_out(self) -> UnlockResult:
        watcher, seconds = self._watcher, f"within {self._timeout:.0f} s"
        if self._given_at is not None:
            why = f"{self._unsure}; " if self._unsure else ""
            detail = f"{why}the boot did not report the volume open {seconds}"
            return self._result(Result.FAILED, detail)
        detail = why_no_prompt(
            watcher, cut=self._feed.cuts > 0, readable=self._feed.readable, deaf=self._deaf
        )
        return self._result(Result.NO_PROMPT, f"{detail} ({seconds})")

    def _result(
        self, result: Result, detail: str, to_unlocked: float | None = None
    ) -> UnlockResult:
        return UnlockResult(
            target=self._target,
            via="serial",
            result=result,
            detail=detail,
            prompts_seen=self._watcher.prompts_seen,
            attempts=self._attempts,
            to_prompt=self._to_prompt,
            to_unlocked=to_unlocked,
        )
