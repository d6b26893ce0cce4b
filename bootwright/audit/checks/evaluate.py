"""Evaluating a board: all checks with their waivers, and the findings beside the benchmark."""

from collections.abc import Mapping, Sequence

from bootwright.audit.checks import containers, daemon, files, host, images, swarm
from bootwright.audit.checks.findings import findings
from bootwright.audit.model import (
    BenchmarkCheck,
    Checked,
    Evaluator,
    Finding,
    Subject,
    Waiver,
    short,
)
from bootwright.audit.waivers import waiver_of
from bootwright.core.errors import InputError

EVALUATORS: Mapping[str, Evaluator] = {
    **host.EVALUATORS,
    **daemon.EVALUATORS,
    **files.EVALUATORS,
    **images.EVALUATORS,
    **containers.EVALUATORS,
    **swarm.EVALUATORS,
}
"""The function that evaluates each check, by the check's id."""


def evaluate(
    subject: Subject, checks: Sequence[BenchmarkCheck], waivers: Sequence[Waiver], target: str
) -> tuple[tuple[Checked, ...], tuple[Finding, ...]]:
    """Return every check with its evaluation, in their order, and the findings.

    Args:
        subject: the board and the profile.
        checks: those of the benchmark; all of them are evaluated.
        waivers: for any target.
        target: the board's name here.

    Raises:
        InputError: the benchmark has a check that no function evaluates.
    """
    for check in checks:
        if check.id not in EVALUATORS:
            raise InputError(
                f"check {check.id} has no evaluator: add one in bootwright/audit/checks, to"
                " EVALUATORS of the module of its section"
            )
    checked = tuple(_checked(subject, check, waivers, target) for check in checks)
    results = {one.check.id: one.evaluation for one in checked}
    return checked, findings(subject, results)


def _checked(
    subject: Subject, check: BenchmarkCheck, waivers: Sequence[Waiver], target: str
) -> Checked:
    evaluation = EVALUATORS[check.id](subject)
    images = {short(one.name): one.image for one in subject.facts.containers or ()}
    warned = {
        item.subject: images.get(item.subject) for item in evaluation.items if item.result == "warn"
    }
    return Checked(check, evaluation, waiver_of(waivers, check.id, target, warned))
