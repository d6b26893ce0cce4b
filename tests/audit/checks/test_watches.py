"""What the kernel records: rules of a path's own, and what keeps them from recording."""

from typing import Any

import pytest

from bootwright.audit.checks.watches import EVALUATORS
from bootwright.audit.facts import AuditFacts
from bootwright.audit.model import CheckResult
from bootwright.hosts.audit_rules import parse_audit_rules
from tests.support.auditfacts import provisioned, subject


def with_rule(check_path: str, rule: str) -> AuditFacts:
    """Return a provisioned board that has another rule, or none, for a path."""
    rules = tuple(one for one in provisioned().audit or () if one.path != check_path)
    return provisioned(audit=(*rules, *parse_audit_rules([rule])))


@pytest.mark.parametrize(
    ("check", "path", "rule", "message"),
    [
        ("1.1.14", "/usr/bin/containerd", "", "no rule"),
        # Which docker-bench takes for containerd's, since it searches for text.
        ("1.1.14", "/usr/bin/containerd", "-w /usr/bin/containerd-shim -p rwxa", "no rule"),
        ("1.1.6", "/etc/docker", "-w /etc/docker -p a", "records a; wanted: -p wa"),
        (
            *("1.1.6", "/etc/docker"),
            "-a always,exit -F arch=b32 -S open,openat -F path=/etc/docker -F perm=wa",
            "records nothing; wanted: -p wa; its list of system calls is not complete",
        ),
        (
            *("1.1.6", "/etc/docker"),
            "-a always,exit -F arch=b64 -S all -F path=/etc/docker -F perm=wa",
            "programs of 32 and of 64 bits need a rule each",
        ),
        ("1.1.6", "/etc/docker", "-w /etc/docker/daemon.json -p wa", "no rule"),
        ("1.1.18", "/usr/sbin/runc", "", "/usr/sbin/runc"),
        ("1.1.3", "/usr/sbin/dockerd", "-a never,exit -F path=/usr/sbin/dockerd", "no rule"),
    ],
)
def test_a_path_without_a_rule_of_its_own(check: str, path: str, rule: str, message: str) -> None:
    found = EVALUATORS[check](subject(with_rule(path, rule)))
    assert found.result == "warn"
    assert message in found.evidence
    assert {item.subject for item in found.items if item.result == "warn"} == {path}


def test_a_rule_that_records_more_passes() -> None:
    facts = with_rule("/etc/docker", "-a always,exit -F dir=/etc/docker/ -F perm=rwxa")
    assert EVALUATORS["1.1.6"](subject(facts)).result == "pass"


@pytest.mark.parametrize(
    ("check", "path", "rule"),
    [
        (
            *("1.1.7", "/usr/lib/systemd/system/docker.service"),
            "-w /lib/systemd/system/docker.service -p rwxa -k docker",
        ),
        (
            "1.1.8",
            "/run/containerd/containerd.sock",
            "-w /var/run/containerd/containerd.sock -p wa",
        ),
        (
            *("1.1.14", "/usr/bin/containerd"),
            "-a always,exit -F arch=b32 -S all -F path=/usr/bin/containerd -F perm=rwxa",
        ),
    ],
)
def test_what_the_kernel_records_by_another_rule_passes(check: str, path: str, rule: str) -> None:
    assert EVALUATORS[check](subject(with_rule(path, rule))).result == "pass"


@pytest.mark.parametrize(
    ("different", "message"),
    [
        ({"root": False}, "root"),
        ({}, "does the kernel have AUDIT?"),
    ],
)
def test_unknown_rules_are_skipped(different: dict[str, Any], message: str) -> None:
    facts = provisioned(audit=None, **different)
    found = EVALUATORS["1.1.6"](subject(facts))
    assert found.result == "skipped"
    assert message in found.evidence
    assert EVALUATORS["1.1.13"](subject(facts)).result == "info"


def test_without_auditd_or_with_it_switched_off_nothing_is_recorded() -> None:
    without = provisioned(audit=None, tools=frozenset({"docker", "dockerd"}))
    for facts, message in (
        (without, "not installed"),
        (provisioned(audit_on=False), "switched off"),
        (provisioned(audit_pid=0), "does not run (auditctl -s)"),
    ):
        found = EVALUATORS["1.1.6"](subject(facts))
        assert (found.result, message in found.evidence) == ("warn", True), found.evidence


@pytest.mark.parametrize(
    ("check", "rule", "result"),
    [
        # Fedora's and Red Hat's default.
        ("1.1.3", "-a never,task", "warn"),
        ("1.1.3", "-a never,exit -F path=/usr/sbin/dockerd", "warn"),
        ("1.1.3", "-a never,exit -F dir=/usr/sbin -F perm=x", "warn"),
        ("1.1.3", "-a never,exit -F path=/sbin/dockerd", "warn"),
        ("1.1.3", "-a never,exit -F auid=1000", "warn"),
        ("1.1.3", "-a exit,never -S all", "warn"),
        ("1.1.3", "-a never,filesystem -F fstype=ext4", "warn"),
        ("1.1.3", "-a never,exclude", "warn"),
        ("1.1.3", "-a never,exclude -F msgtype=SYSCALL", "warn"),
        ("1.1.3", "-a never,exclude -F msgtype>=1300", "warn"),
        ("1.1.3", "-a never,exclude -F 'msgtype", "warn"),
        ("1.1.6", "-a never,exit -F path=/etc/docker/daemon.json", "warn"),
        ("1.1.6", "-a never,exit -F path!=/etc/docker", "warn"),
        ("1.1.3", "-a never,exit -F path=/usr/sbin/dockerd2", "pass"),
        ("1.1.3", "-a never,exit -F dir=/usr/sbin/dockerd2/", "pass"),
        ("1.1.5", "-a never,exit -F dir=/var/lib/docker/overlay2", "pass"),
        ("1.1.3", "-a never,exclude -F msgtype=CWD", "pass"),
        ("1.1.3", "-a never,user -F subj_type=crond_t", "pass"),
    ],
)
def test_rules_that_prevent_recording_warn(check: str, rule: str, result: CheckResult) -> None:
    found = EVALUATORS[check](subject(provisioned(audit_never=(rule,))))
    assert (found.result, rule in found.evidence) == (result, result == "warn")
