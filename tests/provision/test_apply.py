"""Whether a change stays or is put back: the real scripts on a board, over a connection that fails.

The job runs by itself on the board, as it does on a real one; the connection to it is a stand-in.
"""

import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bootwright.core.errors import FailedError
from bootwright.core.report import TextReporter
from bootwright.provision.apply import ApplyResult, apply, put_back_unfinished
from bootwright.provision.facts import HostFacts
from bootwright.provision.transaction import ENDED, JOB, apply_script, job_files
from bootwright.remote import job_script
from bootwright.remote.job import run_job
from bootwright.remote.job_script import JobState
from tests.support.changes import plain
from tests.support.connection import WHERE, Network, cut
from tests.support.fakeboard import FakeBoard, Tree
from tests.support.host_facts import stock
from tests.support.namespace import need_namespaces

pytestmark = pytest.mark.integration

RESTART = "systemctl restart docker.service"

REPORTER = TextReporter()


class Run:
    """One run on a board: applies a change over a network of its own."""

    def __init__(self, board: FakeBoard) -> None:
        self.board = board
        self.network = Network(board.run_script)
        self.reconnector = self.network.reconnector()
        self.left = ""
        self.after_job: Callable[[], object] = lambda: None
        self.before_collecting: Callable[[], object] = lambda: None
        self.collected = 0

    def job(self) -> JobState:
        state = run_job(
            self.reconnector,
            JOB,
            apply_script(plain()),
            job_files(plain()),
            timeout=60,
            patience=20,
            reporter=REPORTER,
        )
        self.after_job()
        return state

    def collect(self) -> tuple[HostFacts, str]:
        self.before_collecting()
        self.collected += 1
        return stock(hostname="after"), self.left

    def apply(self) -> ApplyResult:
        return apply(self.reconnector, plain(), self.job, self.collect, REPORTER)

    def put_back(self) -> None:
        put_back_unfinished(self.reconnector, REPORTER)


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBoard]:
    need_namespaces()
    # Seconds after which the end of a job is noticed that does not write its status any more.
    monkeypatch.setattr(job_script, "SLICE_S", 1)
    board = FakeBoard(tmp_path / "board")
    board.make()
    board.expect_job()
    yield board
    board.kill_job()
    shutil.rmtree(tmp_path)


@pytest.fixture
def run(board: FakeBoard) -> Run:
    return Run(board)


@pytest.fixture
def before(board: FakeBoard) -> Tree:
    return board.tree()


def as_before(run: Run, before: Tree) -> bool:
    """Return whether the board is what it was, and nothing is waiting to be confirmed."""
    now = run.board.tree()
    assert [name for name in {**before, **now} if before.get(name) != now.get(name)] == []
    return run.board.left == [] and not run.board.armed


def failure(result: ApplyResult) -> str:
    assert result.facts is None
    assert isinstance(result.error, FailedError)
    return str(result.error)


def test_a_proven_change_is_confirmed_over_a_new_connection(run: Run, before: Tree) -> None:
    result = run.apply()
    assert result.error is None
    assert result.facts == stock(hostname="after")
    assert (result.client, result.server, result.rolled_back) == ("20.10", "20.11", False)
    # The first connection, and another one for the proof; it waits as long as the board does.
    assert run.network.waits == [0.0, 600.0]
    assert run.network.titles[-1] == "confirming"
    assert not run.board.armed
    assert run.board.tree() != before
    # Nothing is put back any more.
    run.board.reboot()
    assert run.board.tree() != before


def test_a_step_that_fails_is_put_back_and_named(run: Run, before: Tree) -> None:
    run.board.strike("fail", RESTART)
    result = run.apply()
    assert failure(result).startswith(
        f"{WHERE}: step daemon failed. Everything was put back, and works as before. The board"
        f" says:\n  struck: {RESTART}\n"
    )
    assert result.rolled_back
    assert run.collected == 0
    assert as_before(run, before)


def test_what_fails_before_anything_changed_is_not_called_put_back(run: Run, before: Tree) -> None:
    run.board.strike("fail", "systemctl enable --quiet --no-reload bootwright-restore.service")
    result = run.apply()
    assert "step begin failed. Nothing was changed. The board says:\n  systemctl enab" in failure(
        result
    )
    assert not result.rolled_back
    assert as_before(run, before)


