"""Changing a board all or nothing: the scripts that apply steps, and put everything back.

On the board, the job ``apply`` copies every file that will change, arms a unit and a timer that put
the copies back, applies the steps, restarts the daemon, and runs a container. The change stays only
if it is confirmed over a new connection before the timer ends. Whatever happens in between (a
crash, a lost network, a power cut) the board puts back what was there.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from bootwright.core.file_changes import Change, DirectoryChange, FileChange, Removal, SymlinkChange
from bootwright.core.shell import Value, quote_words, render
from bootwright.provision.actions import Action, Command, LoadAuditRules, RestartDocker
from bootwright.provision.audit_steps import AUDIT_KEY, AUDIT_RULES
from bootwright.provision.daemon_json import DAEMON_JSON
from bootwright.provision.facts_script import (
    RELOADED,
    SSHD_PID_FILE,
    SSHD_READ,
    TRANSACTION,
)
from bootwright.provision.steps import Step, written_files
from bootwright.remote.job_script import FOLDER, JOB_FUNCTIONS
from bootwright.remote.sections import SECTIONS

ENDED = "/run/bootwright-ended"
"""The name of the change that was put back last, whether all of it was, and whether it was proven
that Docker works then; for a run that asks later. It is void after a restart of the board."""

JOB = "apply"
"""The name of the job that applies a change."""

INTERIM = "interim.json"
"""The name of the file that is the former daemon.json with live-restore switched on."""

CONFIRM_S = 600
"""Seconds from the beginning until the board puts everything back unless it is confirmed."""

_DAEMON_S = 180
"""Seconds for the daemon to start or end; an emulated board takes about 15."""

_DOCKER_S = 120
"""Seconds for one docker command; an emulated board takes up to 5."""


@dataclass(frozen=True)
class Transaction:
    """Steps that are applied to a board as one.

    Attributes:
        steps: those that change something.
        interim: the daemon.json that the board has now, but with live-restore switched on. The
            daemon reads it before it is restarted, so that the containers go on.
        keep_containers: running containers go on while the daemon is restarted; else they are
            stopped before it and started after it.
        proof: patterns of grep for lines that a container has to print; see ``smoke`` in
            ``shell/docker.sh``.
        id: the name of this change, so that nobody confirms another one.
        hides_data: Docker uses another folder afterwards, where it does not find the containers
            that were stopped.
        confirm_s: seconds until the board puts everything back by itself.
    """

    steps: tuple[Step, ...]
    interim: str
    keep_containers: bool
    proof: tuple[str, ...]
    id: str
    hides_data: bool = False
    confirm_s: int = CONFIRM_S


def job_files(change: Transaction) -> dict[str, FileChange]:
    """Return the files of the job, by their names in its folder."""
    files = {
        str(number): FileChange(file.path, file.content, file.mode, file.uid, file.gid)
        for number, file in enumerate(written_files(change.steps))
    }
    files[INTERIM] = FileChange(INTERIM, change.interim.encode(), 0o600)
    files["restore"] = FileChange("restore", restore_script(change).encode(), 0o700)
    return files


_DOCKER = ("hosts/shell/root_docker.sh", "provision/shell/docker.sh")
KEEP_AUDIT_RULES = "provision/shell/keep_audit_rules.sh"
_ACTIONS = (KEEP_AUDIT_RULES, "provision/shell/sshd_read.sh", "provision/shell/actions.sh")
_SSHD: dict[str, Value] = {"sshd_pid_file": SSHD_PID_FILE, "sshd_read_file": SSHD_READ}
_ENDED = "provision/shell/ended.sh"


def apply_script(change: Transaction) -> str:
    """Return the job's script: back up, arm, apply, prove."""
    actions = _actions(change)
    restarts = any(isinstance(action, RestartDocker) for action in actions)
    script = render(
        *(*JOB_FUNCTIONS, *_DOCKER, *_ACTIONS, "provision/shell/apply.sh"),
        **_variables(TRANSACTION),
        **_SSHD,
        jobs=FOLDER,
        job=JOB,
        keep=change.keep_containers,
        hides_data=change.hides_data,
        reloaded_file=RELOADED,
    )
    backups = [("begin", "backup", str(n), path) for path, n in _copies(change).items()]
    records = [action.record for action in actions if action.record]
    if not any(isinstance(action, LoadAuditRules) for action in actions):
        # A start of the daemon or of auditd may change them as well.
        records.append(("record_audit_rules", AUDIT_RULES))
    script += _lines([*backups, *records])
    script += render(
        "provision/shell/apply_arm.sh",
        id=change.id,
        confirm_seconds=change.confirm_s,
        stop=restarts and not change.keep_containers,
    )
    numbers = {file.path: n for n, file in enumerate(written_files(change.steps))}
    for step in change.steps:
        commands = [
            *(_command(item, numbers) for item in step.changes),
            *(fix.command for fix in step.fixes),
            *(action.command for action in step.actions),
        ]
        script += _lines([("begin_step", step.name), *(("run", *one) for one in commands)])
    return script + render("provision/shell/apply_prove.sh", proof=change.proof)


