"""An audit against a former one: what counts as better and worse, and files that are none."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from bootwright.audit.benchmark import load_checks
from bootwright.audit.checks.evaluate import evaluate
from bootwright.audit.command import AuditResults, failure
from bootwright.audit.facts import AuditFacts
from bootwright.audit.model import BenchmarkCheck, Checked, CheckResult
from bootwright.audit.report.compare import (
    Comparison,
    RecordedAudit,
    compare,
    load_baseline,
    parse_baseline,
)
from bootwright.audit.result import AuditResult, as_document
from bootwright.core.errors import InputError
from bootwright.core.paths import checkout
from tests.support.auditcontainers import container, restricted
from tests.support.auditfacts import DAEMON_JSON, HARDENED_INFO, mute, provisioned, stock, subject
from tests.support.auditresults import (
    FINDING,
    HOST,
    TODAY,
    audit,
    checked,
    item,
    of_all_kinds,
    unreachable,
    waiver,
)
from tests.support.auditresults import check as made_check
from tests.support.schemas import check_document

KINDS = ("improved", "worse", "other")


CHECKS = load_checks(checkout() / "checks" / "cis-docker")


def insecure(network: str) -> dict[str, Any]:
    return {**HARDENED_INFO, "RegistryConfig": {"InsecureRegistryCIDRs": [network]}}


def check(scored: bool) -> BenchmarkCheck:
    return made_check("4.9", scored=scored)


def evaluated(facts: AuditFacts) -> AuditResult:
    checks, findings = evaluate(subject(facts), CHECKS, (), "board")
    return AuditResult("board", TODAY, HOST, checks, findings)


def _recorded(before: AuditResult) -> RecordedAudit:
    return parse_baseline(json.loads(json.dumps(as_document(before))), "x").target(before.target)


def _compared(before: Checked, after: Checked) -> Comparison:
    return compare(_recorded(audit(before)), audit(after))


def _kind(found: Comparison) -> str:
    kinds = [kind for kind in KINDS if getattr(found, kind)]
    assert len(kinds) + found.unchanged == 1
    return kinds[0] if kinds else "unchanged"


def _of(result: CheckResult) -> Checked:
    if result == "waived":
        return checked("2.12", "warn", waiver=waiver("2.12", date(2030, 1, 1)))
    return checked("2.12", result)


ORDER: tuple[CheckResult, ...] = ("pass", "info", "manual", "waived", "skipped", "warn")
TABLE = {
    # after:  pass       info        manual      waived       skipped      warn
    "pass": ("unchanged", "other", "worse", "other", "worse", "worse"),
    "info": ("improved", "unchanged", "other", "other", "worse", "worse"),
    "manual": ("improved", "other", "unchanged", "other", "worse", "worse"),
    "waived": ("improved", "other", "other", "unchanged", "other", "worse"),
    "skipped": ("improved", "other", "other", "other", "unchanged", "other"),
    "warn": ("improved", "improved", "improved", "other", "worse", "unchanged"),
}


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (before, after, kind)
        for before, kinds in TABLE.items()
        for after, kind in zip(ORDER, kinds, strict=True)
    ],
)
def test_direction_of_every_change(before: CheckResult, after: CheckResult, kind: str) -> None:
    found = _compared(_of(before), _of(after))
    assert _kind(found) == kind
    if kind != "unchanged":
        (change,) = getattr(found, kind)
        assert (change.id, change.before, change.after) == ("2.12", before, after)


def test_new_item_that_warns_is_a_regression_of_a_check_that_warned_before() -> None:
    before = checked("5.11", "warn", item("web"), item("db", "pass"))
    found = _compared(before, checked("5.11", "warn", item("web"), item("db"), item("job")))
    (change,) = found.worse
    assert change.items == ("db", "job")
    assert [(one.subject, one.result) for one in found.new] == [("job", "warn")]
    assert found.gone == ()


def test_an_item_that_is_gone_or_passes_now_is_not_a_regression() -> None:
    before = checked("5.11", "warn", item("web"), item("db"), item("job", "pass"))
    found = _compared(before, checked("5.11", "warn", item("db"), item("new", "pass")))
    assert _kind(found) == "unchanged"
    assert [(one.check, one.subject) for one in found.gone] == [("5.11", "web"), ("5.11", "job")]
    assert [one.subject for one in found.new] == ["new"]


def test_item_of_a_waived_check_is_no_regression() -> None:
    here = waiver("5.11", date(2030, 1, 1))
    before = checked("5.11", "warn", item("web"), waiver=here)
    found = _compared(before, checked("5.11", "warn", item("web"), item("db"), waiver=here))
    assert _kind(found) == "unchanged"
    assert [one.subject for one in found.new] == ["db"]


def test_a_subject_that_occurs_twice_warns_if_one_of_them_does() -> None:
    twice = (item("web", "warn"), item("web", "pass"))
    before = checked("5.14", "warn", *twice)
    assert _kind(_compared(before, checked("5.14", "warn", *twice[::-1]))) == "unchanged"


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        # The subject is still there, and is held to less.
        (checked("5.18", "pass", item("web", "pass")), ("info", item("web", "info")), "worse"),
        (checked("1.1.2", "pass"), ("info", item("mallory", "info")), "worse"),
        (checked("2.8", "pass"), ("info", item("default-ulimits", "info")), "worse"),
        (checked("5.18", "pass", item("web", "pass")), ("info", item("db", "info")), "worse"),
        (
            checked("5.18", "info", item("web", "info"), item("db", "pass")),
            ("info", item("web", "info"), item("db", "info")),
            "worse",
        ),
        (
            checked("3.8", "warn", item("a"), item("b", "pass")),
            ("warn", item("a"), item("b", "skipped")),
            "worse",
        ),
        # No container runs any more, or what runs was never evaluated better.
        (checked("5.18", "pass", item("web", "pass")), ("info",), "other"),
        (checked("5.18", "info", item("web", "info")), ("info", item("db", "info")), "unchanged"),
        (checked("5.18", "info"), ("info", item("web", "info")), "unchanged"),
        (checked("6.1", "info", item("a", "info")), ("info", item("b", "info")), "unchanged"),
        (checked("5.18", "warn", item("web")), ("info", item("web", "info")), "improved"),
    ],
)
def test_a_check_that_passed_and_has_items_now(
    before: Checked, after: tuple[Any, ...], kind: str
) -> None:
    result, *items = after
    assert _kind(_compared(before, checked(before.check.id, result, *items))) == kind


def _with(*findings: tuple[str, ...]) -> AuditResult:
    """Return an audit with findings: the id of each, and what it is about."""
    made = tuple(replace(FINDING, id=name, subjects=tuple(about)) for name, *about in findings)
    return audit(_of("pass"), findings=made)


@pytest.mark.parametrize(
    ("before", "after", "new", "gone"),
    [
        ([], [("no-logs", "web")], [("no-logs", "web")], []),
        ([], [("second-daemon",)], [("second-daemon",)], []),
        ([("no-logs", "web")], [("no-logs", "web", "db")], [("no-logs", "db")], []),
        ([("no-logs", "web", "db")], [("no-logs", "web")], [], []),
        ([("no-logs", "web")], [("rootless",)], [("rootless",)], [("no-logs", "web")]),
        ([("rootless",)], [("rootless",)], [], []),
    ],
)
def test_findings_are_compared_too(
    before: list[tuple[str, ...]],
    after: list[tuple[str, ...]],
    new: list[tuple[str, ...]],
    gone: list[tuple[str, ...]],
) -> None:
    found = compare(_recorded(_with(*before)), _with(*after))
    assert [(one.id, *one.subjects) for one in found.found] == new
    assert [(one.id, *one.subjects) for one in found.mended] == gone
    document = as_document(_with(*after), found.as_json())
    check_document("audit", document)
    assert [row["id"] for row in document["comparison"]["findings"]["new"]] == [
        one[0] for one in new
    ]


REGRESSIONS: list[tuple[str, AuditFacts, AuditFacts, str]] = [
    ("1.1.2", provisioned(), provisioned(docker_group=("mallory",)), "mallory"),
    ("2.8", provisioned(), provisioned(daemon_json={**DAEMON_JSON, "default-ulimits": {}}), ""),
    ("2.1", provisioned(engine_owner=1000), provisioned(), ""),
    (
        *("5.18", provisioned(containers=(restricted(),))),
        *(provisioned(containers=(restricted(devices=("/dev/mem",)),)), "web"),
    ),
    (
        *("2.5", provisioned(info=insecure("10.0.0.1/32"))),
        *(provisioned(info=insecure("0.0.0.0/0")), "0.0.0.0/0"),
    ),
    (
        *("2.7", provisioned(flags=("dockerd", "-H", "tcp://127.0.0.1:2375"))),
        *(provisioned(flags=("dockerd", "-H", "tcp://0.0.0.0:2375")), "tcp://0.0.0.0:2375"),
    ),
    # Nobody knows any more.
    ("5.11", stock(containers=(container(),)), mute(stock()), ""),
]


@pytest.mark.parametrize(("check", "before", "after", "item"), REGRESSIONS)
def test_a_board_that_got_worse(
    check: str, before: AuditFacts, after: AuditFacts, item: str
) -> None:
    was, now = evaluated(before), evaluated(after)
    found = compare(_recorded(was), now)
    change = next(one for one in found.worse if one.id == check)
    assert not item or item in change.items
    why, code = failure(AuditResults((now,), {"board": found}), "regression")
    assert (code, why.startswith("got worse: board: ")) == (4, True)
    assert failure(AuditResults((was,), {"board": compare(_recorded(was), was)}), "regression") == (
        "",
        0,
    )


def test_a_board_that_can_no_longer_be_evaluated_is_a_regression() -> None:
    silent = audit(checked("5.4", "skipped"), checked("4.9", "skipped", of=check(scored=False)))
    assert failure(AuditResults((silent,)), "warn") == (
        "checks warn, or could not be evaluated: odroid: 1 (5.4)",
        4,
    )
    unscored = audit(checked("4.9", "skipped", of=check(scored=False)))
    assert failure(AuditResults((unscored,)), "warn")[1] == 0
    assert failure(AuditResults((silent,)), "never") == ("", 0)
    both = audit(*silent.checks, checked("5.9", "warn"))
    assert failure(AuditResults((both,)), "warn")[0].endswith("odroid: 2 (5.9, 5.4)")


def test_a_new_finding_is_a_regression() -> None:
    now = _with(("second-daemon",))
    found = compare(_recorded(_with()), now)
    assert failure(AuditResults((now,), {"odroid": found}), "regression") == (
        "got worse: odroid: 1 (second-daemon)",
        4,
    )


def test_scores_are_of_both_days() -> None:
    before = replace(audit(_of("warn"), checked("1.1.1", "warn")), day=date(2026, 11, 20))
    found = compare(_recorded(before), audit(_of("pass"), checked("1.1.1", "info")))
    assert (found.since, found.before.score, found.after.score) == ("2026-11-20", -2, 1)
    assert found.before.max_score == found.after.max_score == 2
    assert found.sections["2"].counts["warn"] == 1
    assert found.as_json()["score"] == {"before": -2, "after": 1}


def test_ids_of_another_version_are_not_compared() -> None:
    former = replace(of_all_kinds(), benchmark="cis-docker-1.11.0")
    with pytest.raises(InputError, match=r"odroid is by cis-docker-1\.11\.0.*--benchmark 1\.11\.0"):
        compare(_recorded(former), of_all_kinds())
    assert compare(_recorded(former), former).worse == ()


def test_a_baseline_of_several_targets_is_used_by_name(tmp_path: Path) -> None:
    file = tmp_path / "before.json"
    boards = AuditResults((of_all_kinds("one"), of_all_kinds("two"), unreachable("shelf")))
    file.write_text(json.dumps(boards.document(), indent=2), encoding="utf-8")
    baseline = load_baseline(file)
    assert baseline.target("two").target == "two"
    found = compare(baseline.target("one"), of_all_kinds("one"))
    assert found.unchanged == len(of_all_kinds().checks)
    with pytest.raises(InputError, match=r"before\.json: no audit of three; .*: one, two, shelf"):
        baseline.target("three")
    with pytest.raises(InputError, match=r"before\.json: shelf could not be audited then"):
        baseline.target("shelf")


def _without(key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda found: {name: value for name, value in found.items() if name != key}


def _in_check(**values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda found: found | {"checks": [found["checks"][0] | values]}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda found: [found], "not a document of inv audit --json"),
        (lambda found: "x", "not a document of inv audit --json"),
        (lambda found: found | {"schema": "bootwright.status/1"}, "not a document of inv audit"),
        (lambda found: found | {"benchmark": "cis-k8s-1.6.0"}, "benchmark: .*cis-docker-"),
        (_without("checks"), "checks: "),
        (_without("target"), "target: "),
        (_without("findings"), "findings: "),
        (lambda found: found | {"date": "yesterday"}, "date: "),
        (lambda found: found | {"checks": {}}, "checks: "),
        (_in_check(result="failed"), r"checks\.0\.result: .*'pass'"),
        (_in_check(id="9.9"), r"checks\.0\.id: "),
        (_in_check(scored=1), r"checks\.0\.scored: "),
        (_in_check(items=[{"subject": "web"}]), r"checks\.0\.items\.0\.result: "),
        (lambda found: {"schema": found["schema"], "targets": {}}, "targets: not an array"),
        (lambda found: {"schema": found["schema"], "targets": [7]}, r"targets\.0: "),
        (lambda found: {"schema": found["schema"], "targets": [{}]}, r"targets\.0: .*target: "),
    ],
)
def test_wrong_baseline_names_file_and_fault(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], Any], message: str
) -> None:
    file = tmp_path / "before.json"
    file.write_text(json.dumps(spoil(as_document(of_all_kinds()))), encoding="utf-8")
    with pytest.raises(InputError, match=rf"(?s)before\.json: .*{message}"):
        load_baseline(file)


def test_deeply_nested_json_is_not_an_audit(tmp_path: Path) -> None:
    file = tmp_path / "before.json"
    deep = '{"schema": "bootwright.audit/1", "x": ' + "[" * 800 + "]" * 800 + "}"
    file.write_text(deep, encoding="utf-8")
    with pytest.raises(InputError, match=r"before\.json: (too many nested objects|not JSON)"):
        load_baseline(file)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_baseline_that_is_not_json_is_reported(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "before.json"
    file.write_bytes(text)
    with pytest.raises(InputError, match=r"before\.json: not JSON: "):
        load_baseline(file)


def test_a_missing_baseline_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read it: No such file"):
        load_baseline(tmp_path / "before.json")
