"""Section 4: images, and the users that containers run as."""

import re
from collections.abc import Callable, Mapping

from bootwright.audit.checks.containers import each_running
from bootwright.audit.checks.engine import why_unknown
from bootwright.audit.inspected import Container, Image
from bootwright.audit.model import Evaluation, Evaluator, Item, Subject, worst_of

NO_IMAGE = "there is no image"

_ROOT = re.compile(r"root|[+-]?0+", re.ASCII)
"""Matches a user's name or id that the engine resolves to root."""


def is_root(user: str) -> bool:
    """Return whether a container's user, like ``www-data`` or ``1000:1000``, is root."""
    name = user.partition(":")[0].strip()
    return not name or _ROOT.fullmatch(name) is not None


def _user(_: Subject, container: Container) -> Evaluation:
    if is_root(container.user):
        return Evaluation("warn", f"user {container.user}" if container.user else "no user is set")
    return Evaluation("pass", f"user {container.user}")


def _content_trust(subject: Subject) -> Evaluation:
    if "docker" not in subject.facts.tools:
        return Evaluation("skipped", "Docker is not installed")
    value = subject.facts.content_trust
    if value == "1":
        return Evaluation("pass", "DOCKER_CONTENT_TRUST=1")
    return Evaluation("warn", f"DOCKER_CONTENT_TRUST is {value or 'not set'}")


def _each_image(evaluate_one: Callable[[Image], Evaluation], good: str) -> Evaluator:
    def evaluate(subject: Subject) -> Evaluation:
        images = subject.facts.images
        if images is None:
            return Evaluation("skipped", why_unknown(subject.facts, "images"))
        evaluated = (
            (image.name, evaluate_one(image)) for image in sorted(images, key=lambda one: one.name)
        )
        items = tuple(Item(name, one.result, one.evidence) for name, one in evaluated)
        return worst_of(items, good, NO_IMAGE)

    return evaluate


def _healthcheck(image: Image) -> Evaluation:
    if image.healthcheck:
        return Evaluation("pass", "HEALTHCHECK")
    return Evaluation("warn", "no HEALTHCHECK")


def _updates(image: Image) -> Evaluation:
    return _counted(image.updates, "updates of package lists without an installation")


def _adds(image: Image) -> Evaluation:
    return _counted(image.adds, "ADD above its base image")


def _counted(count: int | None, what: str) -> Evaluation:
    if count is None:
        return Evaluation("skipped", "its history cannot be read")
    return Evaluation("info" if count else "pass", f"{count} × {what}")


def _by_hand(what: str) -> Evaluator:
    def evaluate(subject: Subject) -> Evaluation:
        images = subject.facts.images
        if images is None:
            return Evaluation("skipped", why_unknown(subject.facts, "images"))
        if not images:
            return Evaluation("info", NO_IMAGE)
        names = sorted(image.name for image in images)
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        return Evaluation("manual", f"{what}: {', '.join(names[:5])}{more}")

    return evaluate


EVALUATORS: Mapping[str, Evaluator] = {
    "4.1": each_running(_user, "no container runs as root"),
    "4.2": _by_hand("decide whether the base image can be trusted"),
    "4.3": _by_hand("decide whether all packages are needed"),
    "4.4": _by_hand("find out when it was last scanned and built"),
    "4.5": _content_trust,
    "4.6": _each_image(_healthcheck, "every image has a HEALTHCHECK"),
    "4.7": _each_image(_updates, "no update of package lists is an instruction of its own"),
    "4.8": _by_hand("find out which setuid and setgid programs it has"),
    "4.9": _each_image(_adds, "no image uses ADD above its base"),
    "4.10": _by_hand("find out whether its layers or its history contain secrets"),
    "4.11": _by_hand("find out where its packages are from"),
    "4.12": _by_hand("find out who verified its signature"),
}
"""By the check's id."""