def restore_script(change: Transaction) -> str:
    """Return the script that puts everything back; see ``shell/restore.sh`` for its argument."""
    copies = _copies(change)
    script = render(
        *(SECTIONS, *_DOCKER, *_ACTIONS, _ENDED, "provision/shell/restore.sh"),
        **_variables(TRANSACTION),
        **_SSHD,
        id=change.id,
        ended_file=ENDED,
        jobs=FOLDER,
        job=JOB,
        json_copy=copies[DAEMON_JSON],
        folder_copy=copies[str(PurePosixPath(DAEMON_JSON).parent)],
    )
    # The files in a folder are put back before the folder itself.
    commands: list[Command] = [
        ("attempt", "back", str(n), path) for path, n in reversed(copies.items())
    ]
    for step in reversed(change.steps):
        commands += [undo for action in reversed(step.actions) for undo in action.undo]
        commands += [fix.undo for fix in reversed(step.fixes)]
    script += _lines(commands)
    return script + render("provision/shell/restore_end.sh", audit_key=AUDIT_KEY)


def hold_script() -> str:
    """Return the beginning of a job that restarts the daemon, such as an upgrade of packages.

    Running containers go on then. The job needs the file :data:`INTERIM`.
    """
    return render(*(*JOB_FUNCTIONS, *_DOCKER, "provision/shell/hold.sh"), **_variables("."))


def confirm_script(change_id: str) -> str:
    """Return the script by which a change stays, unless the board put it back already."""
    return render(
        *(SECTIONS, _ENDED, "provision/shell/confirm.sh"),
        transaction=TRANSACTION,
        id=change_id,
        ended_file=ENDED,
        jobs=FOLDER,
        job=JOB,
    )


def put_back_script(change_id: str = "") -> str:
    """Return the script that puts an unfinished change back at once.

    Args:
        change_id: only this change; empty: any, as long as no run applies it.
    """
    return render(
        *(SECTIONS, _ENDED, "provision/shell/put_back.sh"),
        transaction=TRANSACTION,
        id=change_id,
        ended_file=ENDED,
        job=JOB,
    )


def _variables(folder: str) -> dict[str, Value]:
    """Return the variables of ``shell/docker.sh`` for a change in this folder of the board."""
    return {
        "transaction": folder,
        "interim": INTERIM,
        "daemon_json": DAEMON_JSON,
        "daemon_seconds": _DAEMON_S,
        "docker_seconds": _DOCKER_S,
    }


def _copies(change: Transaction) -> dict[str, int]:
    """Return the number of its copy for each path that may change, folders before their content.

    Among them are the folders that are made for new files.
    """
    paths = [item.path for step in change.steps for item in step.changes]
    # A restart of the daemon replaces it for a moment, even if it is not to change.
    paths.append(DAEMON_JSON)
    paths += (path for action in _actions(change) for path in action.files)
    parents = [str(parent) for path in paths for parent in PurePosixPath(path).parents]
    folders = sorted((path for path in parents if path.count("/") > 1), key=len)
    return {path: number for number, path in enumerate(dict.fromkeys([*folders, *paths]))}


def _actions(change: Transaction) -> list[Action]:
    return [action for step in change.steps for action in step.actions]


def _command(item: Change, numbers: dict[str, int]) -> Command:
    """Return the command that makes a change; in the job, the files have ``numbers`` as names."""
    if isinstance(item, FileChange):
        return "install_file", str(numbers[item.path]), item.path
    if isinstance(item, SymlinkChange):
        return "ln", "-sfn", item.target, item.path
    if isinstance(item, DirectoryChange):
        return "make_directory", item.path, f"{item.mode:o}", f"{item.uid}:{item.gid}"
    assert isinstance(item, Removal)
    return "rm", "-f", item.path


def _lines(commands: Iterable[Command]) -> str:
    """Return the commands as lines of a script."""
    return "".join(f"{quote_words(command)}\n" for command in commands)
