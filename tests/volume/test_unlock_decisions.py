"""The decision table: every situation, and what the sender makes of it."""

from collections import Counter
from itertools import product
from typing import Any

import pytest

from bootwright.console.boot import State
from bootwright.console.open_question import OpenQuestion
from bootwright.console.tries import DEFAULT_TRIES, Tries
from bootwright.core.report import TextReporter
from bootwright.core.secret import Secret
from bootwright.volume.unlock_decisions import RULES, Since, Typed, UnlockAction, decide
from bootwright.volume.unlock_typing import PassphraseSender

TYPING = {
    UnlockAction.TAB,
    UnlockAction.PASSPHRASE,
    UnlockAction.EMPTY_ANSWER,
    UnlockAction.SEARCH,
    UnlockAction.ANSWER_UNSEEN,
}
TICKS = 64
"""In a second of the false clock: a power of two, so that its times are exact."""

LATE = dict.fromkeys(Since, 1000000000.0)
SITUATIONS = list(product(OpenQuestion, Typed))

# What happens first in each situation, and after how many seconds of silence; "-" is nothing.
# Columns: what was typed last. "search" is a TAB that searches for a question, "empty" an empty
# answer; "clear" is Ctrl-U, which erases the TABs; "withdraw": what looked like a question is not
# answered.
EXPECTED = """
question                       NOTHING       TAB           SECOND_TAB    SEARCH_IN_SILENCE  SEARCH_WHILE_BOOTING  ALL_TRIED     PASSPHRASE
NOTHING_PRINTED                search_5      search_5      search_5      clear_3            clear_3               -             -
NONE                           search_15     search_15     search_15     clear_18           clear_18              -             -
BLANK_LINE                     search_15     search_15     search_15     empty_3            clear_3               -             -
HIDDEN_UNSEEN                  empty_0       empty_0       empty_0       empty_0            empty_0               empty_0       -
NOT_OURS                       -             -             -             clear_18           clear_18              -             -
CLOSED                         -             -             -             -                  -                     -             -
INCOMPLETE                     -             tab_10        clear_withdraw_10  -                  -                     -             -
VISIBLE                        tab_0.1       tab_10        clear_withdraw_10  tab_0.1            tab_0.1               tab_0.1       -
VISIBLE_HINT_CUT               tab_2         tab_10        clear_withdraw_10  tab_2              tab_2                 tab_2         -
HIDDEN                         tab_0.1       secret_0      secret_0      tab_0.1            tab_0.1               tab_0.1       -
HIDDEN_LINE_OPEN               tab_0.1       withdraw_2    withdraw_2    tab_0.1            tab_0.1               tab_0.1       -
HIDDEN_BY_OTHERS               secret_2      tab_10        clear_withdraw_10  secret_2           secret_2              secret_2      -
HIDDEN_BY_OTHERS_OUTPUT_AFTER  empty_2       tab_10        clear_withdraw_10  empty_2            empty_2               empty_2       -
BEFORE_LOSS                    tab_5         tab_10        clear_withdraw_10  tab_5              tab_5                 tab_5         -
BEFORE_LOSS_OUTPUT_AFTER       tab_15        clear_withdraw_18  clear_withdraw_18  tab_15        tab_15                tab_15        -
INITRAMFS                      secret_0.5    secret_0.5    secret_0.5    secret_0.5         secret_0.5            secret_0.5    -
INITRAMFS_OUTPUT_AFTER         secret_2      secret_2      secret_2      secret_2           secret_2              secret_2      -
INITRAMFS_LINE_OPEN            withdraw_4    withdraw_4    withdraw_4    withdraw_4         withdraw_4            withdraw_4    -
"""  # noqa: E501


def expected() -> dict[tuple[OpenQuestion, Typed], str]:
    head, *rows = [line.split() for line in EXPECTED.strip().splitlines()]
    return {
        (OpenQuestion[row[0]], Typed[typed]): cell
        for row in rows
        for typed, cell in zip(head[1:], row[1:], strict=True)
    }


