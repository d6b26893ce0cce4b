"""What an audit says: checks, evaluations, findings, and a whole board's result."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from bootwright.audit.checks.namespaces import Owners
from bootwright.audit.facts import AuditFacts
from bootwright.core.toml_model import StrictModel
from bootwright.hosts.profile import Profile

Result = Literal["pass", "warn", "info", "manual", "waived", "skipped"]
"""``info``: there is nothing to evaluate (no such file, no container), or what was found is not
wrong. ``manual``: only a person can decide. ``waived``: a warn for which a waiver is in force.
``skipped``: it could not be evaluated; the evidence says why."""

RESULTS: tuple[Result, ...] = ("pass", "warn", "info", "manual", "waived", "skipped")

Owner = Literal["host", "daemon", "run", "image", "manual", "swarm"]
"""Who can make a check pass: the host's set-up, the daemon's, who runs a container, who builds an
image, a person's evaluation, who sets a swarm up."""


class Check(StrictModel):
    """A check of the benchmark, as docker-bench-security 1.6.0 numbers it.

    Attributes:
        id: like ``5.12``.
        title: what the benchmark asks for, in one line.
        scored: it counts for the score.
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
        """The number before the first point."""
        return self.id.partition(".")[0]


class Waiver(StrictModel):
    """A check that is left unmet on purpose, until a day.

    ``targets``: left out, it is for all of them; an empty list would be a mistake.
    """

    check: str
    targets: Annotated[tuple[str, ...], Field(min_length=1)] = ()
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=20)]
    expires: date


@dataclass(frozen=True)
class Item:
    """The evaluation of one container, image, path or rule of a check."""

    subject: str
    result: Result
    evidence: str


@dataclass(frozen=True)
class Evaluation:
    """What was found, and what shows it. ``items``: for each container, image or path."""

    result: Result
    evidence: str
    items: tuple[Item, ...] = ()


@dataclass(frozen=True)
class Subject:
    """What is evaluated: the facts, and the profile that says what right is.

    ``trusted_user``: whom the target lets control Docker besides root.
    """

    facts: AuditFacts
    profile: Profile
    trusted_user: str | None = None

    @cached_property
    def owners(self) -> Owners:
        """Whose namespaces the containers are in."""
        return Owners(self.facts.containers or ())


Evaluator = Callable[[Subject], Evaluation]


@dataclass(frozen=True)
class Checked:
    """A check with its evaluation, and the waiver that is in force for it or has expired."""

    check: Check
    evaluation: Evaluation
    waiver: Waiver | None = None


@dataclass(frozen=True)
class Finding:
    """Something that no check of the benchmark sees, or that passes one and is not safe.

    ``checks`` are those that pass in spite of it. ``subjects`` are the containers, users or
    addresses that it is about; none if it is about the board.
    """

    id: str
    title: str
    evidence: str
    remedy: str
    checks: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()


def short(text: str, most: int = 300) -> str:
    """Return a board's text for use as evidence, where it may be quoted more than once."""
    return text if len(text) <= most else f"{text[:most]}…"


def worst_of(items: tuple[Item, ...], good: str, nothing: str) -> Evaluation:
    """Return the evaluation of a check that is the worst of its items.

    Args:
        items: one for each that is evaluated.
        good: the evidence if all of them are right.
        nothing: the evidence if there are none, which is ``info``.
    """
    if not items:
        return Evaluation("info", nothing)
    worse: tuple[Result, ...] = ("warn", "skipped", "info")
    for result in worse:
        bad = tuple(item for item in items if item.result == result)
        if bad:
            names = ", ".join(short(item.subject, 100) for item in bad[:3])
            more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
            text = {item.evidence for item in bad}
            evidence = text.pop() if len(text) == 1 else f"{len(bad)} of {len(items)}"
            return Evaluation(result, f"{names}{more}: {evidence}", items)
    return Evaluation("pass", good, items)
