"""Judging a board: every check by its judge, with waivers and what lies beside the benchmark."""

from collections.abc import Mapping, Sequence

from bootwright.audit.checks import containers, daemon, files, host, images, swarm
from bootwright.audit.checks.findings import findings
from bootwright.audit.model import Check, Checked, Finding, Judge, Subject, Waiver
from bootwright.audit.waivers import waiver_of

JUDGES: Mapping[str, Judge] = {
    **host.JUDGES,
    **daemon.JUDGES,
    **files.JUDGES,
    **images.JUDGES,
    **containers.JUDGES,
    **swarm.JUDGES,
}
"""Who judges a check, by its id."""


def evaluate(
    subject: Subject, checks: Sequence[Check], waivers: Sequence[Waiver], target: str
) -> tuple[tuple[Checked, ...], tuple[Finding, ...]]:
    """Return every check with its judgement, in their order, and the findings.

    Args:
        subject: the board and the profile.
        checks: those of the benchmark; all of them are judged.
        waivers: for any target.
        target: the board's name here.
    """
    checked = tuple(
        Checked(check, JUDGES[check.id](subject), waiver_of(waivers, check.id, target))
        for check in checks
    )
    results = {one.check.id: one.judgement for one in checked}
    return checked, findings(subject, results)
