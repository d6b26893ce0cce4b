"""A job: a script on a board that goes on when the connection is lost, and how it is followed.

The script and its files are in a folder of ``/run``, which is in memory. It runs in a unit of
its own, so that neither the end of the SSH session nor a restart of sshd ends it.
"""

import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass

from bootwright.core.file_changes import FileChange
from bootwright.core.shell import render, render_program
from bootwright.remote.sections import SECTIONS, Section

FOLDER = "/run/bootwright"
"""The folder on a board that has a folder for each job."""

SLICE_S = 5
"""Seconds that one call of the script :func:`follow_script` waits for the job's end."""

_MOST_PROGRESS = 200
"""Characters of a job's progress that are reported; see ``shell/job_follow.sh``."""

_MOST_LOG = 500_000
"""Bytes of a job's output that are reported: the last ones."""

JOB_FUNCTIONS = (SECTIONS, "remote/shell/job_progress.sh")
"""The files that a job's script begins with, for :func:`bootwright.core.shell.render`."""


@dataclass(frozen=True)
class JobState:
    """The state of a job.

    Attributes:
        status: its exit status; ``None`` while it runs, and if it is gone.
        gone: it does not run and has left no status: it was killed, or the board was restarted.
        progress: what it does while it runs, in its own words; empty if there is none yet.
        sections: what it reported, once it has ended.
    """

    status: int | None
    gone: bool
    progress: str
    sections: tuple[Section, ...]


def start_script(name: str) -> str:
    """Return the script that starts a job from the archive on its standard input.

    Its exit status is 1 if a job runs already.
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


def follow_script(name: str, known_progress: str) -> str:
    """Return the script that reports the state of a job: at once, or after a few seconds.

    It waits until the job ends, or has another progress than ``known_progress``, but no longer
    than :data:`SLICE_S`.
    """
    return render(
        SECTIONS,
        "remote/shell/job_follow.sh",
        jobs=FOLDER,
        name=name,
        known=known_progress[:_MOST_PROGRESS],
        seconds=SLICE_S,
        log_bytes=_MOST_LOG,
    )


def job_state(sections: tuple[Section, ...]) -> JobState:
    """Return the state that :func:`follow_script` reported.

    Raises:
        ValueError: the status is no number.
    """
    first = sections[0] if sections else Section("gone", ())
    if first.name == "status":
        # The job's own output may have an end of its own.
        rest = tuple(section for section in sections[1:] if section.name != "end")
        return JobState(int(first.line(0)), False, "", rest)
    return JobState(None, first.name != "running", first.line(0), ())
