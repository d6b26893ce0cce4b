"""One attempt to unlock a volume at a console: when to type what, and what came of it.

The rules, from how systemd asks (``ask-password-api.c``):

* The prompt is printed first and the terminal's echo turned off after it, so
  nothing is typed at once. Since v245 the prompt offers TAB, which it answers by
  ``(no echo)``: from then on nothing that is typed is shown, not even its length.
* What is typed before the prompt is thrown away, so nothing is typed early.
* A wrong passphrase is never followed by another try: the board counts them.
* Only the boot's own report of the open volume is success.
"""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from bootwright.console.boot import BootWatcher, State
from bootwright.report import Reporter
from bootwright.secret import Secret
from bootwright.unlock_result import Result, UnlockResult

SETTLE_S = 0.5
"""Seconds from a prompt to the first key; the echo goes off some milliseconds after it."""

ACKNOWLEDGE_S = 10.0
"""Seconds that a prompt may take to answer a TAB; an emulated board is slow."""

AFTERMATH_S = 5.0
"""Seconds from a failure to the maintenance shell that may follow it."""

TAB = b"\t"
CLEAR = b"\x15"  # Ctrl-U
ENTER = b"\n"


class Console(Protocol):
    """What a session needs of a console."""

    def history(self) -> bytes:
        """Return what was printed before now, as far as it is known."""
        ...

    def read(self) -> bytes:
        """Return what has come since, after waiting a moment for it."""
        ...

    def write(self, data: bytes) -> None:
        """Type ``data``."""
        ...


