"""What is planned for the kernel's audit rules and for auditd."""

from dataclasses import replace

import pytest

from bootwright.core.errors import RefusedError
from bootwright.core.file_changes import FileChange
from bootwright.hosts.board_files import BoardFiles
from bootwright.hosts.systemd_units import HostUnit
from bootwright.provision.actions import (
    EnableUnit,
    LoadAuditRules,
    StartAuditd,
    SwitchRecordingOn,
)
from bootwright.provision.audit_steps import AUDIT_KEY, AUDIT_RULES
from bootwright.provision.facts import HostFacts
from bootwright.provision.plan import ProvisionPlan, plan_provision
from tests.provision.test_plan import converge, step
from tests.support.host_facts import board_file, desired, stock


def test_audit_rules_for_what_the_board_has_and_will_have() -> None:
    audit = step(plan_provision(desired(), stock()), "audit")
    rules = audit.changes[0]
    assert isinstance(rules, FileChange)
    lines = rules.data.decode().splitlines()
    assert "-w /usr/sbin/dockerd -p rwxa -k bootwright-docker" in lines
    assert "-w /etc/docker/daemon.json -p wa -k bootwright-docker" in lines
    # Below it lies all that containers write.
    folder = "-a always,exit -F path=/var/lib/docker -F perm=rwa -F key=bootwright-docker"
    assert folder in lines
    # A path that is not there when the board starts must not keep auditd from starting.
    assert [line for line in lines if not line.startswith(("#", "-w ", "-a "))] == ["-i"]
    assert not any("/usr/bin/dockerd" in line or "/etc/sysconfig" in line for line in lines)
    # Before auditd is installed as well: a plan shows what will be done after it.
    assert step(
        plan_provision(desired(), stock(tools=stock().tools - {"auditctl"})), "audit"
    ).changed


@pytest.mark.parametrize(
    ("unit", "start"),
    [
        (HostUnit("loaded", "inactive", "enabled"), True),
        (HostUnit("loaded", "active", "disabled"), False),
    ],
)
def test_an_auditd_that_does_not_run_or_would_not_at_the_next_start(
    unit: HostUnit, start: bool
) -> None:
    facts = converge(stock())
    facts = replace(facts, units={**facts.units, "auditd.service": unit})
    (audit,) = plan_provision(desired(), facts).to_do
    assert audit.actions == (StartAuditd() if start else EnableUnit("auditd.service"),)
    assert audit.says == ("start auditd, which stores the records, now and at every boot",)


MASKED = HostUnit("masked", "inactive", "masked")

FAILED = HostUnit("loaded", "failed", "enabled")


@pytest.mark.parametrize(
    ("unit", "said"),
    [
        (MASKED, "systemctl unmask auditd"),
        # Masked while it runs: it does not start any more.
        (HostUnit("loaded", "active", "masked"), "systemctl unmask auditd"),
        (HostUnit("loaded", "active", "masked-runtime"), "systemctl unmask auditd"),
        (FAILED, "journalctl -u auditd"),
    ],
)
def test_an_auditd_that_cannot_start_is_a_warning_if_all_rules_are_loaded(
    unit: HostUnit, said: str
) -> None:
    facts = converge(stock())
    plan = plan_provision(desired(), replace(facts, units={**facts.units, "auditd.service": unit}))
    assert plan.nothing
    (warning,) = plan.warnings
    assert said in warning


def test_audit_rules_to_load_need_an_auditd_that_may_start() -> None:
    units = stock().units
    with pytest.raises(RefusedError, match="systemctl unmask auditd"):
        plan_provision(desired(), stock(units={**units, "auditd.service": MASKED}))
    audit = step(
        plan_provision(desired(), stock(units={**units, "auditd.service": FAILED})), "audit"
    )
    assert audit.actions == (
        StartAuditd(),
        LoadAuditRules(AUDIT_RULES, AUDIT_KEY),
    )


def test_a_new_file_of_locked_audit_rules_counts_from_the_next_start() -> None:
    facts = replace(converge(stock()), audit_locked=True)
    files = {
        **facts.files.files,
        AUDIT_RULES: board_file("-w /etc/docker -p wa -k docker\n", 0o640),
    }
    plan = plan_provision(desired(), replace(facts, files=BoardFiles(files, facts.files.links)))
    (audit,) = plan.to_do
    assert (audit.paths, audit.actions) == ((AUDIT_RULES,), ())
    (warning,) = plan.warnings
    assert "counts from the next start" in warning