def test_what_cannot_be_put_back_is_reported_with_where_it_is(run: Run) -> None:
    # The daemon with the old configuration runs no container either.
    run.board.state("docker/lies", "uid_map: 0 0\n")
    run.board.strike("fail", "docker import - bootwright-smoke:N", 2)
    result = run.apply()
    text = failure(result)
    assert "step smoke failed. Not everything could be put back; the former files are in" in text
    assert "/var/lib/bootwright/transaction.failed on the board." in text
    assert "The board says:\n  a container printed no line that" in text
    assert "\nErrors while putting back:\n  no container runs" in text
    assert result.rolled_back
    assert (run.board.path("/var/lib/bootwright/transaction.failed") / "old").is_dir()


def test_facts_that_did_not_take_effect_put_everything_back(run: Run, before: Tree) -> None:
    run.left = "daemon (restart the daemon: icc is True, not False)"
    result = run.apply()
    assert failure(result) == (
        f"{WHERE}: this did not take effect: {run.left}. Everything was put back, and works as"
        " before."
    )
    assert result.rolled_back
    assert "confirming" not in run.network.titles
    assert as_before(run, before)


def test_a_confirmation_that_comes_too_late_confirms_nothing(run: Run, before: Tree) -> None:
    # The time is over while the facts are collected.
    run.before_collecting = run.board.reach_deadline
    result = run.apply()
    assert (
        "the confirmation came too late, after 600 s. Everything was put back, and works as before."
    ) in failure(result)
    assert result.rolled_back
    assert as_before(run, before)


def test_the_board_was_faster_to_put_back_what_did_not_take_effect(run: Run, before: Tree) -> None:
    run.before_collecting = run.board.reach_deadline
    run.left = "daemon"
    result = run.apply()
    assert "not take effect: daemon. Everything was put back, and works as before." in failure(
        result
    )
    assert result.rolled_back
    assert as_before(run, before)


def test_a_board_that_could_not_put_everything_back_by_itself_says_so(run: Run) -> None:
    def end() -> None:
        run.board.strike("fail", "docker import - bootwright-smoke:N")
        run.board.reach_deadline()

    for left in ("", "daemon"):
        run.before_collecting, run.left = end, left
        text = failure(run.apply())
        assert "Not everything could be put back; the former files are in" in text


def test_how_a_change_ended_that_is_gone_is_not_guessed(run: Run) -> None:
    def end() -> None:
        run.board.reach_deadline()
        run.board.path(ENDED).unlink()

    for left in ("", "daemon"):
        run.before_collecting, run.left = end, left
        text = failure(run.apply())
        assert "does not report whether everything was put back" in text


def test_what_was_put_back_without_docker_is_not_called_proven(run: Run, before: Tree) -> None:
    # The first step fails, before the daemon is touched.
    run.board.strike("fail", "grep -q ^dockremap: /etc/subuid")
    result = run.apply()
    assert "failed. Everything was put back. The board says:" in failure(result)
    assert as_before(run, before)


def test_another_change_is_not_confirmed(run: Run) -> None:
    # Put back, and begun again by somebody else with another configuration.
    def other() -> None:
        run.board.restore("now")
        (run.board.root / "group").unlink()
        assert run.board.apply(replace(plain(), id="fedcba9876543210")).complete

    run.before_collecting = other
    result = run.apply()
    assert "the confirmation came too late" in failure(result)
    assert run.board.armed


def test_a_lost_connection_is_made_again_while_the_job_goes_on(run: Run, before: Tree) -> None:
    # The first script of this name starts the job, the others follow it.
    run.network.before(JOB, cut, nth=2)
    run.network.before(JOB, cut, nth=3)
    result = run.apply()
    assert result.error is None
    assert result.facts is not None
    assert run.network.waits == [0.0, 20.0, 20.0, 600.0]
    assert run.board.tree() != before
    assert not run.board.armed


def test_a_board_that_is_lost_while_the_job_goes_on_takes_everything_back(
    run: Run, before: Tree
) -> None:
    def lose() -> None:
        run.board.until_hung()
        run.network.unreachable = math.inf
        cut()

    run.board.hang(RESTART)
    run.network.before(JOB, lose, nth=2)
    with pytest.raises(FailedError, match="puts an unconfirmed change back"):
        run.apply()
    assert run.collected == 0
    run.board.reach_deadline()
    assert as_before(run, before)


