"""Running a job on a board to its end, over as many connections as it takes."""

import time
from collections.abc import Callable, Mapping

from bootwright.core.errors import FailedError
from bootwright.core.file_changes import FileChange
from bootwright.core.parsing import PARSE_ERRORS
from bootwright.core.report import Reporter
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
from bootwright.remote.sections import parse_sections
from bootwright.remote.sudo import SudoPasswordError

MOST_FAILURES = 10
"""How many times in a row a look at a job may fail."""

START_S = 60.0
"""Seconds to hand a job over."""


class Reconnector:
    """The connection to a board, made again when it is lost.

    ``connect`` returns a connection that is not made yet; it is told how many seconds to wait
    for a server.
    """

    def __init__(self, connect: Callable[[float], Remote], wait: float) -> None:
        self._connect = connect
        self.board = connect(wait)

    def again(self, wait: float) -> None:
        """Connect anew; the old connection is given up.

        Raises:
            FailedError: no connection is to be had.
        """
        self.board.close()
        self.board = self._connect(wait)
        self.board.connect()

    def close(self) -> None:
        """Hang up."""
        self.board.close()


def run_job(
    link: Reconnector,
    name: str,
    script: str,
    files: Mapping[str, FileChange],
    *,
    timeout: float,
    patience: float,
    reporter: Reporter,
) -> JobState:
    """Start a job, follow it to its end, and return that.

    Args:
        link: the board; connected.
        name: the job's; only one of a name runs on a board.
        script: what it does.
        files: what it finds beside itself.
        timeout: seconds for the job; it is left running after them.
        patience: seconds to wait for the board while no connection is to be had.
        reporter: where to tell what the job says.

    Raises:
        FailedError: it could not be started, did not end in time, or the board is lost.
    """
    # Files may be secret.
    data = Secret(archive(script, files))
    done = link.board.run(start_script(name), title=name, stdin=data, sudo=True, timeout=START_S)
    if done.returncode != 0:
        raise FailedError(f"{link.board.where}: {name}: {done.stderr_text or done.text.strip()}")
    end = time.monotonic() + timeout
    told = ""
    while time.monotonic() < end:
        state = _look(link, name, told, patience, reporter)
        if state.gone:
            raise FailedError(
                f"{link.board.where}: {name}: it was broken off (was the board restarted?); run it"
                " again"
            )
        if state.status is not None:
            return state
        if state.says and state.says != told:
            told = state.says
            reporter.note(told)
    raise FailedError(
        f"{link.board.where}: {name}: no end after {timeout:.0f} s; it goes on there. Run it again"
        " later"
    )


def _look(link: Reconnector, name: str, told: str, patience: float, reporter: Reporter) -> JobState:
    for failures in range(MOST_FAILURES + 1):
        try:
            done = link.board.run(
                follow_script(name, told), title=name, sudo=True, timeout=SLICE_S + 30
            )
        except SudoPasswordError:
            raise
        except FailedError as error:
            if failures == MOST_FAILURES:
                raise
            reporter.note(f"{error}; looking for the board again")
            # A board that hangs up at once is not to be worn out.
            time.sleep(failures)
            _reconnect(link, name, patience)
            continue
        try:
            return job_state(parse_sections(done.text))
        except PARSE_ERRORS as error:
            raise FailedError(f"{link.board.where}: {name}: {error}") from None
    raise AssertionError("the last failure is raised")


def _reconnect(link: Reconnector, name: str, patience: float) -> None:
    try:
        link.again(patience)
    except UnreachableError as error:
        raise FailedError(
            f"{error} It was lost while it was at this: {name}; the board goes on by itself, and"
            " puts an unconfirmed change back. Run it again when it answers"
        ) from None
