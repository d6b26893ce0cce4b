"""Typing at a console that asks for a passphrase.

:mod:`bootwright.volume.unlock_decisions` decides what is typed, and when;
:class:`PassphraseSender` types it, and counts the board's tries: a wrong passphrase is never
followed by the same one, and the last try is used only if the operator wants it.
"""

import contextlib
from collections.abc import Callable, Sequence

from bootwright.console.boot import BootWatcher, State
from bootwright.console.feed import ConsoleFeed
from bootwright.console.no_prompt_advice import CHECK, SPEED
from bootwright.console.open_question import OpenQuestion
from bootwright.console.tries import PendingPrompt, Tries
from bootwright.core.errors import FailedError
from bootwright.core.report import Reporter
from bootwright.core.secret import Secret
from bootwright.volume.unlock_decisions import END_SEARCH_S, Since, Typed, UnlockAction, decide

ADVISE_S = 15.0
"""Seconds of silence since we connected, after which a message says what to check."""

_TAB_TYPED = (
    Typed.TAB,
    Typed.SECOND_TAB,
    Typed.SEARCH_IN_SILENCE,
    Typed.SEARCH_WHILE_BOOTING,
)
_TAB_TAKEN = (
    OpenQuestion.HIDDEN,
    OpenQuestion.HIDDEN_LINE_OPEN,
    OpenQuestion.HIDDEN_UNSEEN,
    OpenQuestion.CLOSED,
)
"""A TAB was answered, or the boot has gone on."""

_BOOT_LOADER = (
    OpenQuestion.NONE,
    OpenQuestion.NOT_OURS,
    OpenQuestion.BEFORE_LOSS_OUTPUT_AFTER,
)
"""Where the boot prints, and it may be a boot loader that prints."""

NOISE = 200
"""Bytes after which it is certain that they are no text. Switching a board on brings a few."""

TAB = b"\t"
CLEAR = b"\x15"  # Ctrl-U: erases what somebody else may have typed, or a TAB that nobody answered.
ENTER = b"\n"


