"""Section 1: the file system of Docker's data, the users who control Docker, audit rules.

Sources: docker-bench-security 1.6.0.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath

from bootwright.audit.checks import watches
from bootwright.audit.checks.engine import security_option
from bootwright.audit.checks.settings import InForce, configured, evaluate_in_force, why_no_engine
from bootwright.audit.facts import AuditFacts
from bootwright.audit.model import Evaluation, Evaluator, Item, Subject, worst_of


def separate_partition(subject: Subject) -> Evaluation:
    """1.1.1: images and containers are on a separate file system."""
    facts = subject.facts
    setting = configured(facts, "data-root")
    root, in_force = (facts.info or {}).get("DockerRootDir"), None
    if isinstance(root, str) and root:
        if security_option(facts, "userns") is not None:
            # With user remapping, the engine reports the folder UID.GID below data-root.
            root = str(PurePosixPath(root).parent)
        missing = _why_not_separate(facts, root)
        evidence = f"{root} is {missing or 'a mount point'} (docker info)"
        agrees = root == str(PurePosixPath(str(setting.value)))
        in_force = InForce(evidence, not missing, agrees)
    return evaluate_in_force(
        facts, setting, not _why_not_separate(facts, str(setting.value)), in_force
    )


def _why_not_separate(facts: AuditFacts, folder: str) -> str:
    """Return why a folder is not on a separate file system; empty if it is."""
    device = facts.mounts.get(str(PurePosixPath(folder)))
    if device is None:
        return "not a mount point"
    same = device == facts.mounts.get("/")
    return "a mount point of the root file system itself" if same else ""


def trusted_users(subject: Subject) -> Evaluation:
    """1.1.2: only the trusted user is in the group docker, whose members have root's rights.

    If the target has no trusted user, the members are listed. If the socket belongs to another
    group, the members of that group count too.
    """
    members, trusted = subject.facts.docker_group, subject.trusted_user
    if members is None:
        return Evaluation("info", "there is no group docker")
    if not members:
        return Evaluation("pass", "nobody is in the group docker")
    if trusted is None:
        text = f"in the group docker: {', '.join(members)}"
        return Evaluation(
            "info", text, tuple(Item(name, "info", "in the group docker") for name in members)
        )
    items = tuple(_member(name, trusted) for name in members)
    return worst_of(items, f"in the group docker: {trusted}, whom the target trusts", "")


def _member(name: str, trusted: str) -> Item:
    if name == trusted:
        return Item(name, "pass", "the target's trusted user")
    return Item(name, "warn", "in the group docker, and not the target's trusted user")


def hardened(subject: Subject) -> Evaluation:
    """1.2.1: a person has to decide whether the host is hardened."""
    facts = subject.facts
    return Evaluation("manual", f"{facts.os or 'an unnamed distribution'}, Linux {facts.kernel}")


def up_to_date(subject: Subject) -> Evaluation:
    """1.2.2: the board cannot know whether its version is the newest."""
    version = subject.facts.engine_version
    if not version:
        return Evaluation("skipped", why_no_engine(subject.facts))
    return Evaluation("manual", f"the engine is {version}; compare it with the distribution's")


EVALUATORS: Mapping[str, Evaluator] = {
    "1.1.1": separate_partition,
    "1.1.2": trusted_users,
    **watches.EVALUATORS,
    "1.2.1": hardened,
    "1.2.2": up_to_date,
}
