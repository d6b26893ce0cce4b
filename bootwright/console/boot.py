"""The boot as its serial console shows it: a state machine fed with bytes.

It knows one encrypted volume. It never decides to type anything: it says whether a
question for that volume is waiting (:attr:`BootWatcher.pending`), and is told
when somebody answered.

Bytes may come in any chunks: the same bytes give the same states in the same order.
"""

import re
from enum import Enum

from bootwright.console.normalise import Line, Partial, Screen
from bootwright.console.prompt import Question, find_question
from bootwright.console.status import Names, Report, judge

_LOGIN = re.compile(r"(?:^|\s)(?!Last )[\w.-]+ login: $")
_HIDDEN = "(no echo) "
_TYPED = re.compile(r"[:!] \*+$")


class State(Enum):
    """Where the boot is."""

    SILENT = "silent"
    """Nothing has come yet."""
    BOOTING = "booting"
    """Something has come, and none of the below."""
    PROMPT = "prompt"
    """The volume's passphrase is asked for."""
    ANSWERED = "answered"
    """A passphrase was given; the boot has not said what it thinks of it."""
    UNLOCKED = "unlocked"
    """The boot reported the volume open."""
    REFUSED = "refused"
    """The passphrase given was wrong: the boot says so, or asks again."""
    FAILED = "failed"
    """The boot reported that the volume cannot be opened."""
    EMERGENCY = "emergency"
    """The boot ended in a maintenance shell."""
    LOGIN = "login"
    """A login prompt has come."""


class BootWatcher:
    """Follows the console of a board that is booting.

    Args:
        volume: the encrypted volume's name in crypttab.
        mount: where it is mounted.

    Everything but :attr:`other_disks` concerns the latest boot: a restart begins anew.

    Attributes:
        state: where the boot is.
        prompts_seen: how many times the volume's passphrase was asked for.
        opened: the boot reported the volume open.
        login_seen: a login prompt has come, so what is typed may be read by it.
        boots: restarts seen.
        reason: the line that led to the state, for messages.
        question: the volume's question as it was last printed, for messages.
        last_line: the last finished line that was not empty.
        other_disks: other volumes whose passphrase was asked for.
        tab_hint: the question offered TAB to hide the length.
        hidden: the terminal said that it shows nothing of what is typed.
    """

    def __init__(self, volume: str, mount: str) -> None:
        self._names = Names(volume, mount)
        self._screen = Screen()
        self.boots = 0
        self.other_disks: tuple[str, ...] = ()
        self.state = State.SILENT
        self._begin()

    def feed(self, data: bytes) -> list[State]:
        """Take the next bytes of the console; return the states entered, in order.

        A state is also returned when it is entered again: a second question for the
        passphrase gives a second :attr:`State.PROMPT`.
        """
        self._entered: list[State] = []
        for item in self._screen.feed(data):
            if self.state is State.SILENT:
                self._enter(State.BOOTING)
            if isinstance(item, Partial):
                self._grow(item)
            else:
                self._finish(item)
        return self._entered

    def answered(self) -> None:
        """Note that a passphrase was just given to the question that is waiting."""
        self.state = State.ANSWERED

    @property
    def pending(self) -> bool:
        """Whether the volume's question waits, with nothing half printed that may change it."""
        if self.state is not State.PROMPT:
            return False
        # "(verification)" or the hint; recognised when its bracket has ended in a blank.
        half = self._on_question_line() and self._partial.text[self._question_end :].startswith("(")
        return not half

    @property
    def line(self) -> str:
        """What a program has printed of the current line."""
        return self._partial.text

    @property
    def echo_seen(self) -> bool:
        """Whether a TAB sent to the question came back: the terminal shows what is typed."""
        if not self._on_question_line():
            return "\t" in self._partial.text
        after = self._partial.text[self._question_end :]
        return "\t" in after or (bool(after) and not after.strip())

    @property
    def typed(self) -> bool:
        """Whether something was typed at the question: one asterisk for each character."""
        return self._on_question_line() and bool(_TYPED.search(self._partial.text))

    def _begin(self) -> None:
        self.prompts_seen = 0
        self.opened = False
        self.login_seen = False
        self.reason = ""
        self.question = ""
        self.last_line = ""
        self.tab_hint = False
        self.hidden = False
        self._partial = Partial("", 0)
        self._asked: tuple[int, int] | None = None
        self._ours = False
        self._question_end = 0

    def _enter(self, state: State, reason: str = "") -> None:
        self.state = state
        self.reason = reason.strip()
        self._entered.append(state)

    def _on_question_line(self) -> bool:
        return self._asked is not None and self._asked[0] == self._partial.number

    def _grow(self, partial: Partial) -> None:
        self._partial = partial
        if not partial.text.endswith(" "):
            return
        question = find_question(partial.text)
        if question is not None:
            self._ask(question, partial)
        # Status lines may have ended the question's own line before.
        if self._ours and partial.text.endswith(_HIDDEN):
            self.hidden = True
        if _LOGIN.search(partial.text) and not self.login_seen:
            self.login_seen = True
            self._enter(State.LOGIN, partial.text)

    def _ask(self, question: Question, partial: Partial) -> None:
        """Take a question that is new, or that shows more of itself than before."""
        asked = (partial.number, question.start)
        new = asked != self._asked
        was_ours = self._ours and not new
        self._asked = asked
        self._question_end = len(partial.text)
        self._ours = question.volume == self._names.volume and not question.verification
        if new:
            self.hidden = self.tab_hint = False
        self.tab_hint = self.tab_hint or question.tab_hint
        if self._ours and not was_ours:
            self.prompts_seen += 1
            self.opened = False
            self.question = partial.text[question.start :].strip()
            again = self.state in (State.ANSWERED, State.REFUSED)
            self._enter(State.REFUSED if again else State.PROMPT, partial.text)
        elif was_ours and not self._ours:
            self.prompts_seen -= 1
        if not self._ours:
            if not question.verification and question.volume not in self.other_disks:
                self.other_disks += (question.volume,)
            # The terminal belongs to the question that was asked last.
            if self.state is State.PROMPT:
                self._enter(State.BOOTING, partial.text)

    def _finish(self, line: Line) -> None:
        self.last_line = line.text.strip() or self.last_line
        report = judge(line, self._names)
        if report is Report.RESTARTED:
            self.boots += 1
            self._begin()
            self._enter(State.BOOTING)
        elif report is Report.OPENED or (
            # The target says nothing of a volume that the boot does not wait for; that
            # it comes after the answer is what makes it count.
            report is Report.ALL_OPENED and self.state is State.ANSWERED
        ):
            # Opened and mounted are two lines for one thing.
            if not self.opened:
                self.opened = True
                self._enter(State.UNLOCKED, line.text)
        elif report is Report.REFUSED:
            if self.state is State.ANSWERED:
                self._enter(State.REFUSED, line.text)
        elif report is Report.FAILED:
            self._enter(State.FAILED, line.text)
        elif report is Report.EMERGENCY and self.state is not State.EMERGENCY:
            self._enter(State.EMERGENCY, line.text)