class UnlockSession:
    """Reads a console until the boot has decided, and answers the prompt once.

    Args:
        target: the target's name, for the result.
        watcher: follows the boot; new.
        console: the board's console.
        passphrase: what to type.
        timeout: seconds for the whole.
        reporter: where to tell what is done.
        clock: seconds from some start.
    """

    def __init__(
        self,
        *,
        target: str,
        watcher: BootWatcher,
        console: Console,
        passphrase: Secret,
        timeout: float,
        reporter: Reporter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._target = target
        self._watcher = watcher
        self._console = console
        self._passphrase = passphrase
        self._timeout = timeout
        self._reporter = reporter
        self._clock = clock
        self._begin = clock()
        self._prompt_at: float | None = None
        self._to_prompt: float | None = None
        self._attempts = 0
        self._boots = 0

    def run(self) -> UnlockResult:
        """Return how it ended.

        Raises:
            FailedError: the console was lost.
        """
        self._reporter.note(f"watching the console of {self._target}")
        # An earlier boot's end is in the history too: only its last state counts.
        self._take(self._console.history())
        states: Sequence[State] = ()
        while True:
            ended = self._judge(states)
            if ended is None and self._may_answer():
                ended = self._answer()
            if ended is None and self._elapsed() > self._timeout:
                ended = self._timed_out()
            if ended is not None:
                return ended
            states = self._read()

    def _elapsed(self) -> float:
        return self._clock() - self._begin

    def _read(self) -> list[State]:
        return self._take(self._console.read())

    def _take(self, data: bytes) -> list[State]:
        states = self._watcher.feed(data)
        if State.PROMPT in states:
            self._prompt_at = self._clock()
            if self._to_prompt is None:
                self._to_prompt = self._elapsed()
                self._reporter.note(f"prompt: {self._watcher.question}")
        return states

    def _judge(self, states: Sequence[State]) -> UnlockResult | None:
        """Return the result if the boot has decided; ``states`` are those just entered."""
        if self._attempts:
            for state in states:
                if ended := self._judge_answered(state):
                    return ended
            if self._watcher.boots != self._boots:
                return self._result(
                    Result.FAILED, "the board restarted after the passphrase was given"
                )
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

    def _judge_answered(self, state: State) -> UnlockResult | None:
        if state is State.UNLOCKED:
            detail = "the boot reported the volume open"
            return self._result(Result.UNLOCKED, detail, to_unlocked=self._elapsed())
        if state is State.REFUSED:
            return self._result(
                Result.WRONG_PASSPHRASE,
                "the board refused the passphrase; its prompt waits for the right one, and it "
                "gives up after the third wrong one",
            )
        if state is State.LOGIN:
            return self._aftermath(
                "a login prompt came, but the boot did not report the volume open; look with "
                "`inv ssh`, and drop `quiet` from the kernel command line"
            )
        return self._judge_failure(state)

    def _judge_failure(self, state: State) -> UnlockResult | None:
        if state is State.EMERGENCY:
            return self._result(
                Result.EMERGENCY,
                f"the boot ended in a maintenance shell ({self._watcher.reason}); "
                "after three wrong passphrases, or a volume that does not open, only a restart "
                "helps: switch the board off and on, then run `inv unlock` again",
            )
        if state is State.FAILED:
            return self._aftermath(
                f"the boot reported: {self._watcher.reason}; look at the console"
            )
        return None

    def _aftermath(self, detail: str) -> UnlockResult:
        """Return the failure ``detail``, or what the next seconds make of it."""
        end = self._clock() + AFTERMATH_S
        while self._clock() < end:
            for state in self._read():
                if state is State.EMERGENCY:
                    return self._judge_failure(state) or self._timed_out()
                if state is State.UNLOCKED and self._attempts:
                    return self._judge_answered(state) or self._timed_out()
        return self._result(Result.FAILED, detail)

    def _may_answer(self) -> bool:
        return (
            not self._attempts
            and self._watcher.pending
            and self._prompt_at is not None
            and self._clock() - self._prompt_at >= SETTLE_S
        )

    def _answer(self) -> UnlockResult | None:
        """Type the passphrase; return a result only if that had to be left undone."""
        watcher = self._watcher
        if watcher.hidden or watcher.typed:
            # Somebody has typed at this prompt before and left it.
            self._console.write(CLEAR)
        if watcher.tab_hint and not watcher.hidden:
            self._console.write(TAB)
            end = self._clock() + ACKNOWLEDGE_S
            while not watcher.hidden:
                states = self._read()
                if watcher.state is not State.PROMPT or State.PROMPT in states:
                    # Answered by somebody else, or asked anew: begin again from there.
                    return self._judge(states)
                if watcher.echo_seen:
                    return self._result(
                        Result.FAILED,
                        "the terminal shows what is typed; the passphrase was not sent",
                    )
                if self._clock() > end:
                    return self._result(
                        Result.FAILED,
                        "the prompt does not react to keys; the passphrase was not sent. "
                        "Does another program hold the console?",
                    )
        self._console.write(self._passphrase.reveal() + ENTER)
        watcher.answered()
        self._attempts += 1
        self._boots = watcher.boots
        self._reporter.note("passphrase given; waiting for the boot to report the volume open")
        return None

    def _timed_out(self) -> UnlockResult:
        watcher, seconds = self._watcher, f"within {self._timeout:.0f} s"
        if self._attempts:
            return self._result(Result.FAILED, f"the boot did not report the volume open {seconds}")
        if watcher.state is State.SILENT:
            detail = (
                f"nothing came from the console {seconds}. Is the board on, the cable in, the "
                "speed right? A prompt printed earlier cannot be seen: restart the board"
            )
        elif watcher.other_disks:
            detail = f"the boot asked for {', '.join(watcher.other_disks)}, not for this volume"
        else:
            detail = f"the boot did not ask for the passphrase {seconds}: {watcher.last_line}"
        return self._result(Result.NO_PROMPT, detail)

    def _result(
        self, result: Result, detail: str, to_unlocked: float | None = None
    ) -> UnlockResult:
        if self._attempts:
            # A console line may end up in here, and a terminal may echo what it should not.
            detail = detail.replace(self._passphrase.reveal().decode("utf-8", "replace"), "***")
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
