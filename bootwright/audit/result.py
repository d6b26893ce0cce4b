"""The result of a board's audit, its score, and who can make the checks pass that warn."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from bootwright.audit.facts import AuditFacts
from bootwright.audit.model import RESULTS, BenchmarkCheck, Checked, CheckResult, Finding, Owner
from bootwright.core.errors import BootwrightError

SCHEMA = "bootwright.audit/1"

FAMILY = "cis-docker-"
"""The beginning of every benchmark's name; the version follows."""

BENCHMARK = f"{FAMILY}1.6.0"

SECTIONS: Mapping[str, str] = {
    "1": "Host configuration",
    "2": "Docker daemon configuration",
    "3": "Docker daemon configuration files",
    "4": "Container images and build files",
    "5": "Container runtime",
    "6": "Docker security operations",
    "7": "Docker swarm configuration",
    "8": "Docker Enterprise configuration",
}
"""The benchmark's chapters, by the number before the first point of an id; 1.2.0 alone has an 8."""

POINTS: Mapping[CheckResult, int] = {"pass": 1, "warn": -1}
"""The points of a scored check by its result; any other result gives 0."""

OWNER_NAMES: Mapping[Owner, str] = {
    "host": "the host's set-up",
    "daemon": "the daemon's configuration",
    "run": "flags of docker run",
    "image": "the image",
    "manual": "a person's decision",
    "swarm": "the swarm's set-up",
}
"""How reports name who can make a check pass, if no step of ``inv provision`` can."""


@dataclass(frozen=True)
class AuditedHost:
    """The board that was audited, as it reports itself; ``engine`` is empty if none answers."""

    name: str
    os: str
    kernel: str
    arch: str
    engine: str


def host_of(facts: AuditFacts) -> AuditedHost:
    """Return the board that the facts are about."""
    return AuditedHost(facts.hostname, facts.os, facts.kernel, facts.arch, facts.engine_version)


@dataclass(frozen=True)
class Tally:
    """How many checks have each result, and the score.

    Of the scored checks, each ``pass`` counts +1 and each ``warn`` -1, as in docker-bench-security,
    so that scores can be compared; every other result, also ``waived``, counts 0.
    ``max_score`` is the number of scored checks (90 of the 117 of 1.6.0), whatever their
    results are, so that two audits always have the same denominator.
    """

    counts: Mapping[CheckResult, int]
    score: int
    max_score: int

    def as_json(self) -> dict[str, int]:
        """Return it in the form of the JSON document."""
        counts: dict[str, int] = {str(result): count for result, count in self.counts.items()}
        return counts | {"score": self.score, "max_score": self.max_score}


def tally(rows: Iterable[tuple[CheckResult, bool]]) -> Tally:
    """Return the tally of ``rows``, each a result and whether its check is scored."""
    rows = tuple(rows)
    results = [result for result, _ in rows]
    scored = [result for result, is_scored in rows if is_scored]
    return Tally(
        counts={result: results.count(result) for result in RESULTS},
        score=sum(POINTS.get(result, 0) for result in scored),
        max_score=len(scored),
    )


def tallies(rows: Iterable[tuple[str, CheckResult, bool]]) -> dict[str, Tally]:
    """Return the tally of each section of ``rows``, each a section, a result and whether scored."""
    sections: dict[str, list[tuple[CheckResult, bool]]] = {}
    for section, result, scored in rows:
        sections.setdefault(section, []).append((result, scored))
    return {section: tally(found) for section, found in sections.items()}


@dataclass(frozen=True)
class AuditSummary:
    """The tally of all checks, and that of each section."""

    total: Tally
    sections: Mapping[str, Tally]


@dataclass(frozen=True)
class AuditResult:
    """The result of the audit of one board.

    Attributes:
        target: its name in ``bootwright.toml``.
        day: the day of the audit; it decides which waivers have expired.
        host: the board as it reports itself; ``None`` if it could not be audited.
        checks: in the benchmark's order; empty if it could not be audited.
        findings: dangers that the benchmark does not detect.
        seconds: how long it took.
        error: why the board could not be audited; ``None`` if it could.
        benchmark: the benchmark of the checks.
    """

    target: str
    day: date
    host: AuditedHost | None = None
    checks: tuple[Checked, ...] = ()
    findings: tuple[Finding, ...] = ()
    seconds: float = 0.0
    error: BootwrightError | None = None
    benchmark: str = BENCHMARK

    def result(self, checked: Checked) -> CheckResult:
        """Return the result of a check on the day of the audit."""
        return result_of(checked, self.day)

    def evidence(self, checked: Checked) -> str:
        """Return the evidence of a check; it mentions a waiver that has expired."""
        return evidence_of(checked, self.day)

    @property
    def version(self) -> str:
        """The benchmark's version."""
        return self.benchmark.removeprefix(FAMILY)

    @property
    def summary(self) -> AuditSummary:
        """The numbers of results and the score; all are 0 for a board that could not be audited."""
        rows = [(one.check.section, self.result(one), one.check.scored) for one in self.checks]
        return AuditSummary(tally((result, scored) for _, result, scored in rows), tallies(rows))

    def having(self, *results: CheckResult) -> tuple[Checked, ...]:
        """Return the checks that have one of these results."""
        return tuple(one for one in self.checks if self.result(one) in results)


