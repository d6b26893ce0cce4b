"""What provisioning changes on a board: steps of frozen values, each with its undo."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bootwright.core.file_changes import Change, DirectoryChange, FileChange, Removal, SymlinkChange
from bootwright.core.secret import Secret
from bootwright.hosts.board_files import BoardFiles
from bootwright.hosts.file_modes import PathMode
from bootwright.provision.actions import Action, Command


@dataclass(frozen=True)
class ModeFix:
    """A new owner and new permissions for a path; ``was`` has those that it has now."""

    was: PathMode
    mode: int
    owner: str

    def describe(self) -> str:
        """Return it as a line."""
        return (
            f"{self.was.path}: {self.was.owner} {self.was.mode:04o} → {self.owner} {self.mode:04o}"
        )

    @property
    def command(self) -> Command:
        """What the script ``apply`` runs."""
        return "set_mode", self.was.path, f"{self.mode:o}", self.owner

    @property
    def undo(self) -> Command:
        """What the script ``restore`` runs; the owner by number, since it may have no name."""
        return "attempt", "set_mode", self.was.path, f"{self.was.mode:o}", self.was.numbers


@dataclass(frozen=True)
class Step:
    """A part of a change that has a name of its own for the operator.

    Attributes:
        name: for JSON and messages.
        checks: ids of the benchmark's checks that it makes pass.
        changes: files that become different; done first.
        fixes: owners and permissions that become different; done second.
        actions: what is done then, in this order.
        says: what the fixes and actions do, in words for the operator.
    """

    name: str
    checks: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    fixes: tuple[ModeFix, ...] = ()
    actions: tuple[Action, ...] = ()
    says: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.changes or self.fixes or self.actions)

    @property
    def paths(self) -> tuple[str, ...]:
        """What becomes different."""
        return (*(item.path for item in self.changes), *(fix.was.path for fix in self.fixes))


def kept_mode(files: BoardFiles, path: str, mode: int = 0o644) -> int:
    """Return the mode of a file to write: no wider than that of the file that is there."""
    found = files.files.get(path)
    return found.mode & mode if found is not None else mode


def differing(files: BoardFiles, wanted: Iterable[Change]) -> tuple[Change, ...]:
    """Return those of ``wanted`` that the board does not have yet.

    A file with a secret content always differs: its content is not collected.
    """
    return tuple(change for change in wanted if not _is_there(files, change))


def _is_there(files: BoardFiles, change: Change) -> bool:
    if isinstance(change, SymlinkChange):
        return files.links.get(change.path) == change.target
    if isinstance(change, Removal):
        return change.path not in files.files and change.path not in files.links
    if isinstance(change, DirectoryChange):
        return False
    found = files.files.get(change.path)
    return (
        found is not None
        and not isinstance(change.content, Secret)
        and found.content == change.data
        and (found.mode, found.uid, found.gid) == (change.mode, change.uid, change.gid)
    )


def diff_of(files: BoardFiles, step: Step) -> str:
    """Return a unified diff of what the step does to files; secrets are not shown."""
    parts: list[str] = []
    for change in step.changes:
        parts += _diff(files, change)
    parts += [f"# {fix.describe()}" for fix in step.fixes]
    return "".join(f"{line}\n" for line in parts)


def _diff(files: BoardFiles, change: Change) -> list[str]:
    path = change.path
    if isinstance(change, SymlinkChange):
        old = files.links.get(path)
        return [f"# {path} → {change.target}" + (f" (was {old})" if old else "")]
    if isinstance(change, DirectoryChange):
        return [f"# {path}/ {change.mode:04o}"]
    found = files.files.get(path)
    before = found.text.splitlines() if found else []
    if isinstance(change, Removal):
        after, name = [], "/dev/null"
    elif isinstance(change.content, Secret):
        return [f"# {path}: *** (secret, {change.mode:04o})"]
    else:
        after, name = change.data.decode("utf-8", "replace").splitlines(), path
    lines = list(
        difflib.unified_diff(before, after, path if found else "/dev/null", name, lineterm="")
    )
    mode = getattr(change, "mode", None)
    if (
        found
        and mode is not None
        and (found.mode, found.uid, found.gid)
        != (
            mode,
            getattr(change, "uid", 0),
            getattr(change, "gid", 0),
        )
    ):
        lines.append(f"# {path}: {found.uid}:{found.gid} {found.mode:04o} → 0:0 {mode:04o}")
    return lines


def written_files(steps: Sequence[Step]) -> list[FileChange]:
    """Return every file that the steps write, in order."""
    return [change for step in steps for change in step.changes if isinstance(change, FileChange)]
