"""What is planned for the board itself: its clock, its units, SSH, who may use Docker."""

from dataclasses import replace

import pytest

from bootwright.core.errors import RefusedError
from bootwright.core.file_changes import FileChange
from bootwright.hosts.systemd_units import HostUnit
from bootwright.provision.actions import (
    AddToGroup,
    Check,
    EnableUnit,
    ReloadSshd,
    ReloadSystemd,
)
from bootwright.provision.plan import plan_provision
from tests.provision.test_plan import converge, step
from tests.support.host_facts import desired, stock

TIMESYNCD, CHRONY = "systemd-timesyncd.service", "chrony.service"


def test_systemd_reads_a_unit_that_was_changed_since_it_did() -> None:
    facts = converge(stock())
    for name in ("docker.socket", "containerd.service"):
        unit = HostUnit("loaded", "active", "enabled", need_reload=True)
        changed = replace(facts, units={**facts.units, name: unit})
        (mount,) = plan_provision(desired(), changed).to_do
        assert mount.actions == (ReloadSystemd(),)


@pytest.mark.parametrize(
    ("units", "action"),
    [
        ({TIMESYNCD: HostUnit("loaded", "inactive", "disabled")}, (TIMESYNCD, True)),
        ({CHRONY: HostUnit("loaded", "inactive", "enabled")}, (CHRONY, True)),
        # It runs, and would not after a restart.
        ({CHRONY: HostUnit("loaded", "active", "disabled")}, (CHRONY, False)),
        ({CHRONY: HostUnit("loaded", "active", "enabled")}, None),
    ],
)
def test_the_service_that_is_there_keeps_the_clock_right(
    units: dict[str, HostUnit], action: tuple[str, bool] | None
) -> None:
    facts = stock(units={**stock().units, TIMESYNCD: HostUnit(), **units})
    plan = plan_provision(desired(), facts)
    actions = step(plan, "host").actions
    assert actions == (() if action is None else (EnableUnit(action[0], start=action[1]),))
    assert not any("clock" in warning for warning in plan.warnings)


@pytest.mark.parametrize(
    ("units", "said"),
    [
        ({}, "install systemd-timesyncd there"),
        ({TIMESYNCD: HostUnit("masked", "inactive", "masked")}, f"{TIMESYNCD} is masked"),
        ({CHRONY: HostUnit("loaded", "failed", "enabled")}, f"{CHRONY} has failed"),
    ],
)
def test_a_board_without_anything_that_keeps_its_clock_right_is_reported(
    units: dict[str, HostUnit], said: str
) -> None:
    facts = stock(units={**stock().units, TIMESYNCD: HostUnit(), **units})
    plan = plan_provision(desired(), facts)
    assert not step(plan, "host").changed
    (warning,) = (text for text in plan.warnings if "keeps the board's clock right" in text)
    assert warning.endswith(said)


def test_who_logs_in_keeps_the_way_in() -> None:
    open_door = {"permitrootlogin": "yes", "passwordauthentication": "yes"}
    as_root = step(plan_provision(desired(login="root"), stock(sshd=open_door)), "ssh")
    laid = next(item for item in as_root.changes if "10-bootwright" in item.path)
    assert isinstance(laid, FileChange)
    assert "PermitRootLogin prohibit-password" in laid.data.decode()
    as_mia = step(plan_provision(desired(login="mia"), stock(sshd=open_door)), "ssh")
    laid = next(item for item in as_mia.changes if "10-bootwright" in item.path)
    assert isinstance(laid, FileChange)
    assert "PermitRootLogin no" in laid.data.decode()
    assert as_mia.actions == (Check(("sshd", "-t")), ReloadSshd())


def test_match_blocks_of_sshd_are_told() -> None:
    plan = plan_provision(desired(), stock(sshd_matches=("Match Address 192.0.2.0/24",)))
    assert any("Match Address 192.0.2.0/24" in warning for warning in plan.warnings)


def test_a_trusted_user_only_when_the_target_names_one() -> None:
    assert not step(plan_provision(desired(), stock()), "users").changed
    users = step(plan_provision(desired({"trusted_user": "mia"}), stock()), "users")
    assert users.actions == (AddToGroup("mia", "docker"),)
    assert "root on the board" in users.says[0]
    there = stock(docker_group=("mia",))
    assert not step(plan_provision(desired({"trusted_user": "mia"}), there), "users").changed
    with pytest.raises(RefusedError, match="no account 'eve'"):
        plan_provision(desired({"trusted_user": "eve"}), stock())


def test_an_sshd_that_has_not_read_its_configuration_reads_it() -> None:
    facts = replace(converge(stock()), sshd_unread=True)
    (ssh,) = plan_provision(desired(), facts).to_do
    assert ssh.actions == (Check(("sshd", "-t")), ReloadSshd())
    assert ssh.changes == ()