class PassphraseSender:
    """Answers the volume's question, once for each time it is asked.

    Args:
        feed: the console.
        watcher: what is known of the boot.
        passphrase: what to type; may be replaced.
        tries: how many passphrases the boot takes.
        reporter: gets a message about each step.
        clock: returns seconds from some start.

    Attributes:
        attempts: how many times the passphrase was typed in this boot.
        typed_at: when it was typed; ``None`` while no verdict is awaited.
        number_typed: which of the boot's tries that was, counted from 1.
        unsure: why it is not certain that it arrived; empty if it is.
        no_reaction: what looked like the question did not react to keys.
        pending_prompt: the question that an earlier run left open, while nothing is known of
            this boot.
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
        self.typed_at: float | None = None
        self.number_typed = 0
        self.unsure = ""
        self.no_reaction = False
        self.pending_prompt: PendingPrompt | None = None
        # Questions of this boot that the watcher did not see.
        self._unseen_prompts = 0
        self._advised = False
        self._typed = Typed.NOTHING
        now = self._clock()
        self._typed_at = self._printed_at = self._same_since = now
        self._question = self._watcher.open_question
        self._question_line: tuple[int, str] | None = None
        # Bytes that had come when the search for a question ended.
        self._searched_at = 0
        self._losses = self._feed.losses

    @property
    def waiting(self) -> int:
        """Which of the boot's questions is left open, counted from 1; 0 if none is known."""
        if self._watcher.open_question.is_ours:
            return self._number()
        refused = self._watcher.state is State.REFUSED and not self._watcher.gave_up
        return self.number_typed + 1 if refused and self.typed_at is not None else 0

    def try_another(self, passphrase: Secret) -> None:
        """Answer the next question by ``passphrase``, which a person took some time to give."""
        self.passphrase = passphrase
        # What was printed meanwhile has not been read.
        while states := self._feed.read():
            self.note_output(states)
        self.typed_at = None
        self._typed = Typed.NOTHING
        self._printed_at = self._clock()

    def note_output(self, states: Sequence[State]) -> None:
        """Note what a read has brought; ``states`` are those that it entered."""
        asked = State.PROMPT in states or State.REFUSED in states
        if asked and self._typed is not Typed.PASSPHRASE:
            self._typed = Typed.NOTHING
        if self._watcher.state in (State.PROMPT, State.REFUSED):
            # What is printed after the question on its line may still belong to it.
            line = (self._watcher.prompts_seen, self._watcher.question_line)
            if line != self._question_line:
                self._question_line, self._printed_at = line, self._clock()

    def act(self) -> str | None:
        """Type what is to be typed now; return why, if it must not be typed at all."""
        action = self._decide()
        while action is UnlockAction.FORGET_TYPED:
            self._typed = Typed.NOTHING
            action = self._decide()
        if self._typed is not Typed.PASSPHRASE:
            self._advise()
        match action:
            case UnlockAction.TAB:
                return self._type_tab()
            case UnlockAction.PASSPHRASE:
                return self._type_passphrase()
            case UnlockAction.EMPTY_ANSWER:
                return self._type_empty_answer()
            case UnlockAction.SEARCH:
                self._search()
            case UnlockAction.END_SEARCH | UnlockAction.END_SEARCH_WITH_ENTER:
                self._end_search(with_enter=action is UnlockAction.END_SEARCH_WITH_ENTER)
            case UnlockAction.ANSWER_UNSEEN:
                return self._answer_unseen()
            case UnlockAction.WITHDRAW_UNANSWERED:
                self._feed.type(CLEAR)
                self._withdraw("what looks like a prompt does not react to keys")
            case UnlockAction.WITHDRAW_LINE_OPEN:
                self._withdraw("something else was printed at the prompt")
        return None

    def take_back(self) -> None:
        """Erase a TAB that nothing has answered; call it when nothing more will be typed."""
        question = self._watcher.open_question
        if question in _BOOT_LOADER and self._feed.quiet() < END_SEARCH_S:
            return  # A boot loader's countdown may be running, which any key stops.
        if self._typed in _TAB_TYPED and question not in _TAB_TAKEN:
            with contextlib.suppress(FailedError):
                self._feed.type(CLEAR)
            self._typed = Typed.NOTHING

    def _decide(self) -> UnlockAction:
        now, question = self._clock(), self._watcher.open_question
        if question is not self._question:
            self._question, self._same_since = question, now
        if self._feed.losses != self._losses:
            # It may not have arrived, and what was open may be over: begin again.
            self._losses = self._feed.losses
            if self._typed is not Typed.PASSPHRASE:
                self._typed = Typed.NOTHING
        if self._typed is Typed.ALL_TRIED and self._feed.received != self._searched_at:
            self._typed = Typed.NOTHING
        seconds = {
            Since.TYPED: now - self._typed_at,
            Since.PRINTED: now - self._printed_at,
            Since.QUIET: self._feed.quiet(),
            Since.SAME: now - self._same_since,
        }
        return decide(question, self._typed, seconds)

    def _note_typed(self, typed: Typed) -> None:
        self._typed, self._typed_at = typed, self._clock()

    def _number(self) -> int:
        """Return which of this boot's tries the open question is, counted from 1."""
        return self._watcher.prompts_seen + self._unseen_prompts

    # At a question ------------------------------------------------------------------------

    def _type_tab(self) -> str | None:
        if self._tries.is_reserved(self._number()):
            return self._reserved()
        self._watcher.tab_typed()
        self._feed.type(TAB)
        self._note_typed(Typed.SECOND_TAB if self._typed is Typed.TAB else Typed.TAB)
        return None

    def _type_passphrase(self) -> str | None:
        if self._tries.is_reserved(self._number()):
            return self._reserved()
        sure = self._feed.type_secret(CLEAR, self.passphrase, ENTER)
        if not sure:
            self.unsure = "the connection was lost while the passphrase was being sent"
        self._watcher.passphrase_typed()
        self.attempts += 1
        self.number_typed = self._number()
        self._note_typed(Typed.PASSPHRASE)
        self.typed_at = self._typed_at
        self._reporter.note("passphrase sent; waiting for the boot to report the volume open")
        return None

    def _reserved(self) -> str:
        if self._tries.allowed < self._number():
            return (
                f"the passphrase was not sent: the board asks for the {self._number()}th time, so"
                f" its crypttab allows more than {self._tries.allowed} tries, and how many is not"
                " known. Use --all-tries, or restart the board"
            )
        return (
            f"the passphrase was not sent: {self._tries.left(self._number() - 1)}, and a wrong "
            "one ends the boot in emergency mode. Use it with --all-tries, or restart the board"
        )

    def _withdraw(self, why: str) -> None:
        self.no_reaction = True
        self._reporter.warn(f"{why}; the passphrase was not sent")
        self._watcher.withdraw_question()
        self._typed = Typed.NOTHING

    # A question that was printed before we connected ---------------------------------------

    def _advise(self) -> None:
        if self._advised:
            return
        if not self._feed.readable and self._feed.received >= NOISE:
            self._advised = True
            self._reporter.warn(SPEED)
        elif self._feed.quiet() >= ADVISE_S and (
            self._watcher.open_question is OpenQuestion.NOTHING_PRINTED
        ):
            self._advised = True
            self._reporter.warn(CHECK if self._feed.readable else SPEED)

    def _search(self) -> None:
        silent = self._watcher.open_question is OpenQuestion.NOTHING_PRINTED
        self._watcher.tab_typed()
        self._feed.type(TAB)
        self._note_typed(Typed.SEARCH_IN_SILENCE if silent else Typed.SEARCH_WHILE_BOOTING)

    def _end_search(self, with_enter: bool = False) -> None:
        self._feed.type(CLEAR + ENTER if with_enter else CLEAR)
        self._note_typed(Typed.ALL_TRIED)
        self._searched_at = self._feed.received

    def _answer_unseen(self) -> str | None:
        """Answer a question that this run did not see, and that hides what is typed."""
        pending, self.pending_prompt = self.pending_prompt, None
        if pending is None:
            return self._type_empty_answer()
        if not pending.fresh:
            # Another question may be open by now, but the tries that were used are used.
            self._unseen_prompts = pending.number - 1
            return self._type_empty_answer()
        # The last question that was seen here was the volume's.
        self._unseen_prompts = pending.number
        return self._type_passphrase()

    def _type_empty_answer(self) -> str | None:
        """Have the question printed again; an empty answer is a wrong one and uses up a try."""
        if not self._watcher.open_question.is_ours:
            self._unseen_prompts += 1
        if self._tries.is_reserved(self._number() + 1):
            return (
                "a passphrase prompt is open, but its text was not seen, so it may be another "
                "disk's. An empty answer makes the board print it again, but uses up a try, and "
                "at most the last would be left. Allow that with --all-tries, or restart the board"
            )
        self._reporter.note(
            "a passphrase prompt is open that was printed earlier; sending an empty answer, so "
            "that the board prints it again"
        )
        self._watcher.empty_answer_typed()
        self._end_search(with_enter=True)
        return None
