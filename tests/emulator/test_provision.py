"""A board without Docker becomes a hardened Docker host, with the real Docker."""

import pytest

from bootwright.provision.one_board import ProvisionOptions
from tests.support.hostboard import GUEST_S, Board, changed_steps

pytestmark = pytest.mark.emulator


def test_a_fresh_board_becomes_a_hardened_docker_host(unlocked: Board) -> None:
    board = unlocked
    look = ProvisionOptions(dry_run=True, directory=board.known, wait=GUEST_S)
    plan = board.provision(options=look)
    assert plan.planned
    assert {"packages", "daemon", "audit"} <= changed_steps(plan)
    assert board.sh("command -v docker || echo none").strip() == "none"

    done = board.provision()
    assert done.error is None, done.error
    assert {"packages", "userns", "daemon", "audit"} <= changed_steps(done)
    assert "docker.service" in done.restarted
    assert done.versions["server"]
    assert done.versions["client"]
    assert not done.rolled_back
    assert {check for waiver in done.waived for check in waiver.checks} == {"2.12", "2.13"}
