"""A board ships its logs: its volume is opened over SSH, after the boot."""

from dataclasses import replace

import pytest

from bootwright.core.report import TextReporter
from bootwright.volume.unlock_ssh import unlock_over_ssh
from tests.support.hostboard import GUEST_S, Board, wait_until
from tests.support.shipping import Shipping

pytestmark = pytest.mark.emulator


def test_a_relay_waits_for_a_volume_that_is_opened_over_ssh(shipping: Shipping) -> None:
    board = shipping.board
    assert isinstance(board, Board)
    board.sh(
        "sed -i '/docker-data/s/$/,noauto/' /etc/crypttab\n"
        "sed -i '/docker-data/s/ 0 [02]$/,noauto&/' /etc/fstab\n"
        "systemctl daemon-reload"
    )
    done = shipping.provision(unlock="ssh")
    assert done.error is None, done.error
    board.sh(
        "docker run -d --name ship-often --restart always busybox:local /bin/busybox"
        " sh -c 'echo started; exec sleep 1000000' >/dev/null"
    )
    seen = len(board.machine.console())
    board.sh("systemctl reboot")
    wait_until(lambda: b"reboot: Restarting system" in board.machine.console()[seen:])
    states = "systemctl is-active bootwright-logs.service docker.service || true"
    closed = f"{states}; ls -A /mnt/docker-data; systemctl --failed --plain --no-legend"
    assert board.sh(closed) == "inactive\ninactive\n"
    assert unlock_over_ssh(
        replace(board.endpoint, unlock="ssh"),
        board.passphrase,
        timeout=GUEST_S,
        reporter=TextReporter(),
        directory=board.known,
    ).ok
    assert board.sh(states) == "active\nactive\n"
    with shipping.operator.collecting():
        wait_until(lambda: shipping.operator.texts("odroid", "ship-often") == ["started"] * 2)