class Bench:
    """A sender whose watcher and console say what the test wants."""

    def __init__(self, tries: Tries = DEFAULT_TRIES) -> None:
        self.ticks = 0
        self.done = ""
        # As a watcher.
        self.open_question = OpenQuestion.NOTHING_PRINTED
        self.prompts_seen = 0
        self.question_line = ""
        self.state = State.PROMPT
        # As a console.
        self.received = self.losses = 0
        self.readable = True
        self.quiet_since = 0
        both: Any = self
        self.sender = PassphraseSender(
            both, both, Secret(b"correct horse"), tries, TextReporter(), lambda: self.now
        )

    @property
    def now(self) -> float:
        return self.ticks / TICKS

    def quiet(self) -> float:
        return (self.ticks - self.quiet_since) / TICKS

    def type(self, data: bytes) -> bool:
        searched = self.open_question in (
            OpenQuestion.NOTHING_PRINTED,
            OpenQuestion.NONE,
            OpenQuestion.BLANK_LINE,
        )
        tab = "search" if searched else "tab"
        self.done += {b"\t": tab, b"\x15\n": "empty", b"\x15": "clear"}[data]
        return True

    def type_secret(self, before: bytes, secret: Secret, after: bytes) -> bool:
        assert (before, after) == (b"\x15", b"\n")
        self.done += "secret"
        return True

    def tab_typed(self) -> None: ...

    def passphrase_typed(self) -> None: ...

    def empty_answer_typed(self) -> None: ...

    def withdraw_question(self) -> None:
        self.done += "_withdraw" if self.done else "withdraw"

    def show(self, question: OpenQuestion) -> None:
        """Have the board open ``question`` now, and print nothing any more."""
        self.open_question = question
        self.question_line += "."
        self.quiet_since = self.ticks
        self.sender.note_output(())

    def first(self, seconds: float = 60.0) -> str:
        """Return what is done first within ``seconds``, and after how many of them."""
        begin, self.done = self.ticks, ""
        while self.ticks - begin <= seconds * TICKS:
            assert self.sender.act() is None
            if self.done:
                return f"{self.done}_{round((self.ticks - begin) / TICKS, 1):g}"
            self.ticks += 1
        return "-"

    def reach(self, typed: Typed) -> None:
        """Have the sender type what ``typed`` says."""
        if typed in (Typed.TAB, Typed.SECOND_TAB, Typed.PASSPHRASE):
            self.show(OpenQuestion.VISIBLE)
            assert self.first() == "tab_0.1"
            if typed is Typed.SECOND_TAB:
                assert self.first() == "tab_10"
            if typed is Typed.PASSPHRASE:
                self.show(OpenQuestion.HIDDEN)
                assert self.first() == "secret_0"
        elif typed is not Typed.NOTHING:
            booting = typed is Typed.SEARCH_WHILE_BOOTING
            self.show(OpenQuestion.NONE if booting else OpenQuestion.NOTHING_PRINTED)
            assert self.first() == ("search_15" if booting else "search_5")
            if typed is Typed.ALL_TRIED:
                assert self.first() == "clear_3"


@pytest.mark.parametrize(("question", "typed"), SITUATIONS)
def test_every_situation(question: OpenQuestion, typed: Typed) -> None:
    bench = Bench()
    bench.reach(typed)
    bench.show(question)
    assert bench.first() == expected()[question, typed]


def test_the_expectation_has_every_situation() -> None:
    assert set(expected()) == set(SITUATIONS)


def test_a_situation_has_at_most_one_rule() -> None:
    counts = Counter(
        (question, typed) for rule in RULES for question in rule.questions for typed in rule.typed
    )
    assert set(counts.values()) == {1}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_applies_from_its_time_on(rule: Any) -> None:
    for question, typed in product(rule.questions, rule.typed):
        assert decide(question, typed, {**LATE, rule.since: rule.seconds}) is rule.action
        if rule.seconds:
            early = {**LATE, rule.since: rule.seconds - 0.001}
            assert decide(question, typed, early) is UnlockAction.WAIT


def late(question: OpenQuestion, typed: Typed) -> UnlockAction:
    return decide(question, typed, LATE)


def test_the_passphrase_goes_only_to_our_question_that_shows_nothing() -> None:
    allowed = {
        (OpenQuestion.HIDDEN, Typed.TAB),
        (OpenQuestion.HIDDEN, Typed.SECOND_TAB),
        (OpenQuestion.HIDDEN_BY_OTHERS, Typed.NOTHING),
        (OpenQuestion.INITRAMFS, Typed.NOTHING),
        (OpenQuestion.INITRAMFS_OUTPUT_AFTER, Typed.NOTHING),
    }
    assert {one for one in SITUATIONS if late(*one) is UnlockAction.PASSPHRASE} == allowed


def test_nothing_is_typed_at_a_question_that_is_not_ours_nor_after_the_end() -> None:
    for question, typed in product((OpenQuestion.NOT_OURS, OpenQuestion.CLOSED), Typed):
        assert late(question, typed) not in TYPING


def test_nothing_is_typed_while_the_verdict_on_the_passphrase_is_awaited() -> None:
    assert {late(question, Typed.PASSPHRASE) for question in OpenQuestion} == {UnlockAction.WAIT}


def test_the_initial_ram_disk_gets_no_tab() -> None:
    for question, typed in SITUATIONS:
        if question.name.startswith("INITRAMFS"):
            assert late(question, typed) not in {UnlockAction.TAB, UnlockAction.SEARCH}


def test_forgetting_what_was_typed_ends() -> None:
    for question in OpenQuestion:
        assert late(question, Typed.NOTHING) is not UnlockAction.FORGET_TYPED


def test_after_the_search_it_begins_again_only_when_something_was_printed() -> None:
    bench = Bench()
    bench.reach(Typed.ALL_TRIED)
    assert bench.first() == "-"
    bench.received += 1
    bench.show(OpenQuestion.NONE)
    assert bench.first() == "search_15"


@pytest.mark.parametrize("question", [one for one in OpenQuestion if one.is_ours])
def test_the_reserved_try_gets_nothing_at_all(question: OpenQuestion) -> None:
    bench = Bench(Tries(2))
    bench.prompts_seen = 2
    bench.show(question)
    reasons = []
    for _ in range(60 * TICKS):
        reasons += [reason] if (reason := bench.sender.act()) else []
        bench.ticks += 1
    assert bench.done.replace("withdraw", "").strip("_") == ""
    assert all("--all-tries" in reason for reason in reasons)
