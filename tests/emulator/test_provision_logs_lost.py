"""A board ships its logs: what its queue cannot hold is counted."""

import pytest

from bootwright.provision.log_relay import CONTROL
from tests.support.hostboard import changed_steps, wait_until
from tests.support.shipping import Shipping

pytestmark = pytest.mark.emulator


def is_full(text: str) -> bool:
    return text.startswith("full ")


def test_records_lost_by_a_full_queue_are_counted_and_containers_continue(
    shipping: Shipping,
) -> None:
    board = shipping.board
    operator = shipping.operator
    queued = f"syslog-ng-ctl stats --control={CONTROL} | grep 'collector#.*;queued;'"
    with operator.collecting():
        # The records of the boot must not be among the lost ones.
        wait_until(lambda: int(board.sh(queued).strip().rpartition(";")[2]) == 0)
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