def result_of(checked: Checked, today: date) -> CheckResult:
    """Return a check's result for the report: ``waived`` for a warn with a waiver in force.

    A waiver is in force to the end of its last day. It changes no other result than a warn.
    """
    waiver, result = checked.waiver, checked.evaluation.result
    if result == "warn" and waiver is not None and today <= waiver.expires:
        return "waived"
    return result


def evidence_of(checked: Checked, today: date) -> str:
    """Return a check's evidence; for a warn it mentions a waiver that has expired."""
    waiver, evaluation = checked.waiver, checked.evaluation
    if evaluation.result == "warn" and waiver is not None and waiver.expires < today:
        return f"{evaluation.evidence} (the waiver expired on {waiver.expires})"
    return evaluation.evidence


@dataclass(frozen=True)
class Remedy:
    """Who can make which checks pass; ``step`` is a step of ``inv provision``, or empty."""

    who: str
    step: str
    checks: tuple[BenchmarkCheck, ...]


def step_of(check: BenchmarkCheck) -> str:
    """Return the step of ``inv provision`` that makes a check pass; empty if none does.

    A step that sets defaults of containers does not change containers that exist already.
    """
    return "" if check.owner in ("run", "image") else check.step


def remedies(result: AuditResult) -> tuple[Remedy, ...]:
    """Return who can make the checks pass that warn: first ``inv provision``, then other owners."""
    found: dict[tuple[str, str], list[BenchmarkCheck]] = {}
    warns = [one.check for one in result.having("warn")]
    for check in sorted(warns, key=lambda check: not step_of(check)):
        who = "inv provision" if step_of(check) else OWNER_NAMES[check.owner]
        found.setdefault((who, step_of(check)), []).append(check)
    return tuple(Remedy(who, step, tuple(checks)) for (who, step), checks in found.items())


def to_act_on(
    results: Sequence[AuditResult],
) -> tuple[tuple[BenchmarkCheck, tuple[CheckResult, ...]], ...]:
    """Return the checks that at least one board does not meet, with the result on each board.

    Args:
        results: the audits of the boards, all with the same checks.
    """
    rows = []
    for same in zip(*(result.checks for result in results), strict=True):
        came = tuple(result.result(one) for result, one in zip(results, same, strict=True))
        if not set(came) <= {"pass", "info", "manual"}:
            rows.append((same[0].check, came))
    return tuple(rows)


def as_document(result: AuditResult, comparison: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the JSON document of one target, as ``docs/schemas/audit-1.json`` describes it.

    Args:
        result: the audit of the target.
        comparison: with an earlier audit, as returned by its ``as_json()``.
    """
    summary = result.summary
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "benchmark": result.benchmark,
        "target": result.target,
        "date": result.day.isoformat(),
        "host": asdict(result.host) if result.host is not None else None,
        "summary": {
            **summary.total.as_json(),
            "sections": {name: one.as_json() for name, one in summary.sections.items()},
        },
        "checks": [_check(one, result) for one in result.checks],
        "findings": [
            {
                "id": finding.id,
                "title": finding.title,
                "evidence": finding.evidence,
                "remedy": finding.remedy,
                "checks": list(finding.checks),
                "subjects": list(finding.subjects),
            }
            for finding in result.findings
        ],
        "seconds": round(result.seconds, 1),
    }
    if comparison is not None:
        document["comparison"] = dict(comparison)
    if result.error is not None:
        error = {"message": str(result.error), "exit_code": result.error.exit_code}
        document["error"] = error
    return document


def _check(checked: Checked, result: AuditResult) -> dict[str, Any]:
    check, waiver = checked.check, checked.waiver
    row: dict[str, Any] = {
        "id": check.id,
        "title": check.title,
        "section": check.section,
        "result": result.result(checked),
        "scored": check.scored,
        "evidence": result.evidence(checked),
        "remedy": check.remedy,
        "owner": check.owner,
        "step": check.step,
        "aliases": {benchmark: list(ids) for benchmark, ids in check.aliases.items()},
        "items": [asdict(item) for item in checked.evaluation.items],
    }
    if waiver is not None:
        row["waiver"] = {
            "reason": reason_of(checked),
            "expires": waiver.expires.isoformat(),
            "expired": waiver.expires < result.day,
        }
    return row


def reason_of(checked: Checked) -> str:
    """Return the reason of a waiver in one line; empty without a waiver."""
    return " ".join(checked.waiver.reason.split()) if checked.waiver is not None else ""
