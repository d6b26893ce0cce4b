"""One console, from power-on to the open volume, and how that ended.

What is typed, and when, is decided in :mod:`bootwright.volume.unlock_decisions`. Only the boot's
own report of the open volume is success.
"""

import time
from collections.abc import Callable, Iterator, Sequence

from bootwright.console.boot import BootWatcher, State
from bootwright.console.feed import ConsoleFeed
from bootwright.console.no_prompt_advice import why_no_prompt
from bootwright.console.open_question import OpenQuestion
from bootwright.console.ports import ConsoleLine, NoRecorder, Recorder
from bootwright.console.tries import DEFAULT_TRIES, PendingPrompt, Tries
from bootwright.core.report import Reporter
from bootwright.core.secret import Secret
from bootwright.core.text import sanitize_line
from bootwright.volume.unlock_result import Result, UnlockResult
from bootwright.volume.unlock_typing import PassphraseSender

NEXT_QUESTION_S = 3.0
"""Seconds from the report of a wrong passphrase to the next question, or to the report that the
volume's unit has failed. A board prints both at once; its serial line may be slow."""

SHUT_DOWN_S = 10.0
"""Seconds of silence after a restart was ordered: the boot before has ended, and the new one may
print no banner that we know."""

SHELL_FOLLOWS_S = 5.0
"""Seconds after a failure in which the boot may still report a maintenance shell."""


