"""Running a job on a board to its end, over as many connections as it takes."""

import time
from collections.abc import Callable, Mapping

from bootwright.core.errors import FailedError
from bootwright.core.file_changes import FileChange
from bootwright.core.parsing import PARSE_ERRORS
from bootwright.core.report import Reporter
from bootwright.core.run_log import logged
from bootwright.core.secret import Secret
from bootwright.remote.io.connection import Remote, UnreachableError
from bootwright.remote.job_script import (
    SLICE_S,
    JobState,
    archive,
    follow_script,
    job_state,
    start_script,
)
from bootwright.remote.sudo import SudoPasswordError

MOST_FAILURES = 10
"""How many times in a row the connection may be lost while a job is followed."""

START_S = 60.0
"""Seconds to transfer a job's files and to start it."""


class Reconnector:
    """The connection to a board, made again when it is lost.

    Args:
        connect: returns a connection that is not made yet. Its argument is how many seconds the
            connection waits for the board's SSH server; as usual if ``None``.
        wait: that argument, for the first connection.
    """

    def __init__(self, connect: Callable[[float | None], Remote], wait: float | None) -> None:
        self._connect = connect
        self.board = connect(wait)

    def again(self, wait: float) -> None:
        """Close the connection, and make another one.

        Args:
            wait: seconds to wait for the board's SSH server.

        Raises:
            FailedError: no connection can be made.
        """
        self.board.close()
        self.board = self._connect(wait)
        self.board.connect()

    def close(self) -> None:
        """Close the connection."""
        self.board.close()


def run_job(
    reconnector: Reconnector,
    name: str,
    script: str,
    files: Mapping[str, FileChange],
    *,
    timeout: float,
    patience: float,
    reporter: Reporter,
) -> JobState:
    """Start a job, follow it until it ends, and return how it ended.

    Args:
        reconnector: the connection to the board; connected.
        name: the job's name; a board runs one job at a time.
        script: what it does.
        files: what it finds beside itself, by name.
        timeout: seconds to wait for the job's end; the board continues the job after them.
        patience: seconds to wait for the board's SSH server when the connection was lost.
        reporter: shows what the job does.

    Raises:
        FailedError: it could not be started, did not end in time, or the board is lost.
    """
    with logged("ssh", f"job {name}", script=script, files=list(files)) as result:
        # Files may be secret.
        data = Secret(archive(script, files))
        done = reconnector.board.run(
            start_script(name), title=name, stdin=data, sudo=True, timeout=START_S
        )
        if done.returncode != 0:
            raise FailedError(done.failure(f"{reconnector.board.where}: {name} cannot be started"))
        state = _follow_to_end(reconnector, name, timeout, patience, reporter)
        result["status"] = state.status
    return state


def _follow_to_end(
    reconnector: Reconnector, name: str, timeout: float, patience: float, reporter: Reporter
) -> JobState:
    end = time.monotonic() + timeout
    shown = ""
    while time.monotonic() < end:
        state = _follow(reconnector, name, shown, patience, reporter)
        if state.gone:
            raise FailedError(
                f"{reconnector.board.where}: {name}: it was interrupted (was the board restarted?);"
                " run it again"
            )
        if state.status is not None:
            return state
        if state.progress and state.progress != shown:
            shown = state.progress
            reporter.note(shown)
    raise FailedError(
        f"{reconnector.board.where}: {name}: no end after {timeout:.0f} s; it goes on there. Run it"
        " again later"
    )


def _follow(
    reconnector: Reconnector, name: str, shown: str, patience: float, reporter: Reporter
) -> JobState:
    for failures in range(MOST_FAILURES + 1):
        try:
            done = reconnector.board.run(
                follow_script(name, shown), title=name, sudo=True, timeout=SLICE_S + 30
            )
        except SudoPasswordError:
            raise
        except FailedError as error:
            if failures == MOST_FAILURES:
                raise
            reporter.note(f"{error}; connecting again")
            # Longer each time, for a board that closes every connection at once.
            time.sleep(failures)
            _reconnect(reconnector, name, patience)
            continue
        try:
            return job_state(reconnector.board.sections_of(done, name))
        except PARSE_ERRORS as error:
            raise FailedError(f"{reconnector.board.where}: {name}: {error}") from None
    raise AssertionError("the last failure is raised")


def _reconnect(reconnector: Reconnector, name: str, patience: float) -> None:
    try:
        reconnector.again(patience)
    except UnreachableError as error:
        raise FailedError(
            f"{error} It was lost during this job: {name}. The board goes on by itself, and puts"
            " an unconfirmed change back. Run it again when the board answers"
        ) from None
