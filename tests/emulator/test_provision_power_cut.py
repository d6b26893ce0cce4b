"""A power cut while a board is provisioned, with the real Docker."""

import pytest

from bootwright.core.errors import FailedError
from bootwright.emulator.io.qmp import qmp_command
from bootwright.provision.one_board import ProvisionOptions
from bootwright.volume.status import status
from bootwright.volume.unlock_result import Result
from tests.support.hostboard import Board, wait_until
from tests.support.interruptions import Listener

pytestmark = pytest.mark.emulator


def test_a_power_cut_in_the_middle_leaves_the_board_as_it_was(board: Board) -> None:
    before = board.daemon_json()
    socket_path = board.machine.directory / "qmp.sock"

    def pull_the_plug() -> None:
        qmp_command(socket_path, "system_reset")

    options = ProvisionOptions(directory=board.known, confirm_s=30)
    with pytest.raises(FailedError):
        board.provision(
            {"daemon": {"icc": True}},
            options=options,
            reporter=Listener("daemon", pull_the_plug),
        )
    assert board.machine.unlock(board.passphrase) is Result.UNLOCKED
    wait_until(lambda: "old" in board.sh("docker ps --format '{{.Names}}' || true"))
    assert board.daemon_json() == before
    state = status(board.endpoint, directory=board.known)
    assert state.services == {"containerd": "active", "docker": "active"}
    again = board.provision()
    assert (again.error, again.changed, again.warnings[1:]) == (None, (), ())
