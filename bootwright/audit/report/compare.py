"""Comparing an audit with an earlier one of the same board."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from bootwright.audit.model import CheckResult, Finding, Item
from bootwright.audit.result import FAMILY, SCHEMA, AuditResult, Tally, tallies, tally
from bootwright.core.errors import InputError
from bootwright.core.toml_model import StrictModel, check_table


class _Read(StrictModel):
    # Only the keys for a comparison are read; the schema describes the whole document.
    model_config = ConfigDict(extra="ignore")


class RecordedItem(_Read):
    """An item of a check in the JSON document."""

    subject: str
    result: CheckResult


class RecordedCheck(_Read):
    """A check in the JSON document."""

    id: Annotated[str, Field(pattern=r"^[1-8](\.\d{1,2}){1,2}$")]
    title: str
    section: str
    result: CheckResult
    scored: bool
    items: tuple[RecordedItem, ...]


class RecordedFinding(_Read):
    """A finding in the JSON document."""

    id: str
    title: str
    subjects: tuple[str, ...]


class RecordedAudit(_Read):
    """The earlier audit of a target, in the JSON document."""

    schema_: Annotated[Literal["bootwright.audit/1"], Field(alias="schema")]
    benchmark: Annotated[str, Field(pattern=r"^cis-docker-\d+(\.\d+)+$")]
    target: str
    date: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]
    checks: tuple[RecordedCheck, ...]
    findings: tuple[RecordedFinding, ...]


@dataclass(frozen=True)
class Baseline:
    """Earlier audits, by target, and the file that they are from."""

    where: str
    targets: Mapping[str, RecordedAudit]

    def target(self, name: str) -> RecordedAudit:
        """Return the earlier audit of a target.

        Raises:
            InputError: the file has no audit of it, or it could not be audited then.
        """
        if name not in self.targets:
            known = ", ".join(self.targets) or "none"
            raise InputError(f"{self.where}: no audit of {name}; it has: {known}")
        if not self.targets[name].checks:
            raise InputError(f"{self.where}: {name} could not be audited then; nothing to compare")
        return self.targets[name]


def load_baseline(path: Path) -> Baseline:
    """Return the audits in a file with the output of ``inv audit --json``.

    Raises:
        InputError: the file cannot be read, or is not such a document (says what is wrong).
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot read it: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    return parse_baseline(found, str(path))


def parse_baseline(found: object, where: str) -> Baseline:
    """Return the audits of a JSON document, of one target or of several.

    Args:
        found: the document.
        where: its name, for error messages.

    Raises:
        InputError: it is not a ``bootwright.audit/1``, or a key is wrong or missing.
    """
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise InputError(f'{where}: not a document of inv audit --json ("schema": "{SCHEMA}")')
    rows = found.get("targets", [found])
    if not isinstance(rows, list):
        raise InputError(f"{where}: targets: not an array")
    targets: dict[str, RecordedAudit] = {}
    for number, row in enumerate(rows):
        place = f"{where}: targets.{number}" if "targets" in found else where
        try:
            recorded = check_table(RecordedAudit, row, place)
        except RecursionError:
            raise InputError(f"{place}: too many nested objects") from None
        targets[recorded.target] = recorded
    return Baseline(where, targets)


@dataclass(frozen=True)
class CheckChange:
    """A check whose result has changed, or of which an item got worse.

    ``items`` are the subjects of the items that got worse: see :func:`_is_worse`.
    """

    id: str
    title: str
    before: CheckResult
    after: CheckResult
    items: tuple[str, ...] = ()


@dataclass(frozen=True)
class ItemChange:
    """An item that is new or gone: the id of its check, its subject, and its result."""

    check: str
    subject: str
    result: CheckResult


@dataclass(frozen=True)
class FindingChange:
    """A finding that is new or gone, or has more subjects; ``subjects`` are the new ones."""

    id: str
    title: str
    subjects: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """The differences between an earlier audit of a board and this one.

    Attributes:
        since: the day of the earlier audit.
        improved: checks that pass now and did not before, or that warned before and have nothing to
            warn about now.
        worse: regressions: checks that warn now and did not before, that can no longer be
            evaluated, or that passed before and do not pass now although there is something to
            evaluate; also checks with an item for which this is so.
        other: checks with another result that is neither better nor worse, because there is
            nothing to evaluate any more, or there is a new waiver.
        found: findings that are new or have more subjects: these are regressions too.
        mended: findings that are gone.
        new: new items, such as those of a new container.
        gone: items that are gone.
        unchanged: how many checks have not changed.
        before: the tally of the earlier audit.
        after: the tally of this audit.
        sections: the tallies of the earlier audit by section.
    """

    since: str
    improved: tuple[CheckChange, ...]
    worse: tuple[CheckChange, ...]
    other: tuple[CheckChange, ...]
    found: tuple[FindingChange, ...]
    mended: tuple[FindingChange, ...]
    new: tuple[ItemChange, ...]
    gone: tuple[ItemChange, ...]
    unchanged: int
    before: Tally
    after: Tally
    sections: Mapping[str, Tally]

    def as_json(self) -> dict[str, Any]:
        """Return it in the form of the JSON document."""
        return {
            "since": self.since,
            "score": {"before": self.before.score, "after": self.after.score},
            "improved": [_change(change) for change in self.improved],
            "worse": [_change(change) for change in self.worse],
            "other": [_change(change) for change in self.other],
            "findings": {
                "new": [_finding(change) for change in self.found],
                "gone": [_finding(change) for change in self.mended],
            },
            "new": [asdict(item) for item in self.new],
            "gone": [asdict(item) for item in self.gone],
            "unchanged": self.unchanged,
        }


