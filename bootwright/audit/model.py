"""The types of an audit: checks, evaluations, waivers and findings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from bootwright.audit.checks.namespaces import NamespaceOwners
from bootwright.audit.facts import AuditFacts
from bootwright.core.toml_model import StrictModel
from bootwright.hosts.profile import Profile

CheckResult = Literal["pass", "warn", "info", "manual", "waived", "skipped"]
"""``info``: there is nothing to evaluate (no such file, no container), or what was found is not
wrong. ``manual``: only a person can decide. ``waived``: a warn for which a waiver is in force.
``skipped``: it could not be evaluated; the evidence says why."""

RESULTS: tuple[CheckResult, ...] = ("pass", "warn", "info", "manual", "waived", "skipped")

Owner = Literal["host", "daemon", "run", "image", "manual", "swarm"]
"""Who can make a check pass: the administrator of the host, of the daemon or of the swarm, the user
who runs a container or builds an image; ``manual``: a person has to decide."""


class BenchmarkCheck(StrictModel):
    """A check of the benchmark, as docker-bench-security 1.6.0 numbers it.

    Attributes:
        id: like ``5.12``.
        title: what the benchmark requires, in one line.
        scored: whether it counts for the score.
        owner: who can make it pass.
        remedy: what to do, in one line.
        step: the step of ``inv provision`` that does it; empty if none does.
        aliases: the ids of the same check in other versions of the benchmark.
    """

    id: Annotated[str, Field(pattern=r"^[1-8](\.\d{1,2}){1,2}$")]
    title: Annotated[str, Field(min_length=10)]
    scored: bool = True
    owner: Owner
    remedy: Annotated[str, Field(min_length=10)]
    step: str = ""
    aliases: Mapping[str, tuple[str, ...]] = {}

    @property
    def section(self) -> str:
        """The number before the first point of the id."""
        return self.id.partition(".")[0]


class Waiver(StrictModel):
    """A check that is not met on purpose, until a given day.

    If ``targets`` is left out, it is for all targets; an empty list is an error. With
    ``containers`` or ``images`` it is only for these: names, or shell patterns such as ``nginx:*``;
    a container is also found by the image that it runs.
    """

    check: str
    targets: Annotated[tuple[str, ...], Field(min_length=1)] = ()
    containers: Annotated[tuple[str, ...], Field(min_length=1)] = ()
    images: Annotated[tuple[str, ...], Field(min_length=1)] = ()
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=20)]
    expires: date


@dataclass(frozen=True)
class Item:
    """The evaluation of one container, image, path or rule of a check."""

    subject: str
    result: CheckResult
    evidence: str


@dataclass(frozen=True)
class Evaluation:
    """The result of a check, with the evidence; ``items`` are those of each container or path."""

    result: CheckResult
    evidence: str
    items: tuple[Item, ...] = ()


@dataclass(frozen=True)
class Subject:
    """The input of an evaluation: the facts, and the profile with the values that are right.

    ``trusted_user``: the user who may control Docker besides root, by the target's configuration.
    """

    facts: AuditFacts
    profile: Profile
    trusted_user: str | None = None

    @cached_property
    def owners(self) -> NamespaceOwners:
        """The owners of the namespaces that the containers are in."""
        return NamespaceOwners(self.facts.containers or ())


Evaluator = Callable[[Subject], Evaluation]


@dataclass(frozen=True)
class Checked:
    """A check with its evaluation, and its waiver, which may have expired."""

    check: BenchmarkCheck
    evaluation: Evaluation
    waiver: Waiver | None = None


@dataclass(frozen=True)
class Finding:
    """A danger that the checks of the benchmark do not detect.

    ``checks`` are the checks that pass although there is this danger. ``subjects`` are the
    containers, users or addresses that it is about; empty if it is about the whole board.
    """

    id: str
    title: str
    evidence: str
    remedy: str
    checks: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()


def short(text: str, most: int = 300) -> str:
    """Return at most ``most`` characters of a board's text, for use in evidence."""
    return text if len(text) <= most else f"{text[:most]}…"


def worst_of(items: tuple[Item, ...], good: str, nothing: str) -> Evaluation:
    """Return the evaluation of a check whose result is the worst result of its items.

    Args:
        items: the evaluated containers, images, paths or rules.
        good: the evidence if all items pass.
        nothing: the evidence if there are no items; the result is then ``info``.
    """
    if not items:
        return Evaluation("info", nothing)
    worse: tuple[CheckResult, ...] = ("warn", "skipped", "info")
    for result in worse:
        bad = tuple(item for item in items if item.result == result)
        if bad:
            names = ", ".join(short(item.subject, 100) for item in bad[:3])
            more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
            text = {item.evidence for item in bad}
            evidence = text.pop() if len(text) == 1 else f"{len(bad)} of {len(items)}"
            return Evaluation(result, f"{names}{more}: {evidence}", items)
    return Evaluation("pass", good, items)
