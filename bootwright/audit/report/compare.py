"""An audit against a former one of the same board: what got better, worse, came, and went."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from bootwright.audit.model import Finding, Item, Result
from bootwright.audit.result import FAMILY, SCHEMA, AuditResult, Tally, tallies, tally
from bootwright.core.errors import InputError
from bootwright.core.toml_model import StrictModel, check_table


class _Read(StrictModel):
    # Only what a comparison needs is read; the schema describes the whole document.
    model_config = ConfigDict(extra="ignore")


class RecordedItem(_Read):
    """An item of a check, as a document has it."""

    subject: str
    result: Result


class RecordedCheck(_Read):
    """A check, as a document has it."""

    id: Annotated[str, Field(pattern=r"^[1-8](\.\d{1,2}){1,2}$")]
    title: str
    section: str
    result: Result
    scored: bool
    items: tuple[RecordedItem, ...]


class RecordedFinding(_Read):
    """A finding beside the benchmark, as a document has it."""

    id: str
    title: str
    subjects: tuple[str, ...]


class Recorded(_Read):
    """A target's former audit."""

    schema_: Annotated[Literal["bootwright.audit/1"], Field(alias="schema")]
    benchmark: Annotated[str, Field(pattern=r"^cis-docker-\d+(\.\d+)+$")]
    target: str
    date: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]
    checks: tuple[RecordedCheck, ...]
    findings: tuple[RecordedFinding, ...]


@dataclass(frozen=True)
class Baseline:
    """Former audits, by target, and the file that they are from."""

    where: str
    targets: Mapping[str, Recorded]

    def target(self, name: str) -> Recorded:
        """Return the former audit of a target.

        Raises:
            InputError: the file does not mention it, or it could not be audited then.
        """
        if name not in self.targets:
            has = ", ".join(self.targets) or "none"
            raise InputError(f"{self.where}: no audit of {name}; those it has: {has}")
        if not self.targets[name].checks:
            raise InputError(f"{self.where}: {name} could not be audited then; nothing to compare")
        return self.targets[name]


def load_baseline(path: Path) -> Baseline:
    """Return the audits of a document that ``inv audit --json`` printed.

    Raises:
        InputError: the file cannot be read or is no such document; names it and what is wrong.
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
        where: names it in an error.

    Raises:
        InputError: it is no ``bootwright.audit/1``, or has a wrong or missing key.
    """
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise InputError(f'{where}: no document of inv audit --json ("schema": "{SCHEMA}")')
    rows = found.get("targets", [found])
    if not isinstance(rows, list):
        raise InputError(f"{where}: targets: no array")
    targets: dict[str, Recorded] = {}
    for number, row in enumerate(rows):
        place = f"{where}: targets.{number}" if "targets" in found else where
        try:
            recorded = check_table(Recorded, row, place)
        except RecursionError:
            raise InputError(f"{place}: tables in tables without end") from None
        targets[recorded.target] = recorded
    return Baseline(where, targets)


@dataclass(frozen=True)
class CheckChange:
    """A check whose result is another one, or of which an item got worse.

    ``items`` are the subjects that got worse: see :func:`_is_worse`.
    """

    id: str
    title: str
    before: Result
    after: Result
    items: tuple[str, ...] = ()


@dataclass(frozen=True)
class ItemChange:
    """An item that came or went: its check, what it is, and its result."""

    check: str
    subject: str
    result: Result


@dataclass(frozen=True)
class FindingChange:
    """A finding that came or went, or that is about more; ``subjects``: what it was not about."""

    id: str
    title: str
    subjects: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """What became of a board since a former audit.

    Attributes:
        since: the day of the former audit.
        improved: checks that pass and did not, or that warned and have nothing to warn of now.
        worse: regressions: checks that warn and did not, that can no longer be evaluated, that
            passed and do not although there is something to evaluate, or that have an item of which
            the same can be said.
        other: checks whose result is another one, and neither better nor worse: there is nothing
            to evaluate any more, or a waiver came.
        found: findings that were not there, or were about less: regressions too.
        mended: findings that are no longer there.
        new: items that were not there, such as a container's.
        gone: items that are no longer there.
        unchanged: how many checks are as they were.
        before: the former tally.
        after: the present one.
        sections: the former tallies by section.
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
        """Return it as the document has it."""
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


def compare(before: Recorded, after: AuditResult) -> Comparison:
    """Return what became of a board since a former audit.

    A check that either does not mention is not compared.

    Raises:
        InputError: they are by other versions of the benchmark, whose ids mean other checks.
    """
    if before.benchmark != after.benchmark:
        raise InputError(
            f"the former audit of {after.target} is by {before.benchmark}, this one by"
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


_WORST_LAST: tuple[Result, ...] = ("pass", "info", "manual", "waived", "skipped", "warn")


def _by_subject(items: Iterable[RecordedItem | Item]) -> dict[str, Result]:
    # A subject may be there twice, as a container with two ports; the worst of it counts.
    found: dict[str, Result] = {}
    for item in items:
        worst = (found.get(item.subject, "pass"), item.result)
        found[item.subject] = max(worst, key=_WORST_LAST.index)
    return found


def _is_worse(before: Result | None, after: Result, check: Result) -> bool:
    """Tell whether an item got worse.

    Args:
        before: what it was; ``None`` if it was not there.
        after: what it is.
        check: what its check was.
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
        # It may have been as bad before; as on a board that had no Docker yet.
        return "other"
    # What is waived as a whole has been accepted, its items too: they make nothing worse.
    if change.items and after != "waived":
        return "worse"
    if before == after:
        return "unchanged"
    if after == "warn" or (after == "skipped" and before != "waived"):
        return "worse"
    # Whereas a pass that became info, with no item, has nothing to evaluate any more.
    if before == "pass" and after == "manual":
        return "worse"
    if after == "pass" or (before == "warn" and after in ("info", "manual")):
        return "improved"
    return "other"


def _beyond(here: Iterable[Finding], before: Iterable[RecordedFinding]) -> Iterable[FindingChange]:
    """Yield the findings that were not there, or are about what they were not about."""
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
