"""Typing at a console that asks for a passphrase: when to type what.

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

A prompt that was printed before we came cannot be seen. A TAB finds it in the silence, and an
empty answer brings it back, so that the passphrase goes to no other disk's question; that is
one of the tries.
"""

import math
from collections.abc import Callable

from bootwright.console.boot import BootWatcher, State
from bootwright.console.feed import ConsoleFeed
from bootwright.console.no_prompt_advice import CHECK
from bootwright.console.tries import PendingPrompt, Tries
from bootwright.core.report import Reporter
from bootwright.core.secret import Secret

SETTLE_S = 0.1
"""Seconds from the prompt's last byte to the TAB. The echo goes off when the prompt has
drained; a TAB that comes before is shown, and answered all the same."""

SETTLE_NO_TAB_S = 0.5
"""Seconds from a prompt that knows no TAB to the passphrase."""

SETTLE_TORN_S = 2.0
"""The same, if something was printed after the prompt: a shell would have shown itself."""

ACKNOWLEDGE_S = 10.0
"""Seconds that a prompt may take to answer a TAB; an emulated board is slow."""

WAKE_SILENT_S = 5.0
"""Seconds of silence from the start after which a TAB is tried: a prompt that was printed
before we came cannot be seen."""

WAKE_BOOTING_S = 15.0
"""The same, after something has come."""

WAKE_ANSWER_S = 3.0
"""Seconds that whoever reads the console gets to show itself."""

HINT_S = 15.0
"""Seconds of silence from the start after which the operator is told what to check."""

TAB = b"\t"
CLEAR = b"\x15"  # Ctrl-U
ENTER = b"\n"


