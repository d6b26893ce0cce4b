"""Converting a result to the ids of another version of the benchmark."""

from dataclasses import replace

from bootwright.audit.benchmark import OURS, BenchmarkEntry, View
from bootwright.audit.model import BenchmarkCheck, Checked, CheckResult, Evaluation
from bootwright.audit.result import AuditResult

_WORST_FIRST: tuple[CheckResult, ...] = ("warn", "skipped", "manual", "waived", "info", "pass")


def viewed(result: AuditResult, view: View) -> AuditResult:
    """Return a result with the ids of another version, in the order of that version.

    A recommendation that corresponds to several checks gets the worst of their results; one that
    corresponds to none is ``info``, and its evidence is the reason.
    """
    if view.benchmark == OURS:
        return result
    by_id = {one.check.id: one for one in result.checks}
    return replace(
        result,
        benchmark=f"cis-docker-{view.benchmark}",
        findings=tuple(
            replace(finding, checks=_ids(view, finding.checks)) for finding in result.findings
        ),
        checks=tuple(
            _checked(entry, [by_id[check] for check in entry.checks], result)
            for entry in view.entry
        )
        if by_id
        else (),
    )


def _ids(view: View, checks: tuple[str, ...]) -> tuple[str, ...]:
    """Return the ids of checks in a version."""
    return tuple(entry.id for entry in view.entry if set(entry.checks) & set(checks))


def _checked(entry: BenchmarkEntry, parts: list[Checked], result: AuditResult) -> Checked:
    if not parts:
        check = BenchmarkCheck(
            id=entry.id,
            title=entry.title,
            scored=entry.scored is True,
            owner="manual",
            remedy="Nothing to do: this recommendation has no counterpart today",
        )
        return Checked(check, Evaluation("info", entry.note or "no counterpart today"))
    worst = min(parts, key=lambda one: _WORST_FIRST.index(result.result(one)))
    items = tuple(item for one in parts for item in one.evaluation.items)
    check = worst.check.model_copy(
        update={
            "id": entry.id,
            "title": entry.title,
            # If it is not known whether a version scores this, our checks decide.
            "scored": any(one.check.scored for one in parts)
            if entry.scored is None
            else entry.scored,
            "aliases": {OURS: entry.checks},
        }
    )
    return Checked(check, replace(worst.evaluation, items=items), worst.waiver)
