"""A Docker host ships the records of its containers; how a real relay behaves."""

from pathlib import Path

import pytest

from bootwright.provision.facts_script import RELAY_CONTROL
from bootwright.provision.log_relay import CONTROL
from tests.support.hostboard import HostBoard, changed_steps, wait_until
from tests.support.nativeboard import NativeBoard
from tests.support.shipping import Shipping

pytestmark = pytest.mark.integration

CONTAINERS, EACH = 4, 25_000

WRITES = f"""
n=0
while [ $n -lt {EACH} ]; do
    n=$((n + 1))
    echo "number $n"
done
"""


def queued(board: HostBoard) -> int:
    """Return how many records wait on the board."""
    command = f"syslog-ng-ctl stats --control={CONTROL} | grep 'collector#.*;queued;'"
    return int(board.sh(command).strip().rpartition(";")[2])


def is_full(text: str) -> bool:
    return text.startswith("full ")


@pytest.fixture
def shipping(native_board: NativeBoard, tmp_path: Path) -> Shipping:
    """A board that ships its logs, and its operator's side."""
    folder = tmp_path / "operator"
    folder.mkdir()
    here = native_board.host_address
    made = Shipping(native_board, folder, server=here, listen=here)
    done = made.provision()
    assert done.error is None, done.error
    assert "logs" in changed_steps(done)
    return made


def test_containers_start_while_no_collector_runs(shipping: Shipping) -> None:
    board = shipping.board
    assert CONTROL == RELAY_CONTROL
    board.sh("docker run --rm --name ship busybox:local /bin/busybox echo early")
    again = shipping.provision()
    assert (again.error, again.changed, again.restarted) == (None, (), ())
    # Docker's own copy can still be read on the board.
    run = "docker run --name ship2 busybox:local /bin/busybox echo looked up"
    assert board.sh(f"{run} >/dev/null; docker logs ship2") == "looked up\n"


def test_records_lost_by_a_full_queue_are_counted_and_containers_continue(
    shipping: Shipping,
) -> None:
    board = shipping.board
    operator = shipping.operator
    with operator.collecting():
        # The records of the boot must not be among the lost ones.
        wait_until(lambda: queued(board) == 0)
    done = shipping.provision(queue="1MiB")
    assert done.error is None, done.error
    assert changed_steps(done) == {"logs"}
    many = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo full $i; done"
    # It ends, so it did not have to wait.
    board.sh(f"docker run --rm --name ship busybox:local /bin/busybox sh -c '{many}' >/dev/null")
    # The same settings again: a change would restart the relay, which then counts from 0.
    result = shipping.provision(queue="1MiB")
    assert (result.error, result.changed) == (None, ())
    assert any("log records were lost" in text for text in result.warnings), result.warnings
    dropped = f"syslog-ng-ctl stats --control={CONTROL} | grep 'collector#.*;dropped;'"
    with operator.collecting():

        def known() -> bool:
            lost = sum(one.lost for one in operator.records("odroid"))
            return 0 < lost == int(board.sh(dropped).strip().rpartition(";")[2])

        wait_until(known)
        lost = sum(one.lost for one in operator.records("odroid"))
        assert 0 < lost < 20000
        # All other records have arrived.
        wait_until(lambda: sum(map(is_full, operator.texts("odroid", "ship"))) == 20000 - lost)


def test_without_a_log_server_the_relay_is_removed(shipping: Shipping) -> None:
    board = shipping.board
    done = board.provision()
    assert done.error is None, done.error
    assert changed_steps(done) == {"logs", "daemon"}
    assert board.sh("docker info --format '{{.LoggingDriver}}'").strip() == "local"
    assert "inactive" in board.sh("systemctl is-active bootwright-logs.service || true")
    assert board.sh("ls /etc/bootwright/logs 2>/dev/null | wc -l").strip() == "0"
    assert board.provision().changed == ()


def test_nothing_is_lost_while_the_collector_is_stopped(shipping: Shipping) -> None:
    board = shipping.board
    every = CONTAINERS * EACH
    board.sh("cat >/tmp/writes", WRITES.encode())
    with shipping.operator.collecting():
        board.sh(
            f"for n in $(seq {CONTAINERS}); do docker run -d --name ship-n$n busybox:local"
            ' /bin/busybox sh -c "$(cat /tmp/writes)" >/dev/null || exit; done'
        )
        wait_until(lambda: shipping.numbers() > every // 20)
    # For a while no collector runs.
    before = shipping.numbers()
    wait_until(lambda: queued(board) > every // 20)
    assert shipping.numbers() == before
    with shipping.operator.collecting():
        wait_until(lambda: shipping.numbers() >= every)
    for n in range(1, CONTAINERS + 1):
        texts = shipping.operator.texts("odroid", f"ship-n{n}")
        assert texts == [f"number {number}" for number in range(1, EACH + 1)]
