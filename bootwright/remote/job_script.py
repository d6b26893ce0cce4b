"""Work on a board that goes on when the connection is lost: a job, and how to follow it.

A job is a script with files beside it in a folder of ``/run``, which is in memory. It runs in a
unit of its own, so that neither the end of the SSH session nor a restart of sshd ends it.
"""

import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass

from bootwright.core.file_changes import FileChange
from bootwright.core.shell import render, render_program
from bootwright.remote.sections import SECTIONS, Section

FOLDER = "/run/bootwright"

_LONGEST = 200
"""Characters of what a job says that are looked at."""

SLICE_S = 5
"""Seconds that one look at a job waits for its end; then it tells how far it has come."""

MOST_LOG = 500_000
"""Bytes of what a job wrote that are looked at: its end."""

JOB_FUNCTIONS = (SECTIONS, "remote/shell/job_progress.sh")
"""The files that a job's script begins with, for :func:`bootwright.core.shell.render`."""

JOB_PRELUDE = render(*JOB_FUNCTIONS)
"""What a job begins with; ``progress TEXT`` says what it does now."""


@dataclass(frozen=True)
class JobState:
    """How far a job is: its exit status and what it reported, or that it runs, or is gone.

    ``says`` is what it does while it runs.
    """

    status: int | None
    gone: bool
    says: str
    sections: tuple[Section, ...]


def start_script(name: str) -> str:
    """Return the script that starts a job from the archive on its standard input.

    It ends with 1 if a job runs already.
    """
    return render(SECTIONS, "remote/shell/job_start.sh", jobs=FOLDER, name=name)


def run_script() -> str:
    """Return the program that runs a job in its folder, its argument, and records how it ends."""
    return render_program("remote/shell/job_run.sh")


def archive(script: str, files: Mapping[str, FileChange]) -> bytes:
    """Return the archive of a job: its script and its files, with owner and mode."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.GNU_FORMAT) as tar:
        job = FileChange("job", script.encode(), 0o700)
        runner = FileChange("job_run.sh", run_script().encode(), 0o700)
        for name, file in {job.path: job, runner.path: runner, **files}.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(file.data), file.mode
            entry.uid, entry.gid = file.uid, file.gid
            tar.addfile(entry, io.BytesIO(file.data))
    return data.getvalue()


def follow_script(name: str, told: str) -> str:
    """Return the script that waits a moment for a job's end, and tells how far it is.

    It waits no longer than until the job says something else than ``told``.
    """
    return render(
        SECTIONS,
        "remote/shell/job_follow.sh",
        jobs=FOLDER,
        name=name,
        known=told[:_LONGEST],
        checks=int(SLICE_S * 4),
        log_bytes=MOST_LOG,
    )


def job_state(sections: tuple[Section, ...]) -> JobState:
    """Return what the follow script told.

    Raises:
        ValueError: the status is no number.
    """
    first = sections[0] if sections else Section("gone", ())
    if first.name == "status":
        # What the job itself wrote has its own end.
        rest = tuple(section for section in sections[1:] if section.name != "end")
        return JobState(int(first.line(0)), False, "", rest)
    return JobState(None, first.name != "running", first.line(0), ())
