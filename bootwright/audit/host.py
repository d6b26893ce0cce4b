"""Section 1: the host's volume, who controls Docker, and what the kernel records.

Sources: docker-bench-security 1.6.0; auditctl(8).
"""

from collections.abc import Mapping
from functools import partial
from pathlib import PurePosixPath

from bootwright.audit.model import Item, Judge, Judgement, Result, Subject, judged
from bootwright.audit.settings import InForce, configured, judge_in_force, silence
from bootwright.facts.audithost import AuditFacts
from bootwright.profile import Watch

AUDITED = tuple(f"1.1.{number}" for number in range(3, 19))
"""Checks that want a path watched; which one, the profile says."""


def separate_partition(subject: Subject) -> Judgement:
    """1.1.1: images and containers lie on a file system of their own."""
    facts = subject.facts
    setting = configured(facts, "data-root")
    root, in_force = (facts.info or {}).get("DockerRootDir"), None
    if isinstance(root, str) and root:
        if "name=userns" in ((facts.info or {}).get("SecurityOptions") or ()):
            # The engine's folder is one of the user's numbers below data-root then.
            root = str(PurePosixPath(root).parent)
        there = _is_mount(facts, root)
        evidence = f"{root} is {'a' if there else 'no'} mount point (docker info)"
        in_force = InForce(evidence, there, root == str(PurePosixPath(str(setting.value))))
    return judge_in_force(facts, setting, _is_mount(facts, str(setting.value)), in_force)


def _is_mount(facts: AuditFacts, folder: str) -> bool:
    return str(PurePosixPath(folder)) in facts.mounts


def trusted_users(subject: Subject) -> Judgement:
    """1.1.2: the group docker, whose members are root by another name, holds nobody else.

    Without a trusted user there is nothing to compare with: the members are told.
    """
    members, trusted = subject.facts.docker_group, subject.trusted_user
    if members is None:
        return Judgement("info", "there is no group docker")
    if not members:
        return Judgement("pass", "nobody is in the group docker")
    if trusted is None:
        return Judgement("info", f"in the group docker: {', '.join(members)}")
    items = tuple(_member(name, trusted) for name in members)
    return judged(items, f"in the group docker: {trusted}, whom the target trusts", "")


def _member(name: str, trusted: str) -> Item:
    if name == trusted:
        return Item(name, "pass", "the target's trusted user")
    return Item(name, "warn", "in the group docker, and not the target's trusted user")


def hardened(subject: Subject) -> Judgement:
    """1.2.1: whether the host is hardened, a person has to judge."""
    facts = subject.facts
    return Judgement("manual", f"{facts.os or 'an unnamed distribution'}, Linux {facts.kernel}")


def up_to_date(subject: Subject) -> Judgement:
    """1.2.2: whether the version is the newest, the board cannot know."""
    version = subject.facts.engine_version
    if not version:
        return Judgement("skipped", silence(subject.facts))
    return Judgement("manual", f"the engine is {version}; compare it with the distribution's")


def watched(subject: Subject, check: str) -> Judgement:
    """1.1.3 to 1.1.18: each of the check's paths that is there has a rule of its own."""
    facts = subject.facts
    wishes = [
        (watch, path)
        for watch in subject.profile.audit.watch
        if check in watch.checks
        for path in watch.paths
    ]
    if unseen := unlisted(facts):
        return Judgement("skipped", unseen)
    items = tuple(_watch(facts, watch, path) for watch, path in wishes if path in facts.modes)
    good = "; ".join(item.evidence for item in items)
    return judged(items, good, f"not there: {', '.join(path for _, path in wishes)}")


def unlisted(facts: AuditFacts) -> str:
    """Return why it is not known which files are there; empty if it is."""
    missing = not facts.modes and bool(facts.tools & {"docker", "dockerd"})
    return "owners and modes of files were not told" if missing else ""


def _watch(facts: AuditFacts, watch: Watch, path: str) -> Item:
    def item(result: Result, evidence: str) -> Item:
        return Item(path, result, evidence)

    if facts.root and "auditctl" not in facts.tools:
        return item("warn", "auditd is not installed: nothing is recorded")
    if facts.audit is None:
        return item("skipped", _no_rules(facts))
    if not facts.audit_on:
        return item("warn", "recording is switched off (auditctl -s: enabled 0)")
    rules = [rule for rule in facts.audit if rule.covers(path, "")]
    if any(rule.covers(path, watch.permissions) for rule in rules):
        return item("pass", f"-w {path} -p {watch.permissions}")
    if not rules:
        return item("warn", f"no rule; wanted: -w {path} -p {watch.permissions}")
    found = ", ".join(
        "".join(letter for letter in "rwxa" if letter in rule.permissions) for rule in rules
    )
    return item("warn", f"-w {path} -p {found}; wanted: -p {watch.permissions}")


def _no_rules(facts: AuditFacts) -> str:
    if not facts.root:
        return "auditctl tells the rules to root only"
    return "auditctl does not tell the rules: does the kernel have AUDIT?"


JUDGES: Mapping[str, Judge] = {
    "1.1.1": separate_partition,
    "1.1.2": trusted_users,
    **{check: partial(watched, check=check) for check in AUDITED},
    "1.2.1": hardened,
    "1.2.2": up_to_date,
}
