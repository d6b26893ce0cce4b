"""The step about the kernel's audit rules, and about who stores what they record."""

from collections.abc import Iterable
from pathlib import PurePosixPath

from bootwright.core.board_names import MOUNT
from bootwright.core.errors import RefusedError
from bootwright.core.file_changes import text_file
from bootwright.hosts.audit_rules import recorded, rules_for
from bootwright.hosts.profile import Profile, Watch
from bootwright.hosts.systemd_units import HostUnit
from bootwright.provision.actions import (
    Action,
    EnableUnit,
    LoadAuditRules,
    ReloadAuditd,
    StartAuditd,
    SwitchRecordingOn,
)
from bootwright.provision.audit_history import AUDITD_CONF, HistoryPlan, plan_history
from bootwright.provision.daemon_json import DAEMON_JSON
from bootwright.provision.desired_state import DesiredState
from bootwright.provision.facts import HostFacts
from bootwright.provision.steps import Step, differing

AUDIT_RULES = "/etc/audit/rules.d/50-bootwright-docker.rules"

AUDIT_KEY = "bootwright-docker"
"""The key of our rules, by which they are told from those of others: ``ausearch -k`` finds it."""

RUNTIME = ("/run/containerd", "/run/containerd/containerd.sock")
"""Paths that exist whenever Docker runs, and so after a plan was applied."""

_LATE = ("/run/", f"{MOUNT}/")
"""Where paths are not there yet when auditd starts: what Docker makes, and the locked volume."""

_AUDITD = "auditd.service"


def audit_step(
    desired: DesiredState, facts: HostFacts, written: Iterable[str]
) -> tuple[Step, tuple[str, ...]]:
    """Have the kernel record who accesses Docker's files, those that exist on the board.

    A kernel that cannot do it is no reason to refuse all the rest: then the step has nothing to
    do, and a warning says why.

    Args:
        desired: the target and the profile.
        facts: of the board.
        written: paths that other steps of the same plan write.

    Returns:
        The step, and warnings about what it does not do.

    Raises:
        RefusedError: the kernel takes no other rules until the next start, or auditd, which has to
            store the records, is masked.
    """
    if why := _impossible(facts):
        return Step("audit"), (
            f"the board's kernel cannot record who accesses Docker's files: {why}. The audit rules"
            " (checks 1.1.3 to 1.1.18) are left out; everything else is set",
        )
    watches = _watches(desired.profile, facts, written)
    checks = tuple(dict.fromkeys(check for watch, _ in watches for check in watch.checks))
    rules = desired.renderer.render(
        "docker/audit.rules.j2", {"rules": [_rule(watch, path, facts) for watch, path in watches]}
    )
    changes = differing(facts.files, [text_file(AUDIT_RULES, rules, 0o640)])
    missing = _unwatched(watches, facts)
    warnings = _locked(missing, bool(changes)) if facts.audit_locked else []
    load = bool(changes or missing) and not facts.audit_locked
    off = facts.audit_recording is False
    start, trouble = _start_of_auditd(facts, needed=load or off)
    history = HistoryPlan()
    if facts.unit(_AUDITD).active == "active" or isinstance(start, StartAuditd):
        history = plan_history(desired.profile.audit.history, facts)
    actions: list[Action] = []
    says = list(history.says)
    if history.change is not None:
        changes = (*changes, history.change)
        if not isinstance(start, StartAuditd):
            actions.append(ReloadAuditd(AUDITD_CONF))
    if start is not None:
        actions.append(start)
        says.append("start auditd, which stores the records, now and at every boot")
    if load:
        actions.append(LoadAuditRules(AUDIT_RULES, AUDIT_KEY))
        says.append(f"watch {len(watches)} paths, {len(missing)} of them new")
    if off:
        actions.append(SwitchRecordingOn())
        says.append("have the kernel record again, which was switched off (auditctl -s: enabled 0)")
    step = Step("audit", checks, changes, actions=tuple(actions), says=tuple(says))
    return step, (*warnings, *trouble, *history.warnings)


