"""What is typed at a console that asks for a passphrase, and when: a decision table. Pure.

A rule of :data:`RULES` reads: while this question is open, and this was typed last, and so many
seconds have passed since that moment, do this. Where no rule applies, nothing is typed.

Why the rules are so (``ask_password_tty()`` in systemd's ``ask-password-api.c``, the same from
v208 to today):

* systemd prints the question first and turns the terminal's echo off after it. It answers a
  TAB by ``(no echo) ``, whether the question offers this (v245+) or not; from then on nothing
  that is typed is shown, not even its length. This answer is awaited before the passphrase is
  typed: a text that only looks like the question does not give it.
* What is typed before the question is discarded, so nothing is typed early.
* Debian's initial RAM disk takes a TAB as a character of the passphrase. There the passphrase
  is typed when the console has been quiet for a moment.
* A TAB that nothing answers may have become a character of an answer. Ctrl-U erases it, so that a
  person who types the passphrase there is not refused.
* At a question that is seen and not ours nothing is typed, whichever program asks.
* After a lost connection the board may have restarted. A key stops the countdown of a boot loader,
  which prints every second, so a TAB waits for silence there.
* A question that was printed before we connected cannot be seen. A TAB in the silence finds it.
  For which disk it asks is not known then; an empty answer, which is a wrong one, makes systemd
  print it again. This uses up one of the tries.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from bootwright.console.open_question import OpenQuestion

SETTLE_S = 0.1
"""Seconds from the question's last byte to the TAB. systemd turns the echo off when the question
is transmitted; a TAB that arrives earlier is echoed, but systemd answers it too."""

SETTLE_NO_TAB_S = 0.5
"""Seconds from the last byte of a question that answers no TAB to the passphrase."""

SETTLE_OUTPUT_S = 2.0
"""Seconds of silence, where something was printed after the question: in this time a shell or
another program that reads the console would have printed its prompt."""

ACKNOWLEDGE_S = 10.0
"""Seconds in which the question has to answer a TAB; an emulated board is slow."""

SEARCH_SILENT_S = 5.0
"""Seconds of silence since we connected, after which a TAB searches for a question."""

SEARCH_BOOTING_S = 15.0
"""The same, if the board has printed something."""

SEARCH_ANSWER_S = 3.0
"""Seconds in which a question that we do not see has to answer this TAB."""

END_SEARCH_S = SEARCH_BOOTING_S + SEARCH_ANSWER_S
"""Seconds of silence, where the board has printed something, after which the TAB is erased. A board
that was switched on just after the TAB may be in its boot loader, whose countdown any key stops."""


class Typed(Enum):
    """What was typed last, and still matters."""

    NOTHING = auto()
    """Nothing; or what was typed before concerns a question that is over."""
    TAB = auto()
    """A TAB at the open question."""
    SECOND_TAB = auto()
    """Another one, because the first was not answered."""
    SEARCH_IN_SILENCE = auto()
    """A TAB that searches for a question; the board had printed nothing since we connected."""
    SEARCH_WHILE_BOOTING = auto()
    """A TAB that searches for a question; the board had printed something."""
    ALL_TRIED = auto()
    """Everything that may find a question was typed (a search, or an empty answer), and nothing was
    printed since."""
    PASSPHRASE = auto()
    """The passphrase. Only the boot's report ends this."""


class Since(Enum):
    """From when a rule's seconds are counted."""

    TYPED = auto()
    """Since something was typed last."""
    PRINTED = auto()
    """Since the line of the question changed last."""
    QUIET = auto()
    """Since the last byte came from the console."""
    SAME = auto()
    """Since the open question changed to the present one."""


class UnlockAction(Enum):
    """What to do now."""

    WAIT = auto()
    FORGET_TYPED = auto()
    """What was typed last concerns another question; decide again without it."""
    TAB = auto()
    """Type a TAB at the open question."""
    PASSPHRASE = auto()
    """Type the passphrase."""
    EMPTY_ANSWER = auto()
    """Answer the question with nothing, so that it is printed again."""
    WITHDRAW_UNANSWERED = auto()
    """Take it for no question: it did not answer a TAB twice. Erase the TABs."""
    WITHDRAW_LINE_OPEN = auto()
    """Take it for no question: another program has printed the beginning of a line."""
    SEARCH = auto()
    """Type a TAB, to find a question that was printed before we connected."""
    END_SEARCH = auto()
    """No question answers: erase the TAB, and search again only after something was printed."""
    END_SEARCH_WITH_ENTER = auto()
    """The same, and clear the echoed blanks: a login prompt comes again for an empty name."""
    ANSWER_UNSEEN = auto()
    """A question was found: type the passphrase if it is certainly ours, else an empty answer."""


@dataclass(frozen=True)
class Rule:
    """One row of the table: what to do in these situations, when so many seconds have passed.

    Attributes:
        questions: it applies while one of these is open,
        typed: and one of these was typed last,
        since: and since that moment
        seconds: so much time has passed; 0 means at once.
        action: what to do then.
    """

    questions: tuple[OpenQuestion, ...]
    typed: tuple[Typed, ...]
    since: Since
    seconds: float
    action: UnlockAction


_Q, _T, _S, _A = OpenQuestion, Typed, Since, UnlockAction

