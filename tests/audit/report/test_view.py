"""A result in another version's numbering: nothing that warns is lost, and nothing is invented."""

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootwright.audit.benchmark import (
    OURS,
    BenchmarkEntry,
    View,
    benchmarks,
    load_checks,
    load_view,
)
from bootwright.audit.checks.evaluate import evaluate
from bootwright.audit.model import Checked, CheckResult, Evaluation, Finding, Item, Waiver
from bootwright.audit.report.view import viewed
from bootwright.audit.result import AuditResult
from bootwright.core.errors import FailedError
from bootwright.core.paths import checkout
from tests.support.auditfacts import stock, subject
from tests.support.auditresults import TODAY, checked

ROOT = checkout() / "checks" / "cis-docker"
CHECKS = load_checks(ROOT)
VERSIONS = [one for one in benchmarks(ROOT) if one != OURS]
EVALUATED: tuple[CheckResult, ...] = ("pass", "warn", "info", "manual", "skipped")


def whole(waivers: tuple[Waiver, ...] = ()) -> AuditResult:
    ways, findings = evaluate(subject(stock()), CHECKS, waivers, "board")
    return AuditResult("board", TODAY, checks=ways, findings=findings)


def view(*entries: BenchmarkEntry) -> View:
    return View(benchmark="9.9", name="a test's", source="nowhere", entry=entries)


def entry(number: str, *checks: str, scored: bool | None = True, note: str = "") -> BenchmarkEntry:
    title = f"The recommendation with number {number}"
    return BenchmarkEntry(id=number, title=title, scored=scored, checks=checks, note=note)


def results(result: AuditResult) -> dict[str, CheckResult]:
    return {one.check.id: result.result(one) for one in result.checks}


def test_the_view_of_our_own_version_changes_nothing() -> None:
    before = whole()
    assert viewed(before, load_view(ROOT, OURS)) is before


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_shows_its_recommendations_in_its_order(version: str) -> None:
    known = load_view(ROOT, version)
    shown = viewed(whole(), known)
    assert shown.benchmark == f"cis-docker-{version}"
    assert [one.check.id for one in shown.checks] == [one.id for one in known.entry]
    assert [one.check.title for one in shown.checks] == [one.title for one in known.entry]
    # What a finding refers to is in the list that is shown.
    ids = {one.check.id for one in shown.checks}
    assert {check for finding in shown.findings for check in finding.checks} <= ids


@pytest.mark.parametrize("version", VERSIONS)
def test_every_warn_with_an_id_in_a_version_is_shown(version: str) -> None:
    before = whole()
    warns = {one.check.id for one in before.checks if before.result(one) == "warn"}
    assert warns
    known = load_view(ROOT, version)
    expected = {one.id for one in known.entry if warns & set(one.checks)}
    shown = results(viewed(before, known))
    assert {check for check, came in shown.items() if came == "warn"} == expected


@given(st.lists(st.sampled_from(EVALUATED), min_size=1, max_size=4))
def test_several_checks_are_as_good_as_their_worst(came: list[CheckResult]) -> None:
    numbers = [f"5.{at}" for at in range(1, len(came) + 1)]
    items = tuple(Item(number, one, "seen") for number, one in zip(numbers, came, strict=True))
    parts = tuple(
        checked(number, one, item) for number, one, item in zip(numbers, came, items, strict=True)
    )
    (shown,) = viewed(
        AuditResult("board", TODAY, checks=parts), view(entry("3.1", *numbers))
    ).checks
    worst = next(one for one in ("warn", "skipped", "manual", "info", "pass") if one in came)
    assert shown.evaluation.result == worst
    assert shown.evaluation.items == items
    assert shown.check.aliases == {OURS: tuple(numbers)}


@pytest.mark.parametrize(
    ("days", "came"), [(date(2099, 1, 1), "waived"), (date(2020, 1, 1), "warn")]
)
def test_a_waiver_is_kept_in_a_view(days: date, came: CheckResult) -> None:
    waived = replace(
        checked("2.2", "warn"),
        waiver=Waiver(check="2.2", reason="Nobody else is on this board.", expires=days),
    )
    parts = (waived, checked("2.3", "pass"), checked("2.4", "warn"))
    before = AuditResult("board", TODAY, checks=parts)
    assert results(viewed(before, view(entry("1.1", "2.2", "2.3")))) == {"1.1": came}
    # A warn beside a waived one is still one.
    assert results(viewed(before, view(entry("1.1", "2.2", "2.4")))) == {"1.1": "warn"}


def test_a_recommendation_without_a_counterpart_is_info() -> None:
    before = AuditResult("board", TODAY, checks=(checked("2.2", "pass"),))
    shown = viewed(before, view(entry("1.1", note="Gone since."), entry("1.2")))
    assert [(one.evaluation.result, one.evaluation.evidence) for one in shown.checks] == [
        ("info", "Gone since."),
        ("info", "no counterpart today"),
    ]
    assert shown.summary.total.max_score == 2
    assert shown.summary.total.score == 0


@pytest.mark.parametrize(
    ("scored", "ours", "scores"),
    [(True, False, True), (False, True, False), (None, True, True), (None, False, False)],
)
def test_a_version_decides_what_it_scores(scored: bool | None, ours: bool, scores: bool) -> None:
    part = checked("2.2", "warn")
    part = Checked(part.check.model_copy(update={"scored": ours}), Evaluation("warn", "so"))
    (shown,) = viewed(
        AuditResult("board", TODAY, checks=(part,)), view(entry("1.1", "2.2", scored=scored))
    ).checks
    assert shown.check.scored is scores


def test_a_finding_has_all_ids_of_its_checks() -> None:
    finding = Finding("icc", "Containers reach each other", "icc", "Set it", ("2.2", "5.30"))
    before = AuditResult("board", TODAY, checks=(checked("2.2"), checked("5.30")))
    shown = viewed(
        replace(before, findings=(finding,)),
        view(entry("1.1", "2.2"), entry("1.2", "5.30", "2.2"), entry("1.3")),
    )
    assert shown.findings[0].checks == ("1.1", "1.2")


def test_a_board_that_was_not_audited_has_no_checks() -> None:
    failed = AuditResult("board", TODAY, error=FailedError("it is off"))
    shown = viewed(failed, load_view(ROOT, "1.11.0"))
    assert (shown.checks, shown.benchmark) == ((), "cis-docker-1.11.0")
    assert shown.error is failed.error
