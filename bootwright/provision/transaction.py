"""Changing a board all or nothing: the scripts that apply steps, and put everything back.

On the board, the job ``apply`` copies every file that will change, arms a unit and a timer that put
the copies back, applies the steps, restarts the daemon, and runs a container. The change stays only
if it is confirmed over a new connection before the timer ends. Whatever happens in between (a
crash, a lost network, a power cut) the board puts back what was there.
"""

import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath

from bootwright.core.file_changes import Change, DirectoryChange, FileChange, Removal, SymlinkChange
from bootwright.provision.actions import Action, RestartDocker
from bootwright.provision.daemon_json import DAEMON_JSON
from bootwright.provision.facts_script import RELOADED, TRANSACTION
from bootwright.provision.steps import Step, written_files
from bootwright.provision.transaction_shell import (
    APPLY,
    CONFIRM,
    FUNCTIONS,
    HOLD,
    RESTORE,
    RESTORED,
    STOP_CONTAINERS,
    VERSIONS,
)
from bootwright.remote.job_script import FOLDER, JOB_PRELUDE
from bootwright.remote.sections import END, PRELUDE

JOB = "apply"

INTERIM = "interim.json"
"""The daemon.json that was there, with live-restore switched on."""

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
        interim: the daemon.json that the board has now, with live-restore switched on.
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


def apply_script(change: Transaction) -> str:
    """Return the job's script: back up, arm, apply, prove."""
    numbers = {file.path: str(n) for n, file in enumerate(written_files(change.steps))}
    backups = [f"begin backup {n} {shlex.quote(path)}" for path, n in _places(change).items()]
    backups += [action.record.rstrip() for action in _actions(change) if action.record]
    restarts = any(isinstance(action, RestartDocker) for action in _actions(change))
    stops = restarts and not change.keep_containers
    script = _values(
        FUNCTIONS + APPLY,
        change,
        hold=': >"$state/hold"' if change.keep_containers else ":",
        stop=STOP_CONTAINERS.strip() if stops else ":",
        # Those that vanish with their user namespaces cannot be started.
        start="start_containers >/dev/null || :" if change.hides_data else "start_containers",
        backup="\n".join(backups),
    )
    for step in change.steps:
        script += f"begun {step.name}\n"
        commands = [
            *(_lay(item, numbers) for item in step.changes),
            *(fix.command for fix in step.fixes),
            *(action.command for action in step.actions),
        ]
        script += "".join(
            f"said=$({{ {command}; }} 2>&1) || fail {step.name}\n" for command in commands
        )
    script += "begun smoke\n"
    script += 'said=$(smoke) || fail smoke\nsection smoke\nprintf "%s\\n" "$said" | quoted\n'
    for line in change.proof:
        script += (
            f"printf '%s\\n' \"$said\" | grep -q -e {shlex.quote(line)} ||"
            f' {{ said="a container says otherwise than {line}: $said"; fail smoke; }}\n'
        )
    return JOB_PRELUDE + script + VERSIONS + "section applied\n"


def _places(change: Transaction) -> dict[str, int]:
    """Return a number for everything that is copied beforehand: folders made on the way too."""
    paths = [item.path for step in change.steps for item in step.changes]
    # A restart lays others in its place, whether or not it is to change.
    paths.append(DAEMON_JSON)
    paths += (path for action in _actions(change) for path in action.files)
    parents = [str(parent) for path in paths for parent in PurePosixPath(path).parents]
    below = sorted((path for path in parents if path.count("/") > 1), key=len)
    # A folder that is there already is left alone: only those that are not get a mark.
    return {path: n for n, path in enumerate(dict.fromkeys([*below, *paths]))}


def _actions(change: Transaction) -> list[Action]:
    return [action for step in change.steps for action in step.actions]


def restore_script(change: Transaction) -> str:
    """Return the script that puts everything back: ``now``, at the ``deadline``, at ``boot``."""
    places = _places(change)
    backs = {path: f"back {number} {shlex.quote(path)}" for path, number in places.items()}
    # What lies in a folder before the folder.
    script = "".join(f"step {backs[path]}\n" for path in reversed(places))
    for step in reversed(change.steps):
        script += "".join(action.undo for action in reversed(step.actions))
        script += "".join(f"step sh -c {shlex.quote(fix.undo)}\n" for fix in reversed(step.fixes))
    script = FUNCTIONS + RESTORE + script + RESTORED
    folder = str(PurePosixPath(DAEMON_JSON).parent)
    return PRELUDE + _values(
        script, change, daemon_file_back=f"{backs[DAEMON_JSON]}; {backs[folder]}"
    )


def hold_script() -> str:
    """Return what a job begins with that restarts the daemon by the way, as an upgrade does.

    Containers outlive it then. The job needs the file :data:`INTERIM`.
    """
    values = {
        "transaction": ".",
        "interim": INTERIM,
        "daemon_json": DAEMON_JSON,
        "daemon_s": str(_DAEMON_S),
        "docker_s": str(_DOCKER_S),
    }
    # What comes after it is not to write files that only root can read.
    return JOB_PRELUDE + _replaced(FUNCTIONS + HOLD, values) + "umask 022\n"


def confirm_script(change_id: str) -> str:
    """Return the script by which a change stays, unless the board put it back already."""
    values = {"transaction": TRANSACTION, "folder": FOLDER, "job": JOB, "id": change_id}
    return PRELUDE + _replaced(CONFIRM, values) + END


def put_back_script(change_id: str | None = None) -> str:
    """Return the script that puts an unfinished change back at once.

    Args:
        change_id: only that one; any if ``None``, as long as nothing carries it out.
    """
    if change_id is None:
        guard = (
            f"if systemctl is-active --quiet bootwright-{JOB}.service; then section busy; {END}"
            "exit 0; fi\n"
        )
    else:
        armed = f'"$(cat {TRANSACTION}/armed 2>/dev/null)" = {change_id}'
        guard = f"[ {armed} ] || {{ section too-late; {END.strip()}; exit 0; }}\n"
    return f"{PRELUDE}{guard}sh {TRANSACTION}/restore now\n{END}"


def _values(script: str, change: Transaction, **more: str) -> str:
    values = {
        "transaction": TRANSACTION,
        "interim": INTERIM,
        "daemon_json": DAEMON_JSON,
        "daemon_s": str(_DAEMON_S),
        "docker_s": str(_DOCKER_S),
        "id": change.id,
        "confirm_s": str(change.confirm_s),
        "reloaded": RELOADED,
        "folder": FOLDER,
        "job": JOB,
        **more,
    }
    return _replaced(script, values)


def _replaced(script: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        script = script.replace(f"@{name}@", value)
    return script


def _lay(item: Change, numbers: dict[str, str]) -> str:
    path = shlex.quote(item.path)
    parent = shlex.quote(item.path.rpartition("/")[0] or "/")
    if isinstance(item, FileChange):
        # Folders that are made on the way are for everybody to enter.
        return f"(umask 022; mkdir -p {parent}) && put {numbers[item.path]} {path}"
    if isinstance(item, SymlinkChange):
        return f"ln -sfn {shlex.quote(item.target)} {path}"
    if isinstance(item, DirectoryChange):
        return (
            f"mkdir -p {path} && chmod {item.mode:o} {path} && chown {item.uid}:{item.gid} {path}"
        )
    assert isinstance(item, Removal)
    return f"rm -f {path}"