_OURS = tuple(question for question in OpenQuestion if question.is_ours)
_HIDES = (_Q.HIDDEN, _Q.HIDDEN_LINE_OPEN)
_INITRAMFS = (_Q.INITRAMFS, _Q.INITRAMFS_OUTPUT_AFTER, _Q.INITRAMFS_LINE_OPEN)
_NO_SECOND_TAB = (*_HIDES, *_INITRAMFS, _Q.BEFORE_LOSS_OUTPUT_AFTER)
_TAB_UNANSWERED = tuple(question for question in _OURS if question not in _NO_SECOND_TAB)
_OVER = (_Q.NOTHING_PRINTED, _Q.NONE, _Q.BLANK_LINE, _Q.NOT_OURS, _Q.CLOSED)
_TABS = (_T.TAB, _T.SECOND_TAB)
_SEARCHES = (_T.SEARCH_IN_SILENCE, _T.SEARCH_WHILE_BOOTING)
_ALL_BUT_PASSPHRASE = tuple(typed for typed in Typed if typed is not _T.PASSPHRASE)

# fmt: off
RULES: tuple[Rule, ...] = (
    # Our question is open, and nothing was typed at it.
    Rule((_Q.VISIBLE,), (_T.NOTHING,), _S.PRINTED, SETTLE_S, _A.TAB),
    Rule((_Q.VISIBLE_HINT_CUT,), (_T.NOTHING,), _S.QUIET, SETTLE_OUTPUT_S, _A.TAB),
    # It may be over: as for a question that was printed before we connected.
    Rule((_Q.BEFORE_LOSS,), (_T.NOTHING,), _S.QUIET, SEARCH_SILENT_S, _A.TAB),
    Rule((_Q.BEFORE_LOSS_OUTPUT_AFTER,), (_T.NOTHING,), _S.QUIET, SEARCH_BOOTING_S, _A.TAB),
    # It answered a TAB that was typed before it was printed: ask for the proof again.
    Rule(_HIDES, (_T.NOTHING,), _S.PRINTED, SETTLE_S, _A.TAB),
    Rule((_Q.HIDDEN_BY_OTHERS,), (_T.NOTHING,), _S.QUIET, SETTLE_OUTPUT_S, _A.PASSPHRASE),
    # It may have been answered since: whichever question is open, an empty answer shows it.
    Rule((_Q.HIDDEN_BY_OTHERS_OUTPUT_AFTER,), (_T.NOTHING,),
         _S.QUIET, SETTLE_OUTPUT_S, _A.EMPTY_ANSWER),
    Rule((_Q.INITRAMFS,), (_T.NOTHING,), _S.PRINTED, SETTLE_NO_TAB_S, _A.PASSPHRASE),
    Rule((_Q.INITRAMFS_OUTPUT_AFTER,), (_T.NOTHING,), _S.QUIET, SETTLE_OUTPUT_S, _A.PASSPHRASE),
    Rule((_Q.INITRAMFS_LINE_OPEN,), (_T.NOTHING,),
         _S.QUIET, 2 * SETTLE_OUTPUT_S, _A.WITHDRAW_LINE_OPEN),

    # Our question is open, and a TAB was typed at it.
    Rule((_Q.HIDDEN,), _TABS, _S.TYPED, 0, _A.PASSPHRASE),
    Rule((_Q.HIDDEN_LINE_OPEN,), _TABS, _S.SAME, SETTLE_OUTPUT_S, _A.WITHDRAW_LINE_OPEN),
    Rule(_TAB_UNANSWERED, (_T.TAB,), _S.TYPED, ACKNOWLEDGE_S, _A.TAB),
    Rule(_TAB_UNANSWERED, (_T.SECOND_TAB,), _S.TYPED, ACKNOWLEDGE_S, _A.WITHDRAW_UNANSWERED),
    Rule((_Q.BEFORE_LOSS_OUTPUT_AFTER,), _TABS, _S.QUIET, END_SEARCH_S, _A.WITHDRAW_UNANSWERED),
    # Somebody else has answered that question, or it was not ours.
    Rule(_OVER + _INITRAMFS, _TABS, _S.TYPED, 0, _A.FORGET_TYPED),

    # No question is known: search for one that was printed before we connected.
    Rule((_Q.NOTHING_PRINTED,), (_T.NOTHING,), _S.QUIET, SEARCH_SILENT_S, _A.SEARCH),
    Rule((_Q.NONE, _Q.BLANK_LINE), (_T.NOTHING,), _S.QUIET, SEARCH_BOOTING_S, _A.SEARCH),
    Rule((_Q.NOTHING_PRINTED,), _SEARCHES, _S.TYPED, SEARCH_ANSWER_S, _A.END_SEARCH),
    Rule((_Q.NONE, _Q.NOT_OURS), _SEARCHES, _S.QUIET, END_SEARCH_S, _A.END_SEARCH),
    Rule((_Q.BLANK_LINE,), (_T.SEARCH_IN_SILENCE,),
         _S.TYPED, SEARCH_ANSWER_S, _A.END_SEARCH_WITH_ENTER),
    Rule((_Q.BLANK_LINE,), (_T.SEARCH_WHILE_BOOTING,), _S.TYPED, SEARCH_ANSWER_S, _A.END_SEARCH),
    # Our question was printed meanwhile, or the boot has gone on.
    Rule((*_OURS, _Q.CLOSED), (*_SEARCHES, _T.ALL_TRIED), _S.TYPED, 0, _A.FORGET_TYPED),
    # The search has found a question, at once or late.
    Rule((_Q.HIDDEN_UNSEEN,), _ALL_BUT_PASSPHRASE, _S.TYPED, 0, _A.ANSWER_UNSEEN),
)
# fmt: on

_BY_SITUATION = {
    (question, typed): rule for rule in RULES for question in rule.questions for typed in rule.typed
}


def decide(question: OpenQuestion, typed: Typed, seconds: Mapping[Since, float]) -> UnlockAction:
    """Return what to do.

    Args:
        question: the question that is open.
        typed: what was typed last.
        seconds: how long ago the moment of each :class:`Since` was.
    """
    rule = _BY_SITUATION.get((question, typed))
    if rule is None or seconds[rule.since] < rule.seconds:
        return UnlockAction.WAIT
    return rule.action
