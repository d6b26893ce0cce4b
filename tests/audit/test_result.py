"""The result of an audit: waivers, the score, remedies, and the document."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootwright.audit.command import AuditResults
from bootwright.audit.model import RESULTS, CheckResult
from bootwright.audit.report.compare import compare, parse_baseline
from bootwright.audit.result import (
    as_document,
    evidence_of,
    remedies,
    result_of,
    tally,
    to_act_on,
)
from tests.support.auditresults import (
    TODAY,
    audit,
    check,
    checked,
    hostile,
    item,
    of_all_kinds,
    unreachable,
    waiver,
)
from tests.support.schemas import check_broken_documents, check_document


@pytest.mark.parametrize(
    ("evaluated", "expires", "shown"),
    [
        ("warn", date(2026, 11, 27), "waived"),
        ("warn", TODAY, "waived"),
        ("warn", date(2026, 11, 25), "warn"),
        ("pass", date(2027, 1, 1), "pass"),
        ("skipped", date(2027, 1, 1), "skipped"),
        ("info", date(2027, 1, 1), "info"),
        ("manual", date(2027, 1, 1), "manual"),
    ],
)
def test_a_waiver_hides_a_warn_until_its_last_day(
    evaluated: CheckResult, expires: date, shown: CheckResult
) -> None:
    one = checked("2.12", evaluated, waiver=waiver("2.12", expires))
    assert result_of(one, TODAY) == shown
    assert one.evaluation.result == evaluated
    expired = "as it is (the waiver expired on 2026-11-25)"
    assert evidence_of(one, TODAY) == (expired if expires < TODAY else "as it is")


def test_score_counts_as_docker_bench_over_a_fixed_number() -> None:
    result = of_all_kinds()
    summary = result.summary
    assert summary.total.counts == {
        "pass": 2,
        "warn": 4,
        "info": 1,
        "manual": 1,
        "waived": 1,
        "skipped": 1,
    }
    # Two pass, three scored ones warn; 2.1 and 5.18 are not scored.
    assert (summary.total.score, summary.total.max_score) == (2 - 3, 8)
    assert list(summary.sections) == ["1", "2", "4", "5", "7"]
    assert summary.sections["2"].as_json() == {
        "pass": 0,
        "warn": 2,
        "info": 1,
        "manual": 1,
        "waived": 1,
        "skipped": 0,
        "score": -2,
        "max_score": 4,
    }


@given(st.lists(st.tuples(st.sampled_from(RESULTS), st.booleans())), st.sampled_from(RESULTS))
def test_denominator_does_not_depend_on_results(
    rows: list[tuple[CheckResult, bool]], result: CheckResult
) -> None:
    one, other = tally(rows), tally((result, scored) for _, scored in rows)
    assert one.max_score == other.max_score >= abs(one.score)
    assert sum(one.counts.values()) == len(rows)


def test_remedies_begin_with_provisioning_and_leave_out_waived_checks() -> None:
    found = [
        (remedy.who, remedy.step, [check.id for check in remedy.checks])
        for remedy in remedies(of_all_kinds())
    ]
    assert found == [
        ("inv provision", "daemon", ["2.2"]),
        ("the daemon's configuration", "", ["2.13"]),
        ("flags of docker run", "", ["5.11", "5.18"]),
    ]


def test_to_act_on_leaves_out_checks_that_every_board_meets() -> None:
    other = replace(of_all_kinds("second"), checks=(*of_all_kinds().checks[:-1], checked("7.1")))
    rows = {one.id: came for one, came in to_act_on([of_all_kinds(), other])}
    assert list(rows) == ["2.2", "2.12", "2.13", "5.11", "5.18", "7.1"]
    assert rows["7.1"] == ("skipped", "pass")


def _documents() -> list[tuple[str, dict[str, Any]]]:
    before = as_document(audit(*(replace(one, waiver=None) for one in of_all_kinds().checks[:5])))
    recorded = parse_baseline(before, "before.json").target("odroid")
    compared = compare(recorded, of_all_kinds())
    return [
        ("all kinds", AuditResults((of_all_kinds(),)).document()),
        ("hostile", AuditResults((hostile(),)).document()),
        ("unreachable", AuditResults((unreachable(),)).document()),
        ("several", AuditResults((of_all_kinds(), unreachable())).document()),
        ("none", AuditResults(()).document()),
        ("compared", AuditResults((of_all_kinds(),), {"odroid": compared}).document()),
    ]


@pytest.mark.parametrize(("name", "found"), _documents(), ids=lambda one: str(one)[:12])
def test_the_document_is_valid_by_the_schema(name: str, found: dict[str, Any]) -> None:
    check_broken_documents("audit", check_document("audit", found))


def test_the_document_has_everything_of_a_check() -> None:
    found = as_document(of_all_kinds())
    assert (found["schema"], found["benchmark"]) == ("bootwright.audit/1", "cis-docker-1.6.0")
    assert (found["target"], found["date"], found["seconds"]) == ("odroid", "2026-11-26", 2.3)
    assert found["host"]["engine"] == "20.10.24+dfsg1"
    assert "error" not in found and "comparison" not in found
    rows = {row["id"]: row for row in found["checks"]}
    assert rows["5.11"] == {
        "id": "5.11",
        "title": "Wish 5.11 is met",
        "section": "5",
        "result": "warn",
        "scored": True,
        "evidence": "web: no limit",
        "remedy": "Do what 5.11 wants",
        "owner": "run",
        "step": "",
        "aliases": {"1.11.0": ["5.11"]},
        "items": [
            {"subject": "web", "result": "warn", "evidence": "no limit"},
            {"subject": "db", "result": "pass", "evidence": "256 MiB"},
        ],
    }
    reason = "there is nobody to be kept out"
    assert rows["2.12"]["result"] == "waived"
    assert rows["2.12"]["waiver"] == {"reason": reason, "expires": "2026-11-26", "expired": False}
    assert rows["2.13"]["result"] == "warn"
    assert rows["2.13"]["waiver"]["expired"] is True
    assert "2026-11-25" in rows["2.13"]["evidence"]


def test_document_of_a_board_that_was_not_audited() -> None:
    found = as_document(unreachable())
    assert found["checks"] == [] and found["host"] is None
    assert found["summary"]["max_score"] == 0
    assert found["error"]["exit_code"] == 4
    assert "no SSH server answers" in found["error"]["message"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda found: found | {"extra": 1},
        lambda found: found | {"checks": []},
        lambda found: found | {"host": None},
        lambda found: found | {"benchmark": "cis-k8s-1.6.0"},
        lambda found: found | {"error": {"message": "x", "exit_code": 4}},
        lambda found: found | {"checks": [{**found["checks"][0], "result": "fail"}]},
        lambda found: found | {"checks": [{**found["checks"][0], "more": 1}]},
        lambda found: {"schema": found["schema"], "targets": [{}]},
    ],
)
def test_schema_is_strict(spoil: Any) -> None:
    found = as_document(audit(checked("2.2", "warn", item("x"), of=check("2.2"))))
    check_document("audit", found)
    with pytest.raises(AssertionError):
        check_document("audit", spoil(found))


def test_provisioning_is_not_the_remedy_for_existing_containers() -> None:
    of = check("5.26", owner="run", step="daemon")
    (remedy,) = remedies(audit(checked("5.26", "warn", of=of)))
    assert (remedy.who, remedy.step) == ("flags of docker run", "")
