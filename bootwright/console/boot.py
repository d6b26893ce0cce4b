"""The boot as its serial console shows it: a state machine that is fed with bytes.

It knows one encrypted volume, "ours". It types nothing: :attr:`BootWatcher.open_question` says
which question for a passphrase is open, and whoever types something tells the watcher so.

However the bytes are split into chunks, the same bytes give the same states in the same order.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto

from bootwright.console.interleaved import InterleavedMatcher, MatcherState
from bootwright.console.open_question import OpenQuestion
from bootwright.console.prompt import (
    BEGUN,
    INITRAMFS,
    SYSTEMD,
    Question,
    find_login,
    find_question,
    find_secret_question,
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
"""Characters. A longer line is searched no further: it is neither a prompt nor a report."""

_JOB = re.compile(r"\[[ *]{6}\] ")
"""How a line about a running job begins. systemd prints each over the one before, and some versions
end none of them."""

_HINT = "(press TAB for no echo) "
_VERIFICATION = "(verification) "
_HIDDEN = "(no echo) "


class State(Enum):
    """How far the boot is."""

    SILENT = "silent"
    """Nothing was printed yet."""
    BOOTING = "booting"
    """Something was printed, and none of the events below was seen."""
    PROMPT = "prompt"
    """The volume's passphrase is asked for."""
    ANSWERED = "answered"
    """A passphrase was typed; the boot has not reported yet whether it was right."""
    UNLOCKED = "unlocked"
    """The boot reported the volume open."""
    REFUSED = "refused"
    """The passphrase was wrong: the boot reported it, or asks again."""
    FAILED = "failed"
    """The boot reported that the volume cannot be opened."""
    EMERGENCY = "emergency"
    """The boot ended in a maintenance shell."""
    LOGIN = "login"
    """A login prompt was printed."""


class _Owner(Enum):
    """Whose question it is."""

    UNKNOWN = auto()
    """It is not printed far enough to know."""
    OURS = auto()
    """It asks for the passphrase of the volume."""
    OTHER = auto()
    """It asks for another disk's passphrase, or for a new one; or it does not react to keys."""


@dataclass
class _LatestQuestion:
    """The last question that was begun: it reads what is typed.

    Attributes:
        line: the number of the line that it ends in.
        end: the column where it ends there.
        owner: whose it is.
        answered: a passphrase was typed; what is printed next is the verdict or a new question.
    """

    line: int
    end: int
    owner: _Owner = _Owner.UNKNOWN
    answered: bool = False


class _Echo(Enum):
    """What the question shows of what is typed."""

    SHOWN = auto()
    """An asterisk for each character."""
    TAB_TYPED = auto()
    """The same; we typed a TAB, which is not answered yet."""
    HIDDEN = auto()
    """Nothing: ``(no echo) `` answered our TAB."""
    HIDDEN_BY_OTHERS = auto()
    """Nothing: ``(no echo) `` was printed without a TAB from us."""