def test_locked_audit_rules_are_no_reason_to_refuse_what_cannot_be_mended() -> None:
    facts = replace(converge(stock()), audit_locked=True)
    socket = "/run/containerd/containerd.sock"
    without = tuple(rule for rule in facts.audit or () if rule.path != socket)
    plan = plan_provision(desired(), replace(facts, audit=without))
    assert plan.nothing
    (warning,) = plan.warnings
    assert "locked (-e 2" in warning
    assert warning.endswith(f"not watched: {socket}")
    without = tuple(rule for rule in without if rule.path != "/etc/docker")
    with pytest.raises(RefusedError, match="remove that line, restart"):
        plan_provision(desired(), replace(facts, audit=without))


def test_a_start_of_docker_loads_our_audit_rules_and_only_those() -> None:
    daemon = step(plan_provision(desired(), stock()), "daemon")
    (drop_in,) = (item for item in daemon.changes if "60-bootwright.conf" in item.path)
    assert isinstance(drop_in, FileChange)
    assert f"auditctl -R {AUDIT_RULES} " in drop_in.data.decode()


def without_options(*names: str) -> HostFacts:
    known = stock().kernel_options or {}
    return stock(kernel_options={name: "y" for name in known if name not in names})


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (stock(audit_impossible="audit=0 is on its command line"), "audit=0 is on its command"),
        (without_options("AUDITSYSCALL"), "built without CONFIG_AUDITSYSCALL"),
        (without_options("AUDIT", "AUDITSYSCALL"), "built without CONFIG_AUDIT."),
        (
            stock(audit=None, audit_error="Error - audit support not in kernel\nCannot open\n"),
            "auditctl reports: Error - audit support not in kernel; Cannot open",
        ),
        (stock(audit=None), "auditctl reports: nothing"),
    ],
)
def test_a_kernel_without_audit_gets_everything_else(facts: HostFacts, why: str) -> None:
    plan = plan_provision(desired(), facts)
    assert [item.name for item in plan.to_do] == ["mount", "userns", "daemon"]
    (warning,) = (text for text in plan.warnings if "cannot record" in text)
    assert why in warning
    assert "(checks 1.1.3 to 1.1.18) are left out; everything else is set" in warning
    after = converge(facts)
    assert plan_provision(desired(), after).nothing
    assert warning in plan_provision(desired(), after).warnings


def test_audit_is_planned_as_long_as_auditctl_is_not_there_to_ask() -> None:
    bare = stock(audit=None, audit_recording=None, tools=stock().tools - {"auditctl"})
    assert step(plan_provision(desired(), bare), "audit").changed


def with_auditd(unit: HostUnit, receiver: str | None, recording: bool = True) -> ProvisionPlan:
    facts = converge(stock())
    units = {**facts.units, "auditd.service": unit}
    changed = replace(facts, units=units, audit_receiver=receiver, audit_recording=recording)
    return plan_provision(desired(), changed)


RUNS = HostUnit("loaded", "active", "enabled")


def test_recording_that_was_switched_off_is_switched_on() -> None:
    (audit,) = with_auditd(RUNS, "auditd", recording=False).to_do
    assert audit.actions == (SwitchRecordingOn(),)
    assert "auditctl -s: enabled 0" in audit.says[0]
    (audit,) = with_auditd(FAILED, "", recording=False).to_do
    assert audit.actions == (StartAuditd(), SwitchRecordingOn())
    with pytest.raises(RefusedError, match="systemctl unmask auditd"):
        with_auditd(MASKED, "", recording=False)


def test_records_that_go_to_no_program_or_to_another_one_are_told() -> None:
    nobody = with_auditd(RUNS, "")
    assert nobody.nothing
    assert "pid 0" in nobody.warnings[0]
    for unit in (MASKED, FAILED, HostUnit("loaded", "inactive", "disabled")):
        other = with_auditd(unit, "auditbeat", recording=False)
        (audit,) = other.to_do
        assert audit.actions == (SwitchRecordingOn(),)
        assert other.warnings == ("the kernel gives its audit records to auditbeat, not to auditd",)
    assert with_auditd(RUNS, None).warnings == ()