class UnlockSession:
    """Follows a console until the boot has ended, and answers each question once.

    Args:
        target: the target's name, for the result.
        watcher: follows the boot; new.
        console: the board's console.
        passphrase: what to type.
        timeout: seconds for the whole of a boot.
        reporter: gets a message about each step.
        recorder: writes the transcript.
        tries: how many passphrases the boot takes.
        another: asks the operator for another passphrase after a wrong one; its argument says
            how many tries are left.
        endless: wait for a prompt without limit; the timeout starts when it is answered.
        pending_prompt: the question that an earlier run left open at this console.
        restarted_after: a restart was ordered when the console's history had so many bytes;
            ``None`` if none was.
        clock: returns seconds from some start.
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
        tries: Tries = DEFAULT_TRIES,
        another: Callable[[str], Secret | None] | None = None,
        endless: bool = False,
        pending_prompt: PendingPrompt | None = None,
        restarted_after: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._target = target
        self._watcher = watcher
        self._timeout = timeout
        self._reporter = reporter
        self._tries = tries
        self._another = another
        self._endless = endless
        self._restarted_after = restarted_after
        self._clock = clock
        self._feed = ConsoleFeed(console, watcher, recorder or NoRecorder(), reporter, clock)
        self._sender = PassphraseSender(self._feed, watcher, passphrase, tries, reporter, clock)
        self._begin_boot(clock())
        self._sender.pending_prompt = pending_prompt

    def _begin_boot(self, begin: float) -> None:
        self._begin = begin
        self._boots = self._watcher.boots
        self._to_prompt: float | None = None
        # Reports of a wrong passphrase that may have been about another volume's.
        self._refusals = 0
        self._sender.begin_boot()

    @property
    def waiting(self) -> int:
        """Which of the boot's questions is left open, counted from 1; 0 if none is known."""
        return self._sender.waiting

    def run(self) -> UnlockResult:
        """Return how the boot ended.

        Raises:
            FailedError: the connection to the console was lost for good.
        """
        return next(self.results())

    def results(self) -> Iterator[UnlockResult]:
        """Return how each boot ended, one after the other, without end."""
        self._reporter.note(f"watching the console of {self._target}")
        # It may contain earlier boots; only the state that it ends in matters.
        self._note_output(self._feed.history(self._restarted_after))
        self._boots = self._watcher.boots
        while True:
            result = self._one_boot()
            self._feed.end()
            yield result
            self._await_next_boot()
            self._begin_boot(self._clock())

    def _one_boot(self) -> UnlockResult:
        states: Sequence[State] = ()
        try:
            while True:
                if self._restarted_after is not None and self._feed.quiet() >= SHUT_DOWN_S:
                    self._watcher.restart_over()
                ended = self._evaluate(states)
                if ended is None and (why_not := self._sender.act()):
                    ended = self._result(Result.FAILED, why_not)
                if ended is None and self._overdue():
                    ended = self._timed_out()
                if ended is not None:
                    return ended
                states = self._read()
        finally:
            self._sender.take_back()

    def _await_next_boot(self) -> None:
        """Return when the board has restarted, shows a new question, or the connection is lost."""
        losses = self._feed.losses
        # The next boot may print nothing before its question.
        self._watcher.expect_restart()
        while self._watcher.boots == self._boots and self._feed.losses == losses:
            states = self._feed.read(report_progress=False)
            self._note_output(states)
            if State.PROMPT in states:
                return

    def _elapsed(self) -> float:
        return self._clock() - self._begin

    def _overdue(self) -> bool:
        since = self._sender.typed_at if self._endless else self._begin
        return since is not None and self._clock() - since > self._timeout

    def _read(self) -> list[State]:
        states = self._feed.read()
        self._note_output(states)
        return states

    def _note_output(self, states: Sequence[State]) -> None:
        self._sender.note_output(states)
        if State.PROMPT in states:
            if self._to_prompt is None:
                self._to_prompt = self._elapsed()
            question = self._watcher.open_question
            if question.is_ours and question is not OpenQuestion.INCOMPLETE:
                self._reporter.note(f"prompt: {sanitize_line(self._watcher.prompt)}")

    # How the boot ended -------------------------------------------------------------------

    def _evaluate(self, states: Sequence[State]) -> UnlockResult | None:
        """Return the result if the boot has ended; ``states`` are those just entered."""
        if self._watcher.boots != self._boots:
            self._note_restart()
        if self._sender.typed_at is not None:
            for state in states:
                if ended := self._evaluate_verdict(state):
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
            # Both would read what is typed, each a part of it, and the login prompt shows it.
            return self._result(
                Result.FAILED,
                "a login prompt was printed over the passphrase prompt, so nothing was typed. "
                "Unlock over SSH, and remove `nofail` from crypttab",
            )
        return self._evaluate_failure(watcher.state)

    def _note_restart(self) -> None:
        if self._sender.typed_at is not None or self._to_prompt is not None:
            self._reporter.warn("the board restarted; waiting for its prompt again")
        if self._endless:
            self._begin_boot(self._clock())
            return
        # The run goes on: its time and its attempts include those before the restart.
        attempts = self._sender.attempts
        self._begin_boot(self._begin)
        self._sender.attempts = attempts

    def _evaluate_verdict(self, state: State) -> UnlockResult | None:
        """Return the result if ``state``, entered after the passphrase was typed, is an end."""
        if state is State.UNLOCKED:
            detail = "the boot reported the volume open"
            return self._result(Result.UNLOCKED, detail, to_unlocked=self._elapsed())
        if state is State.REFUSED:
            return self._refused()
        if state is State.LOGIN:
            return self._failed_unless_reported(
                "a login prompt came, but the boot did not report the volume open; check with "
                "`inv status`, and remove `quiet` from the kernel command line"
            )
        return self._evaluate_failure(state)

    def _refused(self) -> UnlockResult | None:
        self._await_next_question()
        if self._watcher.opened:
            # Another disk's passphrase was wrong: the report names none.
            return self._evaluate_verdict(State.UNLOCKED)
        if self._may_be_anothers():
            self._watcher.refusal_was_anothers()
            if not self._refusals:
                self._reporter.warn(
                    "the board reported a wrong passphrase, and did not say for which volume;"
                    " waiting for what it reports of this one"
                )
            self._refusals += 1
            return None
        if over := self._watcher.gave_up or self._watcher.failed:
            return self._takes_no_other(over)
        if self._watcher.state is State.EMERGENCY:
            return self._evaluate_failure(State.EMERGENCY)
        if self._sender.unsure:
            return self._result(Result.FAILED, f"{self._sender.unsure}; the board asks again")
        left = self._tries.left(self._sender.number_typed)
        if self._another is not None and not self._tries.is_reserved(self._sender.number_typed + 1):
            another = self._another(f"the passphrase is wrong; {left}")
            if another is not None:
                self._sender.try_another(another)
                return None
        return self._result(Result.WRONG_PASSPHRASE, f"the board refused the passphrase; {left}")

    def _takes_no_other(self, words: str) -> UnlockResult:
        """Return the result of a wrong passphrase after which the board does not ask again."""
        no_other = f"takes no other in this boot ({sanitize_line(words)}); restart it, and run"
        if self._sender.unsure:
            detail = f"{self._sender.unsure}; the board {no_other} `inv unlock` again"
            return self._result(Result.FAILED, detail)
        return self._result(
            Result.WRONG_PASSPHRASE,
            f"the board refused the passphrase, and {no_other} `inv unlock` again",
        )

    def _await_next_question(self) -> None:
        """After a refusal, read until the board asks again, or reports that it does not."""
        end = self._clock() + NEXT_QUESTION_S
        while self._clock() < end and self._watcher.state is State.REFUSED:
            gave_up = self._watcher.gave_up and self._watcher.refusal_named
            if gave_up or self._watcher.open_question.is_ours:
                return
            self._read()

    def _may_be_anothers(self) -> bool:
        """Whether a refusal may be about another volume.

        It is about ours if its line names ours, if the board asks for ours again, if ours has
        failed, or if the boot opens no other volume.
        """
        watcher = self._watcher
        if watcher.state is not State.REFUSED or watcher.open_question.is_ours:
            return False
        return watcher.has_others and not watcher.refusal_named

    def _evaluate_failure(self, state: State) -> UnlockResult | None:
        if state is State.EMERGENCY:
            return self._result(
                Result.EMERGENCY,
                f"the boot ended in a maintenance shell ({sanitize_line(self._watcher.reason)}); "
                "after too many wrong passphrases, or if the volume cannot be opened, only a "
                "restart helps: switch the board off and on, then run `inv unlock` again",
            )
        if state is State.FAILED:
            if self._refusals and self._watcher.failed:
                return self._takes_no_other(self._watcher.failed)
            typed = self._sender.typed_at is not None and self._watcher.failed
            wrong = "; the passphrase may be wrong" if typed else ""
            return self._failed_unless_reported(
                f"the boot reported: {sanitize_line(self._watcher.reason)}{wrong}; see the console"
            )
        return None

    def _failed_unless_reported(self, detail: str) -> UnlockResult:
        """Return the failure ``detail``, unless the boot reports an end in the next seconds."""
        end = self._clock() + SHELL_FOLLOWS_S
        states: Sequence[State] = (self._watcher.state,)
        while self._clock() < end:
            for state in states:
                if state is State.EMERGENCY:
                    return self._evaluate_failure(state) or self._timed_out()
                if state is State.UNLOCKED and self._sender.typed_at is not None:
                    return self._evaluate_verdict(state) or self._timed_out()
            states = self._read()
        return self._result(Result.FAILED, detail)

    def _timed_out(self) -> UnlockResult:
        seconds = f"within {self._timeout:.0f} s"
        if self._sender.typed_at is not None:
            why = f"{self._sender.unsure}; " if self._sender.unsure else ""
            if self._refusals:
                why += "the board reported a wrong passphrase, and did not say for which volume; "
            detail = f"{why}the boot did not report the volume open {seconds}"
            return self._result(Result.FAILED, detail)
        detail = why_no_prompt(
            self._watcher,
            lost=self._feed.lost,
            readable=self._feed.readable,
            no_reaction=self._sender.no_reaction,
            quote=not self._feed.secret_typed,
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
            attempts=self._sender.attempts,
            to_prompt=self._to_prompt,
            to_unlocked=to_unlocked,
        )
