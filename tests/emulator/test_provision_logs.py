"""A provisioned board ships the records of its kernel, its services and its containers."""

import re

import pytest

from tests.support.hostboard import wait_until
from tests.support.shipping import Shipping

pytestmark = pytest.mark.emulator


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
        wait_until(
            lambda: any("Accepted publickey" in text for text in operator.texts("odroid", "sshd"))
        )
        wait_until(lambda: operator.texts("odroid", "systemd") != [])
        wait_until(lambda: operator.texts("odroid", "ship") == ["early"])
        early = next(one for one in operator.records("odroid") if one.text == "early")
    assert early.container is not None
    assert (early.container.name, early.container.image) == ("ship", "busybox:local")
    assert re.fullmatch("[0-9a-f]{12}", early.container.id)
    assert early.board == "odroid"