class BootWatcher:
    """Follows the console of a board that is booting.

    Everything is about the latest boot: when the board restarts, all but ``boots`` is reset.

    Args:
        volume: the encrypted volume's name in crypttab.
        mount: where it is mounted.

    Attributes:
        state: how far the boot is.
        prompts_seen: how many times the volume's passphrase was asked for.
        opened: the boot reported the volume open.
        login_seen: a login prompt or a shell prompt was printed. It may read what is typed, and
            what looks like a question after it is text that somebody displays there.
        boots: how many restarts were seen.
        gave_up: the words by which the boot reported that it takes no more passphrases; else empty.
        failed: the words by which the boot reported, since the volume was asked for, that it cannot
            be opened in this boot; else empty.
        refusal_named: the latest report of a wrong passphrase names the volume.
        reason: the words that led to the state, for messages.
        prompt: the volume's question as it was printed, for messages.
        last_line: the last finished line that was not empty.
        other_disks: other volumes whose passphrase was asked for.
        has_others: this boot opens other volumes, too, with or without a question.
        other_question: a question for another secret, such as a token's PIN. Other output has
            interrupted it, and it may still be open. Empty if there was none since a disk's.
    """

    def __init__(self, volume: str, mount: str) -> None:
        self._names = VolumeUnits(volume, mount)
        self._screen = Screen()
        self._questions = InterleavedMatcher(question_patterns(volume))
        self._reports = InterleavedMatcher(status_patterns(self._names))
        # What systemd prints right after its question.
        self._additions = InterleavedMatcher(
            (text, (text,)) for text in (_HIDDEN, _HINT, _VERIFICATION)
        )
        self._matchers = (self._questions, self._reports, self._additions)
        # By column of the current line: the matchers' states before the "[" that stands there.
        self._saved: dict[int, tuple[MatcherState, ...]] = {}
        self.boots = 0
        self.state = State.SILENT
        self._entered: list[State] = []
        self._latest: _LatestQuestion | None = None
        # systemd asks; the initial RAM disk, which also may, takes a TAB as a character.
        self._answers_tab = True
        # Whether something was printed since the connection was lost while our question was open;
        # None if it was not lost, or the question was printed again.
        self._printed_since_loss: bool | None = None
        self._begin_boot()

    def feed(self, data: bytes) -> list[State]:
        """Take the next bytes of the console; return the states entered, in order.

        A state that is entered again is returned again: a second question for the passphrase
        gives a second :attr:`State.PROMPT`.
        """
        self._entered = []
        if data and self._printed_since_loss is not None:
            self._printed_since_loss = True
        for item in self._screen.feed(data):
            if self.state is State.SILENT:
                self._enter(State.BOOTING)
            if isinstance(item, Partial):
                self._take_partial(item)
            else:
                self._take_line(item)
        return self._entered

    def passphrase_typed(self) -> None:
        """Note that a passphrase was typed at the open question."""
        self._restart_expected = False
        self.refusal_named = False
        self.state = State.ANSWERED
        self._forget_echo()
        if self._latest is not None:
            self._latest.answered = True

    def tab_typed(self) -> None:
        """Note that a TAB is about to be typed: ``(no echo) `` answers it from now on."""
        self._echo = _Echo.TAB_TYPED
        self._additions.forget()

    def expect_restart(self) -> None:
        """Note that the board restarts, now or some day: what was seen is of the boot before.

        Until the new boot prints its banner, a login prompt and reports are taken for the old's.
        A question for the volume's passphrase counts, because a boot may print nothing before it;
        but it has to answer a TAB, because it may be a text that somebody displays at a shell.
        """
        self._begin_boot()
        self.state = State.SILENT
        self._restart_expected = True

    def restart_over(self) -> None:
        """Note that the old boot has ended: what is printed from now on is of the new one."""
        self._restart_expected = False

    def empty_answer_typed(self) -> None:
        """Note that an empty answer was typed at whichever question is open."""
        self._forget_echo()
        self._latest = None
        self.state = State.BOOTING

    def refusal_was_anothers(self) -> None:
        """Note that the latest report of a wrong passphrase was about another volume's."""
        if self.state is State.REFUSED:
            self.state = State.ANSWERED
            self.gave_up = ""
            self.refusal_named = False

    def withdraw_question(self) -> None:
        """Note that what looked like the volume's question does not react to keys."""
        self._lose_question()

    def connection_lost(self) -> None:
        """Note that the connection was lost: what the board prints until it is back is missed.

        If our question was open, it may be open still, provided that it answers a TAB, which is a
        test of that; see :attr:`OpenQuestion.BEFORE_LOSS`. If its answer was typed, the verdict is
        still expected. Apart from that, nothing is known of the boot until it prints again.
        """
        self._forget_line()
        self._partial = Partial("", -1, "")
        self._forget_echo()
        # The board may have restarted.
        self.opened = self.login_seen = self._restart_expected = False
        if self._ours_is_open() and not self._answers_tab:
            self._lose_question()
        self._printed_since_loss = False if self._ours_is_open() else None
        if self.state not in (State.PROMPT, State.ANSWERED, State.REFUSED):
            self.state = State.SILENT
            self.prompts_seen = 0
            self._latest = None

    @property
    def open_question(self) -> OpenQuestion:
        """The question that is open now."""
        if self.other_question or self._secret_asked_on(self._partial.text, finished=False):
            return OpenQuestion.NOT_OURS
        if self._ours_is_open():
            return self._our_question()
        if self._restart_expected:
            return OpenQuestion.CLOSED
        if self._echo is _Echo.HIDDEN:
            # If there are words before the answer to our TAB, another program asks a question.
            return OpenQuestion.NOT_OURS if self.waiting_line else OpenQuestion.HIDDEN_UNSEEN
        if self._latest is not None and self._latest.owner is not _Owner.OURS:
            return OpenQuestion.NOT_OURS
        if self.state is State.SILENT:
            return OpenQuestion.NOTHING_PRINTED
        if self.state is not State.BOOTING:
            return OpenQuestion.CLOSED
        if self.waiting_line:
            return OpenQuestion.NOT_OURS
        text = self._partial.text
        return OpenQuestion.BLANK_LINE if text and not text.strip() else OpenQuestion.NONE

    @property
    def waiting_line(self) -> str:
        """The words of the line that is not finished: who printed them may wait for an answer.

        Empty if there are none, or if they are the report of a running job.
        """
        text = self._screen.unfinished.removesuffix(_HIDDEN).strip(" \t\N{REPLACEMENT CHARACTER}")
        return "" if _JOB.match(text) else text

    @property
    def question_line(self) -> str:
        """The current line if the latest question ends in it, else empty.

        It changes as long as the question, or what belongs to it, is being printed.
        """
        return self._partial.text if self._on_question_line() else ""

    # Which question is open ---------------------------------------------------------------

    def _ours_is_open(self) -> bool:
        """Whether the volume's question was printed, at least so far, and not answered."""
        latest = self._latest
        ours = latest is not None and latest.owner is _Owner.OURS and not latest.answered
        return ours and self.state in (State.PROMPT, State.REFUSED)

    def _secret_asked_on(self, line: str, *, finished: bool) -> str | None:
        """Return the question for another secret on ``line``: the current one, or just finished."""
        if not line:
            return None
        if self._latest is not None and self._on_question_line():
            line = line[self._latest.end :]
        asked = find_secret_question(line, finished=finished)
        if asked and self._ours_is_open() and self._ends_ours(asked):
            return None
        return asked

    def _ends_ours(self, asked: str) -> bool:
        """Whether ``asked`` is the rest of our question, which other output has interrupted."""
        rest = asked.partition(_HINT.strip())[0].rstrip(" :!")
        volume, mount = self._names.volume, self._names.mount
        names = (volume, f"({volume})")
        return any(
            end.endswith(rest) or rest.endswith(end)
            for name in names
            for end in (name, f"{name} on {mount}")
        )

    def _our_question(self) -> OpenQuestion:
        after = self._after_question()
        # Nothing but records of the kernel was printed after it.
        at_question = self._on_question_line() and after in ("", _HIDDEN)
        line = self._screen.unfinished
        line_open = not (
            not line or at_question or line.endswith(_HIDDEN) or _HIDDEN.endswith(line)
        )
        if self._echo is _Echo.HIDDEN:
            return OpenQuestion.HIDDEN_LINE_OPEN if line_open else OpenQuestion.HIDDEN
        if self._printed_since_loss is not None:
            printed = self._printed_since_loss
            return OpenQuestion.BEFORE_LOSS_OUTPUT_AFTER if printed else OpenQuestion.BEFORE_LOSS
        if after and any(text.startswith(after) for text in (_HINT, _VERIFICATION)):
            return OpenQuestion.INCOMPLETE
        if self._echo is _Echo.HIDDEN_BY_OTHERS:
            if at_question:
                return OpenQuestion.HIDDEN_BY_OTHERS
            return OpenQuestion.HIDDEN_BY_OTHERS_OUTPUT_AFTER
        if self._answers_tab:
            cut = self._additions.is_partly_read(_HINT, len("(p"))
            return OpenQuestion.VISIBLE_HINT_CUT if cut else OpenQuestion.VISIBLE
        if at_question:
            return OpenQuestion.INITRAMFS
        if line_open:
            return OpenQuestion.INITRAMFS_LINE_OPEN
        return OpenQuestion.INITRAMFS_OUTPUT_AFTER

    def _on_question_line(self) -> bool:
        return self._latest is not None and self._latest.line == self._partial.number

    def _after_question(self) -> str:
        """Return what stands after the latest question on its line."""
        if self._latest is None or not self._on_question_line():
            return ""
        return self._partial.text[self._latest.end :]

    # Beginning anew -----------------------------------------------------------------------

    def _begin_boot(self) -> None:
        self.prompts_seen = 0
        self.other_disks: tuple[str, ...] = ()
        self.has_others = False
        self.other_question = ""
        self.opened = False
        self.login_seen = False
        self._restart_expected = False
        self.gave_up = self.failed = ""
        self.refusal_named = False
        self.reason = ""
        self.prompt = ""
        self.last_line = ""
        self._answers_tab = True
        self._printed_since_loss = None
        self._forget_echo()
        self._partial = Partial("", -1, "")
        self._latest = None
        self._forget_line()

    def _forget_echo(self) -> None:
        self._echo = _Echo.SHOWN
        self._additions.forget()

    def _forget_line(self) -> None:
        self._screen.connection_lost()
        self._saved = {}
        for matcher in self._matchers:
            matcher.forget()

    def _enter(self, state: State, reason: str = "") -> None:
        self.state = state
        self.reason = reason.strip()
        self._entered.append(state)

    # The line that is being printed -------------------------------------------------------

    def _take_partial(self, partial: Partial) -> None:
        self._partial = partial
        char, before = partial.char, partial.text[:-1]
        by_program = not partial.kernel
        if char == "[" and by_program:
            # This may be the first character of a kernel record, which is no part of the line.
            self._saved[len(before)] = tuple(matcher.state() for matcher in self._matchers)
        short = len(before) <= LONGEST
        begins = by_program and short and char == "P"
        begins = begins and not self.login_seen and may_begin(before)
        found = self._questions.put(char, begins)
        if BEGUN in found:
            self._latest = _LatestQuestion(partial.number, len(partial.text))
            self.other_question = ""
            self._forget_echo()
        for asker in found & {SYSTEMD, INITRAMFS}:
            self._take_our_question(partial, answers_tab=asker == SYSTEMD)
        begins = by_program and short and char in "FSMD" and may_begin(before)
        for name in self._reports.put(char, begins):
            report, _, words = name.partition(" ")
            self._take_finding(UnitFinding(UnitState[report], words))
        self._take_addition(char, before)
        if char == " " and by_program and not before.endswith("  "):
            self._check_words(partial)

    def _take_addition(self, char: str, before: str) -> None:
        """Follow what systemd prints after a question: its hint, or the answer to a TAB."""
        # Status lines and records of the kernel have brackets too.
        expected = char == "(" and (
            self._echo is _Echo.TAB_TYPED or (self._ours_is_open() and self._is_next_word(before))
        )
        found = self._additions.put(char, expected)
        if _VERIFICATION in found:
            self._lose_question()
        if _HINT in found:
            self._additions.forget()
        if _HIDDEN in found:
            if self._echo is _Echo.TAB_TYPED:
                self._echo = _Echo.HIDDEN
            elif self._restart_expected:
                self._lose_question()  # It can give no proof any more.
            else:
                self._echo = _Echo.HIDDEN_BY_OTHERS if self._ours_is_open() else _Echo.SHOWN
            self._additions.forget()

    def _is_next_word(self, before: str) -> bool:
        """Whether a word after ``before`` is the first of its line, or after the question.

        Blanks between do not count: a TAB may have been echoed.
        """
        if self._latest is not None and self._on_question_line():
            before = before[self._latest.end :]
        return not before.strip()

    def _check_words(self, partial: Partial) -> None:
        """Search the line that is being printed; called after each blank, when a word ends."""
        question = None
        if not self.login_seen and len(partial.text) <= LONGEST:
            question = find_question(partial.text)
        if question is not None:
            self._take_whole_question(question, partial)
        elif self._ours_is_open() and self._latest is not None and self._on_question_line():
            self._move_question_end(partial, self._latest)
        if self.login_seen or not (login := find_login(partial.text)):
            return
        if self._restart_expected:
            # The new boot prints its first words right after it.
            self._forget_line()
            return
        self.login_seen = True
        self._enter(State.LOGIN, login)

    def _move_question_end(self, partial: Partial, latest: _LatestQuestion) -> None:
        """Count the hint as a part of the question, as long as it is displayed."""
        if len(partial.text) < latest.end:
            # The first key erases the hint: this blank overwrites a character of it.
            latest.end = len(partial.text) - 1
        elif self._after_question() == _HINT:
            latest.end = len(partial.text)

    def _take_whole_question(self, question: Question, partial: Partial) -> None:
        """Take a question that is printed in one piece on its line, and may have grown."""
        self.other_question = ""
        if not self._on_question_line():
            self._latest = _LatestQuestion(partial.number, len(partial.text))
        if question.volume == self._names.volume and not question.verification:
            self._take_our_question(partial, question.systemd).end = len(partial.text)
            return
        if not question.verification and question.volume not in self.other_disks:
            self.other_disks += (question.volume,)
            self.has_others = True
        self._lose_question()
        if self._latest is not None:
            self._latest.end = len(partial.text)

    def _take_our_question(self, partial: Partial, answers_tab: bool) -> _LatestQuestion:
        """Note that the latest question is ours, once; return it."""
        self._printed_since_loss = None
        if self._latest is not None and self._latest.owner is _Owner.OURS:
            return self._latest
        self._latest = latest = _LatestQuestion(partial.number, len(partial.text), _Owner.OURS)
        if self._restart_expected and not answers_tab:
            latest.owner = _Owner.OTHER
            return latest
        self._answers_tab = answers_tab
        self.other_question = self.gave_up = self.failed = ""
        self._additions.forget()
        self._questions.forget()
        self.prompts_seen += 1
        self.opened = False
        whole = find_question(partial.text)
        # A question in pieces is not quoted: what stands between may be an echo of a secret.
        pieces = f"the passphrase of {self._names.volume} (interrupted by other output)"
        self.prompt = partial.text[whole.start :].strip() if whole else pieces
        again = self.state in (State.ANSWERED, State.REFUSED)
        self._enter(State.REFUSED if again else State.PROMPT, self.prompt)
        return latest

    def _lose_question(self) -> None:
        """Note that the latest question is not ours, or does not wait any more."""
        if self._latest is not None and self._latest.owner is _Owner.OURS:
            self.prompts_seen -= 1
        self._close_question()

    def _close_question(self) -> None:
        if self._latest is not None:
            self._latest.owner = _Owner.OTHER
        if self.state is State.PROMPT:
            self._enter(State.BOOTING)

    # Finished lines -----------------------------------------------------------------------

    def _take_line(self, line: Line) -> None:
        latest = self._latest
        if latest is not None and latest.owner is _Owner.OTHER and self._on_question_line():
            # Where words follow it, it may be ours after all: another program's line may have
            # cut its name in two. Where none do, it was another disk's.
            after = line.text[latest.end :].strip()
            if not line.kernel and (not after or after[0] in "[("):
                self._questions.forget_up_to(BEGUN)
        if not line.kernel and (asked := self._secret_asked_on(line.text, finished=True)):
            # Questions come one after the other, so no earlier one is open.
            self._close_question()
            self.other_question = asked
        saved = self._saved.get(line.column) if line.kernel else None
        for number, matcher in enumerate(self._matchers):
            if saved is not None:
                matcher.restore(saved[number])
            else:
                matcher.end_line()
        self._saved = {}
        self.last_line = line.text.strip() or self.last_line
        finding = evaluate(line, self._names)
        if finding is not None:
            self._take_finding(finding)

    def _take_finding(self, finding: UnitFinding) -> None:
        report, words = finding.report, finding.words
        after_a_boot = self.login_seen or self._restart_expected
        if report is UnitState.RESTARTED or (report is UnitState.GREETED and after_a_boot):
            self.boots += 1
            self._begin_boot()
            self._enter(State.BOOTING)
        elif self._restart_expected:
            return
        elif report is UnitState.OPENED or (
            # With `nofail` the boot reaches this target without the volume. Reached after the
            # passphrase was typed, it means that the volume is open.
            report is UnitState.ALL_OPENED and self.state is State.ANSWERED
        ):
            # Opening and mounting are reported by a line each; they count as one.
            if not self.opened:
                self.opened = True
                self._enter(State.UNLOCKED, words)
        elif report in (UnitState.REFUSED, UnitState.GAVE_UP):
            if report is UnitState.GAVE_UP:
                self.gave_up = words
            if self.state in (State.ANSWERED, State.REFUSED):
                self.refusal_named = self.refusal_named or finding.named
            if self.state is State.ANSWERED:
                self._enter(State.REFUSED, words)
        elif report is UnitState.OTHER_VOLUME:
            self.has_others = True
        elif report in (UnitState.FAILED, UnitState.PANICKED):
            if report is UnitState.FAILED:
                self.failed = self.failed or words
            if self.state is not State.FAILED:
                self._enter(State.FAILED, words)
        elif report is UnitState.EMERGENCY and self.state is not State.EMERGENCY:
            self._enter(State.EMERGENCY, words)