def test_a_job_that_is_killed_is_put_back(run: Run, before: Tree) -> None:
    run.board.strike("kill", RESTART)
    result = run.apply()
    assert failure(result) == (
        f"{WHERE}: the job was killed in step daemon. Everything was put back, and works as before."
    )
    assert result.rolled_back
    assert run.network.titles[-1] == "putting back"
    assert as_before(run, before)


def test_a_job_that_is_killed_before_it_armed_has_changed_nothing(run: Run, before: Tree) -> None:
    # The stand-in writes a call without arguments down with a blank.
    run.board.strike("kill", "sync ")
    result = run.apply()
    assert "the job was killed before its first step. Nothing was changed." in failure(result)
    assert not result.rolled_back
    assert run.board.tree().keys() - before.keys() == {
        # The unit that does nothing without the mark; the next run overwrites it.
        "etc/systemd/system/bootwright-restore.service",
        "etc/systemd/system/multi-user.target.wants/bootwright-restore.service",
    }


def test_a_job_that_is_gone_with_all_of_it_is_put_back_by_the_next_run(
    run: Run, before: Tree
) -> None:
    run.board.strike("cut", RESTART)
    with pytest.raises(FailedError, match=r"interrupted \(was the board restarted\?\)"):
        run.apply()
    assert run.board.armed
    assert run.collected == 0
    run.put_back()
    assert as_before(run, before)


def test_a_board_that_restarts_in_between_has_put_everything_back(run: Run, before: Tree) -> None:
    def restart() -> None:
        run.board.until_hung()
        run.board.kill_job()
        run.board.reboot()
        cut()

    run.board.hang(RESTART)
    run.network.before(JOB, restart, nth=2)
    with pytest.raises(FailedError, match=r"interrupted \(was the board restarted\?\)"):
        run.apply()
    assert run.collected == 0
    assert as_before(run, before)


def test_a_board_that_restarts_before_the_proof_is_not_confirmed(run: Run, before: Tree) -> None:
    run.before_collecting = run.board.reboot
    run.left = "userns, daemon, audit"
    result = run.apply()
    # At a boot no daemon runs yet that could prove more.
    assert "did not take effect: userns, daemon, audit. Everything was put back." in failure(result)
    assert result.rolled_back
    assert as_before(run, before)


def test_a_board_that_is_not_reached_again_takes_the_change_back(run: Run, before: Tree) -> None:
    def lose() -> None:
        run.network.unreachable = math.inf

    run.after_job = lose
    with pytest.raises(FailedError) as error:
        run.apply()
    assert str(error.value).startswith(f"{WHERE}: no answer\nThe change is in place and not confi")
    assert "takes it back 600 s after it began" in str(error.value)
    assert run.board.armed
    run.board.reach_deadline()
    assert as_before(run, before)


def test_a_connection_that_is_lost_in_the_proof_confirms_nothing(run: Run, before: Tree) -> None:
    run.before_collecting = cut
    with pytest.raises(FailedError, match="in place and not confirmed"):
        run.apply()
    assert run.board.armed
    run.board.reach_deadline()
    assert as_before(run, before)


def test_a_connection_that_is_lost_at_the_confirmation_is_an_error(run: Run) -> None:
    run.network.before("confirming", cut)
    with pytest.raises(FailedError, match="the connection was lost"):
        run.apply()
    assert run.board.armed


def test_what_another_run_is_doing_is_left_alone(run: Run, board: FakeBoard) -> None:
    def meanwhile() -> None:
        board.until_hung()
        with pytest.raises(FailedError, match="another inv provision runs on this board; wait"):
            Run(board).put_back()
        assert board.armed
        board.kill_job()

    board.hang(RESTART)
    run.network.before(JOB, meanwhile, nth=2)
    with pytest.raises(FailedError, match="interrupted"):
        run.apply()
    assert board.armed


def test_an_unfinished_change_that_cannot_be_put_back_is_an_error(run: Run) -> None:
    run.board.strike("cut", RESTART)
    with pytest.raises(FailedError, match="interrupted"):
        run.apply()
    run.board.strike("fail", "docker import - bootwright-smoke:N")
    with pytest.raises(FailedError) as error:
        run.put_back()
    text = str(error.value)
    assert text.startswith(f"{WHERE}: a change of an interrupted run was there. Not everything")
    assert text.endswith("\nErrors while putting back:\n  no container runs")
