"""One console, from power-on to the open volume: what came of it.

When to type what is in :mod:`bootwright.volume.unlock_typing`. Only the boot's own report of
the open volume is success, and a wrong passphrase is never followed by the same one: the board
counts the tries.
"""

import time
from collections.abc import Callable, Iterator, Sequence

from bootwright.console.boot import BootWatcher, State
from bootwright.console.feed import ConsoleFeed
from bootwright.console.no_prompt_advice import why_no_prompt
from bootwright.console.ports import ConsoleLine, NoRecorder, Recorder
from bootwright.console.tries import AS_ON_OUR_CARDS, PendingPrompt, Tries
from bootwright.core.report import Reporter
from bootwright.core.secret import Secret
from bootwright.core.text import sanitize_line
from bootwright.volume.unlock_result import Result, UnlockResult
from bootwright.volume.unlock_typing import PassphraseSender

AFTERMATH_S = 5.0
"""Seconds from a failure to the maintenance shell that may follow it."""


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
        left: the question that an earlier run left waiting at this console.
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
        tries: Tries = AS_ON_OUR_CARDS,
        another: Callable[[str], Secret | None] | None = None,
        patient: bool = False,
        left: PendingPrompt | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._target = target
        self._watcher = watcher
        self._timeout = timeout
        self._reporter = reporter
        self._tries = tries
        self._another = another
        self._patient = patient
        self._clock = clock
        self._feed = ConsoleFeed(console, watcher, recorder or NoRecorder(), reporter, clock)
        self._typist = PassphraseSender(self._feed, watcher, passphrase, tries, reporter, clock)
        self._begin_boot(clock())
        self._typist.left = left

    def _begin_boot(self, begin: float) -> None:
        self._begin = begin
        self._boots = self._watcher.boots
        self._to_prompt: float | None = None
        self._typist.begin_boot()
        if not self._patient:
            self._typist.until = begin + self._timeout

    @property
    def waiting(self) -> int:
        """Which of the boot's questions is left waiting, counted from 1; 0: none is known."""
        return self._typist.waiting

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
            result = self._one_boot()
            self._feed.end()
            yield result
            self._await_next_boot()
            self._begin_boot(self._clock())

    def _one_boot(self) -> UnlockResult:
        states: Sequence[State] = ()
        while True:
            ended = self._judge(states)
            if ended is None:
                undone = self._typist.act()
                ended = self._result(Result.FAILED, undone) if undone else None
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
        since: float | None = self._begin
        if self._patient:
            since = self._typist.given_at
        return since is not None and self._clock() - since > self._timeout

    def _read(self) -> list[State]:
        states = self._feed.read()
        self._note_prompt(states)
        return states

    def _note_prompt(self, states: Sequence[State]) -> None:
        self._typist.look()
        if State.PROMPT in states:
            if self._to_prompt is None:
                self._to_prompt = self._elapsed()
            if self._watcher.pending:
                self._reporter.note(f"prompt: {sanitize_line(self._watcher.question)}")

    # What the boot has decided -----------------------------------------------------------

    def _judge(self, states: Sequence[State]) -> UnlockResult | None:
        """Return the result if the boot has decided; ``states`` are those just entered."""
        if self._watcher.boots != self._boots:
            self._restarted()
        if self._typist.given_at is not None:
            for state in states:
                if ended := self._judge_answered(state):
                    return ended
            return None
        watcher = self._watcher
        if watcher.opened:
            return self._result(Result.ALREADY_UNLOCKED, watcher.reason)
        if watcher.login_seen:
            if not watcher.prompts_seen:
                return self._result(
                    Result.ALREADY_UNLOCKED, f"the board is up: {sanitize_line(watcher.reason)}"
                )
            # Its reader and the prompt's would share what is typed, and show it.
            return self._result(
                Result.FAILED,
                "a login prompt has taken the console from the passphrase prompt; nothing was "
                "typed. Unlock over SSH, and drop `nofail` from crypttab",
            )
        return self._judge_failure(watcher.state)

    def _restarted(self) -> None:
        if self._typist.given_at is not None or self._to_prompt is not None:
            self._reporter.warn("the board restarted; waiting for its prompt again")
        if self._patient:
            self._begin_boot(self._clock())
            return
        # One run goes on: its time and its attempts are counted over the restart.
        attempts = self._typist.attempts
        self._begin_boot(self._begin)
        self._typist.attempts = attempts

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
        if self._typist.unsure:
            return self._result(Result.FAILED, f"{self._typist.unsure}; the board asks again")
        left = self._tries.left(self._typist.number_given)
        if self._another is not None and not self._tries.is_kept(self._typist.number_given + 1):
            fresh = self._another(f"the passphrase is wrong; {left}")
            if fresh is not None:
                self._typist.passphrase = fresh
                self._typist.rest()
                return None
        return self._result(Result.WRONG_PASSPHRASE, f"the board refused the passphrase; {left}")

    def _judge_failure(self, state: State) -> UnlockResult | None:
        if state is State.EMERGENCY:
            return self._result(
                Result.EMERGENCY,
                f"the boot ended in a maintenance shell ({sanitize_line(self._watcher.reason)}); "
                "after too many wrong passphrases, or a volume that does not open, only a "
                "restart helps: switch the board off and on, then run `inv unlock` again",
            )
        if state is State.FAILED:
            return self._aftermath(
                f"the boot reported: {sanitize_line(self._watcher.reason)}; look at the console"
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
                if state is State.UNLOCKED and self._typist.given_at is not None:
                    return self._judge_answered(state) or self._timed_out()
            states = self._read()
        return self._result(Result.FAILED, detail)

    # What is told ------------------------------------------------------------------------

    def _timed_out(self) -> UnlockResult:
        watcher, seconds = self._watcher, f"within {self._timeout:.0f} s"
        if self._typist.given_at is not None:
            why = f"{self._typist.unsure}; " if self._typist.unsure else ""
            detail = f"{why}the boot did not report the volume open {seconds}"
            return self._result(Result.FAILED, detail)
        detail = why_no_prompt(
            watcher, cut=self._feed.cuts > 0, readable=self._feed.readable, deaf=self._typist.deaf
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
            attempts=self._typist.attempts,
            to_prompt=self._to_prompt,
            to_unlocked=to_unlocked,
        )