class PassphraseSender:
    """Answers the volume's question, once for each time it is asked.

    Args:
        feed: the console.
        watcher: what is known of the boot.
        passphrase: what to type; may be exchanged.
        tries: how many passphrases the boot takes.
        reporter: where to tell what is done.
        clock: seconds from some start.

    Attributes:
        attempts: how many times the passphrase was given in this boot.
        given_at: when it was given; ``None`` while there is nothing to wait for.
        number_given: which of the boot's tries that was, counted from 1.
        unsure: why it is not certain that it arrived; empty if it is.
        deaf: what looked like the question did not react to keys.
        left: what an earlier run left waiting, while nothing is known of this boot.
        until: when there is no more time to wait for an answer to a TAB.
    """

    def __init__(
        self,
        feed: ConsoleFeed,
        watcher: BootWatcher,
        passphrase: Secret,
        tries: Tries,
        reporter: Reporter,
        clock: Callable[[], float],
    ) -> None:
        self._feed = feed
        self._watcher = watcher
        self.passphrase = passphrase
        self._tries = tries
        self._reporter = reporter
        self._clock = clock
        self.begin_boot()

    def begin_boot(self) -> None:
        """Forget what concerned the last boot."""
        self.attempts = 0
        self.given_at: float | None = None
        self.number_given = 0
        self.unsure = ""
        self.deaf = False
        self.until = math.inf
        self.left: PendingPrompt | None = None
        self._asked_without_us = 0
        self._settled: tuple[int, str] | None = None
        self._settled_at = self._clock()
        self._woken_at = -1
        self._hinted = False

    @property
    def waiting(self) -> int:
        """Which of the boot's questions is left waiting; 0 if none that is known."""
        if self._watcher.waits:
            return self._number()
        refused = self._watcher.state is State.REFUSED
        return self.number_given + 1 if refused and self.given_at is not None else 0

    def rest(self) -> None:
        """Take the console for new: a person has taken time over something else."""
        while self._feed.read():
            pass
        self.given_at = None
        self._settled = None

    def look(self) -> None:
        """Note how far the question is printed; to be called after every read."""
        if self._watcher.state in (State.PROMPT, State.REFUSED):
            # What comes after the question on its line may still belong to it.
            now = (self._watcher.prompts_seen, self._watcher.question_line)
            if now != self._settled:
                self._settled, self._settled_at = now, self._clock()

    def act(self) -> str | None:
        """Type what the moment asks for; return why, if that has to be left undone."""
        if self.given_at is None and self._watcher.pending:
            return self._answer() if self._settled_long_enough() else None
        if self.given_at is None:
            return self._wake()
        return None

    def _settled_long_enough(self) -> bool:
        if self._watcher.left_hidden or self._watcher.half_hinted:
            return self._feed.quiet() >= SETTLE_TORN_S
        if self._watcher.knows_tab:
            return self._clock() - self._settled_at >= SETTLE_S
        if self._watcher.at_question:
            return self._clock() - self._settled_at >= SETTLE_NO_TAB_S
        return self._feed.quiet() >= SETTLE_TORN_S

    def _answer(self) -> str | None:
        if self._tries.is_kept(self._number()):
            return self._kept()
        if self._watcher.left_hidden and not self._watcher.at_question:
            # Somebody typed a TAB and left it; whether it still waits cannot be seen.
            return self._ask_anew()
        if not self._watcher.knows_tab or self._watcher.left_hidden or self._hide():
            self._give_if_alone()
        return None

    def _kept(self) -> str:
        return (
            f"the passphrase was not given: {self._tries.left(self._number() - 1)}, and a wrong "
            "one ends the boot in emergency mode. Use it with --all-tries, or restart the board"
        )

    def _give_if_alone(self) -> None:
        """Give the passphrase unless somebody else has begun to print: who prints may read."""
        end = self._clock() + SETTLE_TORN_S
        while not self._watcher.nobody_else:
            states = self._feed.read()
            if not self._watcher.waits or State.PROMPT in states:
                return
            if self._clock() > end:
                break
        else:
            self._give()
            return
        self._deafen("something else was printed at the prompt; the passphrase was not sent")

    def _deafen(self, why: str) -> None:
        self.deaf = True
        self._reporter.warn(why)
        self._watcher.withdraw()

    def _give(self) -> None:
        sure = self._feed.type_secret(CLEAR, self.passphrase, ENTER)
        if not sure:
            self.unsure = "the line was cut while the passphrase was on its way"
        self._watcher.answered()
        self.attempts += 1
        self.number_given = self._number()
        self.given_at = self._clock()
        self._reporter.note("passphrase given; waiting for the boot to report the volume open")

    def _hide(self) -> bool:
        """Have the question hide what is typed; return whether it still waits and does."""
        for number in range(2):
            if number and self._clock() > self.until:
                return False
            self._watcher.tabbed()
            self._feed.type(TAB)
            end = min(self._clock() + ACKNOWLEDGE_S, self.until)
            while self._clock() <= end:
                states = self._feed.read()
                if not self._watcher.waits or State.PROMPT in states:
                    # Answered by somebody else, or asked anew: begin again from there.
                    return False
                if self._watcher.hidden:
                    return True
        self._deafen("what looks like a prompt does not react to keys; the passphrase was not sent")
        return False

    def _wake(self) -> str | None:
        """Find a question that was printed before we came: it answers a TAB."""
        if self._watcher.hidden:
            return self._found()
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
        self._watcher.tabbed()
        sent = self._feed.type(TAB)
        end = self._clock() + WAKE_ANSWER_S
        while sent and not self._watcher.hidden and self._clock() < end:
            self._feed.read()
            if self._watcher.state not in (State.SILENT, State.BOOTING):
                return None
        if silent and self._watcher.shows_blanks:
            # Something echoes the TAB: a login prompt comes again for an empty name.
            self._feed.type(CLEAR + ENTER)
        self._woken_at = self._feed.received
        return self._found() if self._watcher.hidden else None

    def _found(self) -> str | None:
        """Answer a question that nobody saw in this run, and that hides what is typed."""
        left, self.left = self.left, None
        if left is None:
            return self._ask_anew()
        if not left.fresh:
            # Whose it is by now is not certain; the tries that were used still count.
            self._asked_without_us = left.asked - 1
            return self._ask_anew()
        # As after a cut: it was ours that asked last.
        self._asked_without_us = left.asked
        if self._tries.is_kept(self._number()):
            return self._kept()
        self._give()
        return None

    def _ask_anew(self) -> str | None:
        """Have a hidden question printed again by an empty answer, which is a wrong one."""
        self._asked_without_us += 0 if self._watcher.pending else 1
        if self._tries.is_kept(self._number() + 1):
            return (
                "a passphrase prompt waits, but for which disk cannot be seen, and an empty "
                "answer, which brings it back, would use up the tries. Give it with "
                "--all-tries, or restart the board"
            )
        self._reporter.note(
            "a passphrase prompt waits that was printed before; an empty answer brings it back"
        )
        self._watcher.dismissed()
        self._feed.type(CLEAR + ENTER)
        self._woken_at = self._feed.received
        return None

    def _number(self) -> int:
        """Return which of this boot's tries the question that waits is, counted from 1."""
        return self._watcher.prompts_seen + self._asked_without_us