def compare(before: RecordedAudit, after: AuditResult) -> Comparison:
    """Return the differences between an earlier audit of a board and this one.

    A check that is in only one of them is not compared.

    Raises:
        InputError: they are by different versions of the benchmark, with different ids.
    """
    if before.benchmark != after.benchmark:
        raise InputError(
            f"the earlier audit of {after.target} is by {before.benchmark}, this one by"
            f" {after.benchmark}: give --benchmark {before.benchmark.removeprefix(FAMILY)}"
        )
    former = {check.id: check for check in before.checks}
    found: dict[str, list[CheckChange]] = {
        "improved": [],
        "worse": [],
        "other": [],
        "unchanged": [],
    }
    new: list[ItemChange] = []
    gone: list[ItemChange] = []
    for checked in after.checks:
        check = checked.check
        if check.id not in former:
            continue
        was, now = former[check.id], after.result(checked)
        old, here = _by_subject(was.items), _by_subject(checked.evaluation.items)
        new += [ItemChange(check.id, *item) for item in here.items() if item[0] not in old]
        gone += [ItemChange(check.id, *item) for item in old.items() if item[0] not in here]
        worse = tuple(
            subject
            for subject, result in here.items()
            if _is_worse(old.get(subject), result, was.result)
        )
        change = CheckChange(check.id, check.title, was.result, now, worse)
        found[_direction(change)].append(change)
    return Comparison(
        since=before.date,
        improved=tuple(found["improved"]),
        worse=tuple(found["worse"]),
        other=tuple(found["other"]),
        found=tuple(_beyond(after.findings, before.findings)),
        mended=tuple(
            FindingChange(one.id, one.title, one.subjects)
            for one in before.findings
            if one.id not in {finding.id for finding in after.findings}
        ),
        new=tuple(new),
        gone=tuple(gone),
        unchanged=len(found["unchanged"]),
        before=tally((check.result, check.scored) for check in before.checks),
        after=after.summary.total,
        sections=tallies((check.section, check.result, check.scored) for check in before.checks),
    )


_WORST_LAST: tuple[CheckResult, ...] = ("pass", "info", "manual", "waived", "skipped", "warn")


def _by_subject(items: Iterable[RecordedItem | Item]) -> dict[str, CheckResult]:
    # A subject may occur twice, such as a container with two ports; the worst result counts.
    found: dict[str, CheckResult] = {}
    for item in items:
        worst = (found.get(item.subject, "pass"), item.result)
        found[item.subject] = max(worst, key=_WORST_LAST.index)
    return found


def _is_worse(before: CheckResult | None, after: CheckResult, check: CheckResult) -> bool:
    """Return whether an item got worse.

    Args:
        before: its earlier result; ``None`` if it is new.
        after: its result now.
        check: the earlier result of its check.
    """
    if after == before:
        return False
    if after == "warn":
        return True
    if after == "skipped":
        return before is not None
    if after == "info":
        return (before or check) == "pass"
    return False


def _direction(change: CheckChange) -> Literal["improved", "worse", "other", "unchanged"]:
    before, after = change.before, change.after
    if (before, after) == ("skipped", "warn"):
        # It may have been as bad before, for example on a board that had no Docker yet.
        return "other"
    # A waiver accepts all items of a check, so they cannot make it worse.
    if change.items and after != "waived":
        return "worse"
    if before == after:
        return "unchanged"
    if after == "warn" or (after == "skipped" and before != "waived"):
        return "worse"
    # But a pass that became info, without items, only has nothing to evaluate any more.
    if before == "pass" and after == "manual":
        return "worse"
    if after == "pass" or (before == "warn" and after in ("info", "manual")):
        return "improved"
    return "other"


def _beyond(here: Iterable[Finding], before: Iterable[RecordedFinding]) -> Iterable[FindingChange]:
    """Yield the findings that are new or have new subjects."""
    former = {one.id: set(one.subjects) for one in before}
    for finding in here:
        more = tuple(one for one in finding.subjects if one not in former.get(finding.id, ()))
        if more or finding.id not in former:
            yield FindingChange(finding.id, finding.title, more)


def _finding(change: FindingChange) -> dict[str, Any]:
    return {"id": change.id, "title": change.title, "subjects": list(change.subjects)}


def _change(change: CheckChange) -> dict[str, Any]:
    return {
        "id": change.id,
        "title": change.title,
        "before": change.before,
        "after": change.after,
        "items": list(change.items),
    }
