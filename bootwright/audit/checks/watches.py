"""Audit rules of the kernel: checks 1.1.3 to 1.1.18; auditctl(8), audit.rules(7)."""

import shlex
from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from types import MappingProxyType

from bootwright.audit.facts import AuditFacts
from bootwright.audit.model import CheckResult, Evaluation, Evaluator, Item, Subject, worst_of
from bootwright.hosts.audit_rules import recorded, resolved, rules_for
from bootwright.hosts.profile import Watch

AUDITED = tuple(f"1.1.{number}" for number in range(3, 19))
"""The checks of watched paths; the profile has the paths."""

_LISTS = ("task", "exit", "filesystem", "exclude")
"""The lists of rules in which a rule with ``never`` may switch off a watch."""

_RECORDS = ("SYSCALL", "PATH", "1300", "1302")
"""The record types of a watched path: linux/audit.h."""


def watched(subject: Subject, check: str) -> Evaluation:
    """1.1.3 to 1.1.18: each existing path of the check is watched by a rule."""
    facts = subject.facts
    watches = [
        (watch, path)
        for watch in subject.profile.audit.watch
        if check in watch.checks
        for path in watch.paths
    ]
    if unseen := unlisted(facts):
        return Evaluation("skipped", unseen)
    items = tuple(_watch(facts, watch, path) for watch, path in watches if path in facts.modes)
    good = "; ".join(item.evidence for item in items)
    return worst_of(items, good, f"not there: {', '.join(path for _, path in watches)}")


def unlisted(facts: AuditFacts) -> str:
    """Return why it is not known which files exist; empty if it is known."""
    missing = not facts.modes and "dockerd" in facts.tools
    return "owners and modes of files could not be read" if missing else ""


def _watch(facts: AuditFacts, watch: Watch, path: str) -> Item:
    def item(result: CheckResult, evidence: str) -> Item:
        return Item(path, result, evidence)

    if facts.root and "auditctl" not in facts.tools:
        return item("warn", "auditd is not installed: nothing is recorded")
    if facts.audit is None:
        return item("skipped", _no_rules(facts))
    if not facts.audit_on:
        return item("warn", "recording is switched off (auditctl -s: enabled 0)")
    if not facts.audit_pid:
        return item("warn", "auditd, which stores the records, does not run (auditctl -s)")
    rules = rules_for(facts.audit, path, facts.same_folders)
    found = recorded(rules, facts.arch)
    if found >= set(watch.permissions):
        folders = facts.same_folders
        never = next(
            (one for one in facts.audit_never if silences(one, watch, path, folders)), None
        )
        if never is not None:
            return item("warn", f"-w {path} -p {watch.permissions}, but: {never}")
        return item("pass", f"-w {path} -p {watch.permissions}")
    if not rules:
        return item("warn", f"no rule; wanted: -w {path} -p {watch.permissions}")
    letters = "".join(letter for letter in "rwxa" if letter in found) or "nothing"
    why = ""
    if lacking := set(watch.permissions) - found:
        if lacking & set().union(*(rule.partial for rule in rules)):
            why = "; its list of system calls is not complete: write -S all"
        elif lacking & set().union(*(rule.permissions for rule in rules)):
            why = "; programs of 32 and of 64 bits need a rule each (arch=b32, arch=b64)"
    wanted = f"wanted: -p {watch.permissions}"
    return item("warn", f"-w {path} records {letters}; {wanted}{why}")


def silences(
    rule: str, watch: Watch, path: str, folders: Mapping[str, str] = MappingProxyType({})
) -> bool:
    """Return whether a rule with ``never`` may prevent recording of accesses to a path.

    The order of rules is not known, and conditions on users or programs are not compared. So only a
    rule about another path or another type of record is known to be harmless.
    """
    try:
        words = shlex.split(rule)
    except ValueError:
        return True
    if len(words) > 1 and not set(words[1].split(",")) & set(_LISTS):
        return False
    fields = [after for word, after in pairwise(words) if word == "-F"]
    for field in fields:
        name, equals, value = field.partition("=")
        value, path = resolved(value, folders), resolved(path, folders)
        if name in ("path", "dir") and equals:
            below = watch.recursive and value.startswith(f"{path}/")
            above = name == "dir" and path.startswith(f"{value}/")
            return path == value or below or above
        if name == "msgtype" and equals:
            return value in _RECORDS
    return True


def _no_rules(facts: AuditFacts) -> str:
    if not facts.root:
        return "only root can read the rules"
    return "auditctl cannot read the rules: does the kernel have AUDIT?"


EVALUATORS: Mapping[str, Evaluator] = {check: partial(watched, check=check) for check in AUDITED}
