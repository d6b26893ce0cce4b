"""What ``inv provision`` returns: how it ended for each target."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bootwright.core.errors import BootwrightError
from bootwright.core.file_changes import Change, Removal
from bootwright.core.result import to_json
from bootwright.hosts.board_files import BoardFiles
from bootwright.hosts.profile import ProfileWaiver
from bootwright.provision.plan import ProvisionPlan
from bootwright.provision.steps import Step, diff_of

SCHEMA = "bootwright.provision/1"


@dataclass(frozen=True)
class StepResult:
    """A step: whether it changed anything, its diff, and the checks that pass with it."""

    name: str
    changed: bool
    diff: str = ""
    checks: tuple[str, ...] = ()
    says: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProvisionResult:
    """How it ended for one target.

    Attributes:
        target: its name.
        planned: nothing was done; the steps are what would be.
        steps: in order.
        restarted: ``docker.service`` and ``board``, as far as they were.
        rolled_back: the change was put back.
        versions: of Docker's ``client`` and ``server``.
        seconds: it took.
        warnings: what an operator should act on.
        waived: checks that are left unmet on purpose.
        error: why it failed; ``None`` if it did not.
    """

    target: str
    planned: bool = False
    steps: tuple[StepResult, ...] = ()
    restarted: tuple[str, ...] = ()
    rolled_back: bool = False
    versions: Mapping[str, str | None] = field(default_factory=dict)
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    waived: tuple[ProfileWaiver, ...] = ()
    error: BootwrightError | None = None

    @property
    def ok(self) -> bool:
        """Whether it did not fail."""
        return self.error is None

    @property
    def changed(self) -> tuple[StepResult, ...]:
        """The steps that changed something, or would."""
        return tuple(step for step in self.steps if step.changed)

    def as_json(self) -> dict[str, Any]:
        """Return the target's part of the document; ``changed`` counts steps."""
        changed = len(self.changed)
        document: dict[str, Any] = {
            "target": self.target,
            "planned": self.planned,
            "changed": changed,
            "unchanged": len(self.steps) - changed,
            "steps": to_json(self.steps),
            "restarted": list(self.restarted),
            "rolled_back": self.rolled_back,
            "versions": dict(self.versions),
            "seconds": round(self.seconds, 1),
            "warnings": list(self.warnings),
            "waived": [
                {"checks": list(waiver.checks), "reason": waiver.reason} for waiver in self.waived
            ],
        }
        if self.error is not None:
            document["error"] = {"message": str(self.error), "exit_code": self.error.exit_code}
        return document

    def summary(self) -> str:
        """Return the result in a line."""
        if self.error is not None:
            return str(self.error)
        changed = [step.name for step in self.changed]
        if self.planned:
            return f"would change {', '.join(changed)}" if changed else "nothing to do"
        did = f"changed {', '.join(changed)}" if changed else "nothing to do"
        restarted = f"; restarted {' and '.join(self.restarted)}" if self.restarted else ""
        client, server = self.versions.get("client"), self.versions.get("server")
        docker = f"; Docker {server} (client {client})" if server else ""
        return f"{did}{restarted}{docker} ({self.seconds:.1f} s)"


@dataclass(frozen=True)
class ProvisionResults:
    """How it ended for all targets.

    Attributes:
        targets: one result each, in the order of the command line.
        exit_code: of the whole: 0, or that of the gravest failure.
        diff: the lines show a unified diff of every file.
    """

    targets: tuple[ProvisionResult, ...]
    exit_code: int = 0
    diff: bool = False

    def document(self) -> dict[str, Any]:
        """Return them as one JSON document."""
        return {"schema": SCHEMA, "targets": [result.as_json() for result in self.targets]}

    def lines(self) -> list[str]:
        """Return what was planned or done as lines for a person.

        None for a target that failed: its error is printed on standard error.
        """
        lines: list[str] = []
        for result in (result for result in self.targets if result.ok):
            if result.planned or self.diff:
                lines += plan_lines(result, self.diff)
            if not result.planned:
                lines.append(f"{result.target}: {result.summary()}")
            lines += [
                f"  left unmet: {', '.join(waiver.checks)}: {' '.join(waiver.reason.split())}"
                for waiver in (result.waived if result.planned or result.changed else ())
            ]
        return lines


def step_results(plan: ProvisionPlan, files: BoardFiles) -> tuple[StepResult, ...]:
    """Return the plan's steps as results, with their diffs against the board's files."""
    # Whether the clock is wrong is not in the plan: the run sets it as soon as it sees it.
    results = [StepResult("clock", False)]
    says = (plan.packages.describe(),) if plan.packages else ()
    results.append(StepResult("packages", plan.packages is not None, says=says))
    says = (f"restart the board: {plan.reboot}",) if plan.reboot else ()
    results.append(StepResult("reboot", bool(plan.reboot), says=says))
    results += [
        StepResult(step.name, step.changed, diff_of(files, step), step.checks, _says(step))
        for step in plan.steps
    ]
    return tuple(results)


def _says(step: Step) -> tuple[str, ...]:
    return (*(_line(change) for change in step.changes), *step.says)


def _line(change: Change) -> str:
    verb = "remove" if isinstance(change, Removal) else "write"
    return f"{verb} {change.path}"


def plan_lines(result: ProvisionResult, diff: bool) -> list[str]:
    """Return a plan, or what was done, as lines for a person."""
    lines = [f"{result.target}:"]
    for number, step in enumerate(result.changed, 1):
        checks = f" [{', '.join(step.checks)}]" if step.checks else ""
        lines.append(f"  {number}. {step.name}{checks}")
        lines += [f"     {line}" for line in step.says]
        if diff:
            lines += [f"     {line}" for line in step.diff.splitlines()]
    unchanged = [step.name for step in result.steps if not step.changed]
    if not result.changed:
        lines.append("  nothing to do")
    elif unchanged:
        lines.append(f"  as it should be: {', '.join(unchanged)}")
    return lines
