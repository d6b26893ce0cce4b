"""The boot as its serial console shows it: a state machine fed with bytes.

It knows one encrypted volume. It never decides to type anything: it says whether a
question for that volume is waiting (:attr:`BootWatcher.pending`), and is told
when somebody answered.

Bytes may come in any chunks: the same bytes give the same states in the same order.
"""

from enum import Enum

from bootwright.console.interleaved import InterleavedMatcher, Mark
from bootwright.console.prompt import (
    BEGUN,
    INITRAMFS,
    SYSTEMD,
    Asked,
    Question,
    find_login,
    find_question,
    may_begin,
    question_patterns,
)
from bootwright.console.screen import Line, Partial, Screen
from bootwright.console.status_lines import (
    UnitFinding,
    UnitState,
    VolumeUnits,
    evaluate,
    status_patterns,
)

LONGEST = 1000
"""Characters of a line after which it is no prompt and no report any more."""

_HINT = "(press TAB for no echo) "
_VERIFICATION = "(verification) "
_HIDDEN = "(no echo) "


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

    Everything concerns the latest boot: a restart begins anew.

    Attributes:
        state: where the boot is.
        prompts_seen: how many times the volume's passphrase was asked for.
        opened: the boot reported the volume open.
        login_seen: a login prompt or a shell has come, so what is typed may be read by it.
            What looks like a question after it is text that somebody shows.
        boots: restarts seen.
        reason: the words that led to the state, for messages.
        question: the volume's question, for messages.
        last_line: the last finished line that was not empty.
        other_disks: other volumes whose passphrase was asked for.
        knows_tab: the question is systemd's, which answers a TAB.
        hidden: our TAB was answered: the terminal shows nothing of what is typed.
        left_hidden: somebody else had typed a TAB at the question before.
    """

    def __init__(self, volume: str, mount: str) -> None:
        self._names = VolumeUnits(volume, mount)
        self._screen = Screen()
        self._questions = InterleavedMatcher(question_patterns(volume))
        self._reports = InterleavedMatcher(status_patterns(self._names))
        self._answers = InterleavedMatcher(
            (text, (text,)) for text in (_HIDDEN, _HINT, _VERIFICATION)
        )
        self._marks: dict[int, tuple[Mark, ...]] = {}
        self.boots = 0
        self.knows_tab = True
        self.state = State.SILENT
        self._entered: list[State] = []
        self._asked: Asked | None = None
        self._begin()

    def feed(self, data: bytes) -> list[State]:
        """Take the next bytes of the console; return the states entered, in order.

        A state is also returned when it is entered again: a second question for the
        passphrase gives a second :attr:`State.PROMPT`.
        """
        self._entered = []
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
        self._forget_tab()
        # The next one is printed anew.
        if self._asked is not None:
            self._asked.answered = True

    def tabbed(self) -> None:
        """Note that a TAB is being typed: from now on its answer counts."""
        self.hidden = False
        self._awaits_tab = True
        self._answers.forget()

    def dismissed(self) -> None:
        """Note that whatever question waits was given an empty answer."""
        self._forget_tab()
        self._asked = None
        self.state = State.BOOTING

    def withdraw(self) -> None:
        """Note that what looked like the volume's question does not react to keys."""
        self._lose_question()

    def cut(self) -> None:
        """Note that the line was cut: what the board printed meanwhile is not known.

        A question that waited is taken to wait still, if a TAB can prove it; so is an
        answer for its verdict. Nothing else is known of the boot until it says something.
        """
        self._forget_line()
        self._partial = Partial("", -1, "")
        self._forget_tab()
        # The board may have started again meanwhile.
        self.opened = self.login_seen = False
        if self.state is State.PROMPT and not self.knows_tab:
            self._lose_question()
        if self.state not in (State.PROMPT, State.ANSWERED, State.REFUSED):
            self.state = State.SILENT
            self.prompts_seen = 0
            self._asked = None

    @property
    def waits(self) -> bool:
        """Whether the volume's question waits, as far as it is printed."""
        asked = self._asked
        ours = asked is not None and bool(asked.ours) and not asked.answered
        return ours and self.state in (State.PROMPT, State.REFUSED)

    @property
    def pending(self) -> bool:
        """Whether it waits, with nothing half printed that may change it."""
        after = self._after_question()
        half = bool(after) and any(text.startswith(after) for text in (_HINT, _VERIFICATION))
        return self.waits and not half

    @property
    def nobody_else(self) -> bool:
        """Whether the cursor stands at the question, its answer to TAB, or a line's beginning.

        Elsewhere a shell, a boot loader or another program may read what is typed.
        """
        line = self._screen.unfinished
        return not line or self.at_question or line.endswith(_HIDDEN) or _HIDDEN.endswith(line)

    @property
    def half_hinted(self) -> bool:
        """Whether the hint has begun, was torn, and has not ended yet."""
        return self.waits and self._answers.under_way(_HINT, len("(p"))

    @property
    def at_question(self) -> bool:
        """Whether nothing was printed since the question, but for what the kernel did."""
        return self._on_question_line() and self._after_question() in ("", _HIDDEN)

    @property
    def elsewhere(self) -> bool:
        """Whether the terminal belongs to a question that is not known to be the volume's."""
        return self._asked is not None and not self._asked.ours

    @property
    def shows_blanks(self) -> bool:
        """Whether the line holds nothing but blanks, as that of a TAB that came back."""
        return bool(self._partial.text) and not self._partial.text.strip()

    @property
    def question_line(self) -> str:
        """The line that the question ends in, while it is the last one; for comparing."""
        return self._partial.text if self._on_question_line() else ""

    def _begin(self) -> None:
        self.prompts_seen = 0
        self.other_disks: tuple[str, ...] = ()
        self.opened = False
        self.login_seen = False
        self.reason = ""
        self.question = ""
        self.last_line = ""
        self.knows_tab = True
        self._forget_tab()
        self._partial = Partial("", -1, "")
        self._asked = None
        self._forget_line()

    def _forget_tab(self) -> None:
        self.hidden = self.left_hidden = self._awaits_tab = False
        self._answers.forget()

    @property
    def _texts(self) -> tuple[InterleavedMatcher, ...]:
        return (self._questions, self._reports, self._answers)

    def _forget_line(self) -> None:
        self._screen.cut()
        self._marks = {}
        for texts in self._texts:
            texts.forget()

    def _enter(self, state: State, reason: str = "") -> None:
        self.state = state
        self.reason = reason.strip()
        self._entered.append(state)

    def _on_question_line(self) -> bool:
        return self._asked is not None and self._asked.number == self._partial.number

    def _after_question(self) -> str:
        if self._asked is None or not self._on_question_line():
            return ""
        return self._partial.text[self._asked.end :]

    def _grow(self, partial: Partial) -> None:
        self._partial = partial
        char, before = partial.char, partial.text[:-1]
        own = not partial.kernel
        if char == "[" and own:
            # A record of the kernel may begin here.
            self._marks[len(before)] = tuple(texts.mark() for texts in self._texts)
        short = len(before) <= LONGEST
        begins = own and short and char == "P" and not self.login_seen and may_begin(before)
        seen = self._questions.put(char, begins)
        if BEGUN in seen:
            self._asked = Asked(partial.number, len(partial.text))
            self._forget_tab()
        for asker in seen & {SYSTEMD, INITRAMFS}:
            self._ask(partial, asker == SYSTEMD)
        begins = own and short and char in "FSMD" and may_begin(before)
        for name in self._reports.put(char, begins):
            report, _, words = name.partition(" ")
            self._take(UnitFinding(UnitState[report], words))
        # Status lines and records have brackets of their own.
        begins = self._awaits_tab or (self.waits and self._is_next(before))
        after = self._answers.put(char, begins)
        if _VERIFICATION in after:
            self._lose_question()
        if _HINT in after:
            self._answers.forget()
        if _HIDDEN in after:
            self.hidden = self._awaits_tab
            self.left_hidden = self.waits and not self._awaits_tab
            self._awaits_tab = False
            self._answers.forget()
        if char == " " and own and not before.endswith("  "):
            self._look_at(partial)

    def _is_next(self, before: str) -> bool:
        """Whether what follows ``before`` is the first on its line, or after the question.

        A TAB that was echoed may stand between.
        """
        if self._asked is not None and self._on_question_line():
            before = before[self._asked.end :]
        return not before.strip()

    def _look_at(self, partial: Partial) -> None:
        """Look at what a program has printed of the line, up to a blank."""
        question = None
        if not self.login_seen and len(partial.text) <= LONGEST:
            question = find_question(partial.text)
        if question is not None:
            self._refine(question, partial)
        elif self.waits and self._asked is not None and self._on_question_line():
            self._look_after(partial, self._asked)
        if not self.login_seen and (login := find_login(partial.text)):
            self.login_seen = True
            self._enter(State.LOGIN, login)

    def _look_after(self, partial: Partial, asked: Asked) -> None:
        """Look at what comes after the volume's question, on its line."""
        if len(partial.text) < asked.end:
            # The first key erases the hint: this blank stands where a character was.
            asked.end = len(partial.text) - 1
        elif self._after_question() == _HINT:
            asked.end = len(partial.text)

    def _refine(self, question: Question, partial: Partial) -> None:
        """Take a question that stands whole on its line; it may have grown since."""
        if not self._on_question_line():
            self._asked = Asked(partial.number, len(partial.text))
        if question.volume == self._names.volume and not question.verification:
            self._ask(partial, question.systemd).end = len(partial.text)
            return
        if not question.verification and question.volume not in self.other_disks:
            self.other_disks += (question.volume,)
        self._lose_question()
        if self._asked is not None:
            self._asked.end = len(partial.text)

    def _ask(self, partial: Partial, knows_tab: bool) -> Asked:
        """Take the volume's question, once; return it."""
        if self._asked is not None and self._asked.ours:
            return self._asked
        self._asked = asked = Asked(partial.number, len(partial.text), ours=True)
        self.knows_tab = knows_tab
        self._answers.forget()
        self._questions.forget()
        self.prompts_seen += 1
        self.opened = False
        whole = find_question(partial.text)
        # What tore it may be anything, also an echo.
        name = f"the passphrase of {self._names.volume} (torn)"
        self.question = partial.text[whole.start :].strip() if whole else name
        again = self.state in (State.ANSWERED, State.REFUSED)
        self._enter(State.REFUSED if again else State.PROMPT, self.question)
        return asked

    def _lose_question(self) -> None:
        """The terminal does not belong to the volume's question, or no longer."""
        if self._asked is not None:
            if self._asked.ours:
                self.prompts_seen -= 1
            self._asked.ours = False
        if self.state is State.PROMPT:
            self._enter(State.BOOTING)

    def _finish(self, line: Line) -> None:
        asked = self._asked
        if asked is not None and asked.ours is False and self._on_question_line():
            # With more words after it, it may still be ours, with a foreign line in its name.
            after = line.text[asked.end :].strip()
            if not line.kernel and (not after or after[0] in "[("):
                self._questions.forget_up_to(BEGUN)
        marks = self._marks.get(line.column) if line.kernel else None
        for number, texts in enumerate(self._texts):
            if marks is not None:
                texts.go_back(marks[number])
            else:
                texts.end_line()
        self._marks = {}
        self.last_line = line.text.strip() or self.last_line
        finding = evaluate(line, self._names)
        if finding is not None:
            self._take(finding)

    def _take(self, finding: UnitFinding) -> None:
        report, words = finding.report, finding.words
        if report is UnitState.RESTARTED or (report is UnitState.GREETED and self.login_seen):
            self.boots += 1
            self._begin()
            self._enter(State.BOOTING)
        elif report is UnitState.OPENED or (
            # The target says nothing of a volume that the boot does not wait for; that
            # it comes after the answer is what makes it count.
            report is UnitState.ALL_OPENED and self.state is State.ANSWERED
        ):
            # Opened and mounted are two lines for one thing.
            if not self.opened:
                self.opened = True
                self._enter(State.UNLOCKED, words)
        elif report is UnitState.REFUSED:
            if self.state is State.ANSWERED:
                self._enter(State.REFUSED, words)
        elif report is UnitState.FAILED and self.state is not State.FAILED:
            self._enter(State.FAILED, words)
        elif report is UnitState.EMERGENCY and self.state is not State.EMERGENCY:
            self._enter(State.EMERGENCY, words)
