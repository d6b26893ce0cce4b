"""A provisioned board ships its logs."""

import re

import pytest

from bootwright.provision.facts_script import RELAY_CONTROL
from bootwright.provision.log_relay import CONTROL
from tests.support.hostboard import changed_steps, wait_until
from tests.support.shipping import Shipping

pytestmark = pytest.mark.emulator


def test_containers_start_while_no_collector_runs(shipping: Shipping) -> None:
    board = shipping.board
    assert CONTROL == RELAY_CONTROL
    board.sh("docker run --rm --name ship busybox:local /bin/busybox echo early")
    again = shipping.provision()
    assert (again.error, again.changed, again.restarted) == (None, (), ())
    # Docker's own copy can still be read on the board.
    run = "docker run --name ship2 busybox:local /bin/busybox echo looked up"
    assert board.sh(f"{run} >/dev/null; docker logs ship2") == "looked up\n"


def test_lines_of_containers_and_of_the_board_itself_arrive(shipping: Shipping) -> None:
    board = shipping.board
    operator = shipping.operator
    board.sh("docker run --rm --name ship busybox:local /bin/busybox echo early")
    hello = "/bin/busybox echo 'hello from Odroid'"
    with operator.collecting():
        board.sh(f"docker run --rm --log-opt tag=remote busybox:local {hello}")
        board.sh("touch /etc/default/docker")
        wait_until(lambda: operator.texts("odroid", "remote") == ["hello from Odroid"])
        wait_until(lambda: any("docker" in text for text in operator.texts("odroid", "audit")))
        # Also records from before the relay was installed.
        wait_until(
            lambda: any("Linux version" in text for text in operator.texts("odroid", "kernel"))
        )
        assert any("Accepted publickey" in text for text in operator.texts("odroid", "sshd"))
        assert operator.texts("odroid", "systemd")
        early = next(one for one in operator.records("odroid") if one.text == "early")
    assert early.container is not None
    assert (early.container.name, early.container.image) == ("ship", "busybox:local")
    assert re.fullmatch("[0-9a-f]{12}", early.container.id)
    assert early.board == "odroid"


def test_without_a_log_server_the_relay_is_removed(shipping: Shipping) -> None:
    board = shipping.board
    done = board.provision()
    assert done.error is None, done.error
    assert changed_steps(done) == {"logs", "daemon"}
    assert board.sh("docker info --format '{{.LoggingDriver}}'").strip() == "local"
    assert "inactive" in board.sh("systemctl is-active bootwright-logs.service || true")
    assert board.sh("ls /etc/bootwright/logs 2>/dev/null | wc -l").strip() == "0"
    assert board.provision().changed == ()
