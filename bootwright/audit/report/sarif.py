"""An audit as SARIF 2.1.0 (OASIS, with errata 01), which code scanning services read."""

from collections.abc import Sequence
from typing import Any, Literal

from bootwright import __version__
from bootwright.audit.model import BenchmarkCheck, Checked, Finding
from bootwright.audit.result import AuditResult, reason_of

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)

SarifLevel = Literal["error", "warning"]


def sarif(results: Sequence[AuditResult]) -> dict[str, Any]:
    """Return the log: a run for each board.

    All checks and all findings are rules. Each item that warns is a result: an error if the check
    is scored, else a warning; a waived one is suppressed. The run of a board that could not be
    audited is marked as failed.
    """
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(result) for result in results]}


def _run(result: AuditResult) -> dict[str, Any]:
    rules = [_rule(one.check) for one in result.checks]
    rules += [_finding_rule(finding) for finding in result.findings]
    found = [
        row
        for number, checked in enumerate(result.checks)
        for row in _results(number, checked, result)
    ]
    found += [
        _result(len(result.checks) + number, finding.id, "warning", finding.evidence, result)
        for number, finding in enumerate(result.findings)
    ]
    invocation: dict[str, Any] = {"executionSuccessful": result.error is None}
    if result.error is not None:
        message = {"text": _text(str(result.error))}
        invocation["toolExecutionNotifications"] = [{"level": "error", "message": message}]
    return {
        "tool": {"driver": {"name": "Bootwright", "version": __version__, "rules": rules}},
        # The part before the last slash identifies runs of the same kind.
        "automationDetails": {"id": f"{result.benchmark}/{result.target}/"},
        "invocations": [invocation],
        "results": found,
    }


def _rule(check: BenchmarkCheck) -> dict[str, Any]:
    return {
        "id": check.id,
        "shortDescription": {"text": _text(check.title)},
        "help": {"text": _text(check.remedy)},
        "defaultConfiguration": {"level": _level(check)},
        "properties": {"tags": ["security", f"section-{check.section}", check.owner]},
    }


def _finding_rule(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "shortDescription": {"text": _text(finding.title)},
        "help": {"text": _text(finding.remedy)},
        "defaultConfiguration": {"level": "warning"},
        "properties": {"tags": ["security", "finding"]},
    }


def _results(index: int, checked: Checked, result: AuditResult) -> list[dict[str, Any]]:
    check, came = checked.check, result.result(checked)
    if came not in ("warn", "waived"):
        return []
    warns = [item for item in checked.evaluation.items if item.result == "warn"]
    if warns:
        rows = [
            _result(index, check.id, _level(check), item.evidence, result, item.subject)
            for item in warns
        ]
    else:
        rows = [_result(index, check.id, _level(check), result.evidence(checked), result)]
    if came == "waived" and checked.waiver is not None:
        why = f"{reason_of(checked)} (until {checked.waiver.expires})"
        accepted = {"kind": "external", "status": "accepted", "justification": why}
        for row in rows:
            row["suppressions"] = [accepted]
    return rows


def _result(
    index: int, rule: str, level: SarifLevel, evidence: str, result: AuditResult, subject: str = ""
) -> dict[str, Any]:
    place = f"{result.target}/{subject}" if subject else result.target
    message = f"{subject}: {evidence}" if subject else evidence
    return {
        "ruleId": rule,
        "ruleIndex": index,
        "level": level,
        "message": {"text": _text(message)},
        "locations": [
            {
                "logicalLocations": [
                    {
                        "name": subject or result.target,
                        "fullyQualifiedName": place,
                        "kind": "resource",
                    }
                ]
            }
        ],
        "partialFingerprints": {"check/v1": f"{rule}:{place}"},
    }


def _level(check: BenchmarkCheck) -> SarifLevel:
    return "error" if check.scored else "warning"


def _text(text: str) -> str:
    """Return a text without placeholders and links, as SARIF defines them (3.11.5, 3.11.6)."""
    return text.replace("{", "{{").replace("}", "}}").replace("](", "] (")
