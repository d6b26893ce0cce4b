"""What a step does beside changing files, and how the board takes it back: in a real shell."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootwright.core.file_changes import text_file
from bootwright.core.shell import quote_words
from bootwright.provision.actions import (
    Action,
    AddSystemUser,
    AddToGroup,
    Command,
    EnableUnit,
    LoadAuditRules,
    RestartDocker,
    SetHostname,
    StartAuditd,
    SwitchRecordingOn,
)
from bootwright.provision.audit_steps import AUDIT_KEY, AUDIT_RULES
from bootwright.provision.facts_script import TRANSACTION
from bootwright.provision.steps import Step
from bootwright.provision.transaction import Transaction
from tests.support.changes import ID
from tests.support.fakeboard import FakeBoard
from tests.support.namespace import need_namespaces

pytestmark = pytest.mark.integration

WANTS = "/etc/systemd/system/multi-user.target.wants"

TIME = "systemd-timesyncd.service"


@pytest.fixture
def board(tmp_path: Path) -> Iterator[FakeBoard]:
    need_namespaces()
    board = FakeBoard(tmp_path / "board")
    board.make()
    yield board
    shutil.rmtree(tmp_path)


def change(*actions: Action) -> Transaction:
    return Transaction((Step("one", actions=actions),), "{}", True, (), ID)


def undone(board: FakeBoard, *actions: Action, why: str = "now") -> list[str]:
    """Apply the actions and put them back; return the calls that putting back took."""
    ended = board.apply(change(*actions))
    assert ended.complete, ended
    board.strike("none", "nothing")
    assert board.restore(why)[-1].lines == ("well",)
    return board.calls


def enabled(board: FakeBoard, unit: str) -> bool:
    return board.path(f"{WANTS}/{unit}").is_symlink()


def test_the_time_to_confirm_is_counted_by_a_clock_that_is_never_set(board: FakeBoard) -> None:
    assert board.apply(change(EnableUnit(TIME))).complete
    timer = (board.root / "timer").read_text()
    # systemd.timer(5): OnActiveSec= is monotonic, OnCalendar= is by the clock of the board.
    assert "--on-active=600 " in timer
    assert "--on-calendar" not in timer


def test_a_unit_is_enabled_and_started_and_then_stopped_and_disabled(board: FakeBoard) -> None:
    action = EnableUnit(TIME, start=True)
    assert board.apply(change(action)).complete
    assert enabled(board, TIME)
    board.restore("now")
    assert not enabled(board, TIME)
    assert (board.root / f"unit-{TIME}").read_text().split() == ["enableyes", "stop", "disable"]


def test_a_unit_that_was_enabled_and_did_not_run_stays_enabled(board: FakeBoard) -> None:
    board.path(f"{WANTS}/{TIME}").symlink_to(f"/etc/systemd/system/{TIME}")
    calls = undone(board, EnableUnit(TIME, start=True))
    assert f"systemctl stop {TIME}" in calls
    assert enabled(board, TIME)


def test_auditd_which_systemd_does_not_stop_is_ended_by_its_signal(board: FakeBoard) -> None:
    assert board.apply(change(StartAuditd())).complete
    assert (board.root / "auditd-runs").exists()
    assert enabled(board, "auditd.service")
    assert board.restore("now")[-1].lines == ("well",)
    assert not (board.root / "auditd-runs").exists()
    assert not enabled(board, "auditd.service")


def test_an_auditd_that_was_not_started_yet_is_not_ended(board: FakeBoard) -> None:
    calls = undone(board, EnableUnit("auditd.service"), StartAuditd(), why="boot")
    assert not any(call.startswith("systemctl kill") for call in calls)


def test_the_recording_of_the_kernel_is_switched_on_and_off_again(board: FakeBoard) -> None:
    assert board.apply(change(SwitchRecordingOn())).complete
    assert (board.root / "recording").read_text() == "enabled 1\n"
    assert board.restore("now")[-1].lines == ("well",)
    assert (board.root / "recording").read_text() == "enabled 0\n"


def test_at_boot_a_unit_is_disabled_and_none_is_stopped(board: FakeBoard) -> None:
    calls = undone(board, EnableUnit(TIME, start=True), why="boot")
    assert f"systemctl stop {TIME}" not in calls
    assert not enabled(board, TIME)


def test_the_kernel_gets_its_former_name_back(board: FakeBoard) -> None:
    board.write("/etc/name", "before")
    # The board's scripts run in a namespace for names of their own, which ends with each of them.
    read = "; cat /proc/sys/kernel/hostname >/etc/name"

    class Shown(SetHostname):
        @property
        def command(self) -> Command:
            return "eval", quote_words(super().command) + read

        @property
        def undo(self) -> tuple[Command, ...]:
            return *super().undo, ("eval", read.removeprefix("; "))

    assert board.apply(change(Shown("new", "it's old"))).complete
    assert board.path("/etc/name").read_text() == "new\n"
    board.restore("now")
    assert board.path("/etc/name").read_text() == "it's old\n"


@pytest.mark.parametrize("action", [AddSystemUser("dockremap"), AddToGroup("mia", "docker")])
def test_accounts_are_put_back_from_the_files(board: FakeBoard, action: Action) -> None:
    before = board.tree()
    assert board.apply(change(action)).complete
    assert board.tree() != before
    board.restore("now")
    assert board.tree() == before


THEIRS = f"""\
-w /etc/shadow -p wa -k other
-w /usr/bin/containerd -p rwxa -k docker
-w /etc/docker -p wa -k {AUDIT_KEY}-site
-w /usr/bin/runc -p x -k my-{AUDIT_KEY}
"""
"""Rules of the operator and of other agents: for a path that ours watch as well, and with keys that
our key is a part of."""

FOLDER = f"-a always,exit -F path=/etc/docker -F perm=rwa -F key={AUDIT_KEY}"

BEFORE = f"""\
# before
-i
{FOLDER}
-w /etc/ssh -p wa -k {AUDIT_KEY}
-w /etc/passwd -p wa -k {AUDIT_KEY}
"""
OURS = f"-i\n-w /usr/bin/containerd -p rwxa -k {AUDIT_KEY}\n{FOLDER}\n"


def loading() -> Transaction:
    files = (text_file(AUDIT_RULES, OURS, 0o640),)
    step = Step("audit", changes=files, actions=(LoadAuditRules(AUDIT_RULES, AUDIT_KEY),))
    return Transaction((step,), "{}", True, (), ID)


def kernel_rules(board: FakeBoard) -> list[str]:
    return sorted((board.root / "kernel-rules").read_text().splitlines())


@pytest.mark.parametrize(
    ("before", "loaded"),
    [
        ("", 0),
        (BEFORE, 3),
        # Of the former file, the kernel had only one rule.
        (BEFORE, 1),
        # The key of earlier versions.
        (BEFORE.replace(AUDIT_KEY, "docker"), 3),
        (BEFORE.replace(AUDIT_KEY, "docker"), 1),
    ],
)
def test_audit_rules_of_others_stay_loaded(board: FakeBoard, before: str, loaded: int) -> None:
    if before:
        board.write(AUDIT_RULES, before)
    theirs, ours = THEIRS.splitlines(), before.splitlines()[2:][:loaded]
    board.state("kernel-rules", "".join(f"{line}\n" for line in [*theirs, *ours]))
    ended = board.apply(loading())
    assert ended.complete, ended
    assert kernel_rules(board) == sorted([*theirs, *OURS.splitlines()[1:]])
    assert board.restore("now")[-1].lines == ("well",)
    assert kernel_rules(board) == sorted([*theirs, *ours])
    assert board.path(AUDIT_RULES).exists() == bool(before)


@pytest.mark.parametrize("left", ["-w /etc/shadow -p wa -k other\n", ""])
def test_audit_rules_that_got_lost_are_loaded_again_when_a_change_is_put_back(
    board: FakeBoard, left: str
) -> None:
    # For the folder alone, as only the file says; the kernel's list has it as "-w".
    folder = "-a always,exit -F path=/etc/docker -F perm=a -F key=site\n"
    board.write("/etc/audit/rules.d/20-site.rules", folder)
    board.state("kernel-rules", THEIRS + folder)
    assert board.apply(loading()).complete
    board.state("kernel-rules", left)
    assert board.restore("now")[-1].lines == ("well",)
    assert kernel_rules(board) == sorted((THEIRS + folder).splitlines())


def test_audit_rules_that_cannot_be_loaded_again_are_named(board: FakeBoard) -> None:
    board.state("kernel-rules", THEIRS)
    assert board.apply(loading()).complete
    board.state("kernel-rules", "-w /etc/shadow -p wa -k other\n")
    # Deletes rules of ours; then loads those that got lost.
    board.strike("fail", f"auditctl -R {TRANSACTION}/audit.rules", 2)
    *_, trouble, restored = board.restore("now")
    assert trouble.name == "trouble"
    assert "-w /usr/bin/containerd -p rwxa -k docker" in trouble.lines
    assert restored.lines != ("well",)


def test_a_start_of_auditd_takes_no_rules_of_others_away(board: FakeBoard) -> None:
    board.write("/etc/audit/rules.d/10-site.rules", "-w /etc/passwd -p wa -k site\n")
    board.state("kernel-rules", THEIRS)
    assert board.apply(change(StartAuditd())).complete
    assert kernel_rules(board) == sorted([*THEIRS.splitlines(), "-w /etc/passwd -p wa -k site"])
    assert board.confirm() == ("confirmed", "end")


def test_the_undo_restarts_docker_by_an_older_unit_and_no_audit_rule_is_lost(
    board: FakeBoard,
) -> None:
    drop_in = "/etc/systemd/system/docker.service.d/60-bootwright.conf"
    board.write("/etc/docker/daemon.json", '{"live-restore": true}')
    board.start_docker()
    board.write(drop_in, "ExecStartPost=-/sbin/augenrules --load\n")
    board.write(AUDIT_RULES, BEFORE)
    # The kernel has one of the rules in the former file, and those of other programs.
    board.state("kernel-rules", THEIRS + FOLDER + "\n")
    new = Step("daemon", changes=(text_file(drop_in, "new\n"),), actions=(RestartDocker(),))
    for steps in ((new,), (new, *loading().steps)):
        interim = '{"live-restore": true}'
        assert board.apply(Transaction(steps, interim, True, (), ID)).complete
        assert board.restore("now")[-1].lines == ("well",)
        assert kernel_rules(board) == sorted([*THEIRS.splitlines(), FOLDER])


def test_nothing_is_changed_if_the_kernel_does_not_tell_its_audit_rules(board: FakeBoard) -> None:
    before = board.tree()
    board.strike("fail", "auditctl -l")
    ended = board.apply(loading())
    assert (ended.failed_step, ended.restored, ended.complete) == ("begin", None, False)
    assert board.tree() == before
    assert board.left == []


@pytest.mark.parametrize("nth", [1, 2])
def test_audit_rules_that_the_kernel_does_not_take_fail_the_step(
    board: FakeBoard, nth: int
) -> None:
    board.state("kernel-rules", THEIRS)
    # The first call deletes rules, the second one loads them.
    board.strike("fail", f"auditctl -R {TRANSACTION}/audit.rules", nth)
    ended = board.apply(loading())
    assert (ended.failed_step, ended.restored) == ("audit", True)
    assert kernel_rules(board) == sorted(THEIRS.splitlines())


def test_at_boot_the_former_audit_rules_are_there_before_they_are_loaded(board: FakeBoard) -> None:
    assert board.apply(loading()).complete
    unit = board.path("/etc/systemd/system/bootwright-restore.service").read_text()
    before = [line.removeprefix("Before=") for line in unit.splitlines() if "Before=" in line]
    # The second one loads them on Debian 13.
    assert {"auditd.service", "audit-rules.service"} <= {*" ".join(before).split()}
