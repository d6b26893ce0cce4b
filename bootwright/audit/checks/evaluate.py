"""Evaluating a board: all checks with their waivers, and the findings beside the benchmark."""

from collections.abc import Mapping, Sequence

from bootwright.audit.checks import containers, daemon, files, host, images, swarm
from bootwright.audit.checks.findings import findings
from bootwright.audit.model import BenchmarkCheck, Checked, Evaluator, Finding, Subject, Waiver
from bootwright.audit.waivers import waiver_of

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
    """
    checked = tuple(
        Checked(check, EVALUATORS[check.id](subject), waiver_of(waivers, check.id, target))
        for check in checks
    )
    results = {one.check.id: one.evaluation for one in checked}
    return checked, findings(subject, results)