def _impossible(facts: HostFacts) -> str:
    """Return why the kernel cannot watch files; empty if it can, or if that is not known yet."""
    if facts.audit_impossible:
        remedy = (
            " (remove it, on Raspberry Pi OS from /boot/firmware/cmdline.txt, and restart the"
            " board)"
        )
        return facts.audit_impossible + (remedy if "command line" in facts.audit_impossible else "")
    options = facts.kernel_options
    for name in ("AUDIT", "AUDITSYSCALL"):
        if options is not None and name not in options:
            return f"it is built without CONFIG_{name}"
    if facts.audit is None and "auditctl" in facts.tools:
        lines = "; ".join(line.strip() for line in facts.audit_error.splitlines())
        return f"auditctl reports: {lines or 'nothing'}"
    return ""


def _locked(missing: list[str], changes: bool) -> list[str]:
    """Return warnings about rules that can be changed only after the next start of the board.

    Raises:
        RefusedError: a path is not watched that could be.
    """
    # Those are not there yet when the board starts, and nothing can be loaded later.
    late = [path for path in missing if path.startswith(_LATE)]
    if len(late) < len(missing):
        raise RefusedError(
            "the kernel's audit rules are locked until the next start (-e 2 in"
            " /etc/audit/rules.d): remove that line, restart the board, then run it again"
        )
    warnings = []
    if late:
        warnings.append(
            "the kernel's audit rules are locked (-e 2 in /etc/audit/rules.d) before these"
            f" paths are there, so they are not watched: {', '.join(late)}"
        )
    if changes:
        warnings.append(
            "the kernel's audit rules are locked (-e 2 in /etc/audit/rules.d): the new"
            f" {AUDIT_RULES} counts from the next start of the board"
        )
    return warnings


def _start_of_auditd(facts: HostFacts, needed: bool) -> tuple[Action | None, tuple[str, ...]]:
    """Return how auditd is started, and a warning if it is left as it is although it does not run.

    Args:
        facts: of the board.
        needed: there is something for the kernel to record that it did not record before.

    Raises:
        RefusedError: there is, its unit is masked, and no other program stores the records.
    """
    auditd, receiver = facts.unit(_AUDITD), facts.audit_receiver
    if receiver and receiver != "auditd":
        # The kernel gives its records to one program; auditd would not start beside it.
        return None, (f"the kernel gives its audit records to {receiver}, not to auditd",)
    if _masked(auditd):
        if needed:
            raise RefusedError(
                "auditd.service, which stores the records of the audit rules, is masked on the"
                " board: systemctl unmask auditd there, then run it again"
            )
        return None, (
            "auditd.service is masked, so it stores no records of the audit rules: systemctl"
            " unmask auditd, unless another program stores them",
        )
    if auditd.active == "failed" and not needed:
        return None, (
            "auditd.service has failed, so it stores no records of the audit rules: see"
            " journalctl -u auditd there",
        )
    if auditd.active != "active":
        return StartAuditd(), ()
    warnings: tuple[str, ...] = ()
    if receiver == "":
        warnings = (
            "auditd runs, but the kernel gives its audit records to no program (auditctl -s:"
            " pid 0): restart the board",
        )
    return EnableUnit(_AUDITD) if auditd.enabled == "disabled" else None, warnings


def _masked(unit: HostUnit) -> bool:
    return unit.load == "masked" or unit.enabled.startswith("masked")


def _watches(profile: Profile, facts: HostFacts, written: Iterable[str]) -> list[tuple[Watch, str]]:
    """Return what is to be watched: each path that exists after the plan was applied."""
    written = {*written, DAEMON_JSON}
    folders = {str(parent) for path in written for parent in PurePosixPath(path).parents}
    will_exist = {*written, *folders, *RUNTIME}
    return [
        (watch, path)
        for watch in profile.audit.watch
        for path in watch.paths
        if path in will_exist or facts.exists(path)
    ]


def _unwatched(watches: Iterable[tuple[Watch, str]], facts: HostFacts) -> list[str]:
    """Return the paths of which the kernel does not record all that it should."""
    loaded = facts.audit or ()
    return [
        path
        for watch, path in watches
        if not recorded(rules_for(loaded, path, facts.same_folders)) >= set(watch.permissions)
    ]


def _rule(watch: Watch, path: str, facts: HostFacts) -> str:
    mode = facts.modes.get(path)
    is_folder = path == "/run/containerd" or (mode is not None and mode.kind == "directory")
    if is_folder and not watch.recursive:
        # A rule -w for a folder watches everything below it as well.
        return f"-a always,exit -F path={path} -F perm={watch.permissions} -F key={AUDIT_KEY}"
    return f"-w {path} -p {watch.permissions} -k {AUDIT_KEY}"
