"""A board ships its logs: nothing is lost if a part is stopped and started."""

import pytest

from bootwright.provision.log_relay import CONTROL
from bootwright.volume.unlock_result import Result
from tests.support.hostboard import Board, wait_until
from tests.support.shipping import Shipping

pytestmark = pytest.mark.emulator

CONTAINERS, EACH = 2, 4_000

# Only built-in commands of the shell: a signal to the process group must not lose half a batch.
NUMBERS = r"""
trap end=1 TERM
# All of them are started before the first one writes.
until [ -e /all/go ] || [ -n "$end" ]; do sleep 1; done
n=0
[ ! -e /data/n ] || read -r n </data/n
while [ -z "$end" ] && [ "$n" -lt EACH ]; do
    last=$((n + 50))
    while [ "$n" -lt "$last" ]; do
        n=$((n + 1))
        echo "number $n"
    done
    echo "$n" >/data/n
done
[ -n "$end" ] || exec sleep 1000000
""".replace("EACH", str(EACH))


def test_nothing_is_lost_while_the_collector_stops_and_the_board_restarts(
    shipping: Shipping,
) -> None:
    board = shipping.board
    assert isinstance(board, Board)
    every = CONTAINERS * EACH
    board.sh("cat >/tmp/numbers", NUMBERS.encode())
    with shipping.operator.collecting():
        board.sh(
            f"for n in $(seq {CONTAINERS}); do docker run -d --restart always --name ship-n$n"
            " -v ship-n$n:/data -v ship-all:/all busybox:local"
            ' /bin/busybox sh -c "$(cat /tmp/numbers)"'
            " >/dev/null || exit; done; docker run -d --name ship-deaf --restart unless-stopped"
            " busybox:local /bin/busybox sleep 1000000 >/dev/null || exit\n"
            "touch $(docker volume inspect --format '{{.Mountpoint}}' ship-all)/go"
        )
        wait_until(lambda: shipping.numbers() > every // 10)
    # For a while no collector runs.
    before = shipping.numbers()
    queued = f"syslog-ng-ctl stats --control={CONTROL} | grep 'collector#.*;queued;'"
    wait_until(lambda: int(board.sh(queued).strip().rpartition(";")[2]) > every // 10)
    assert shipping.numbers() == before
    boot = "cat /proc/sys/kernel/random/boot_id"
    was = board.sh(boot)
    with shipping.operator.collecting():
        # While they still write, unless the board has already finished.
        wait_until(lambda: shipping.numbers() > every // 2)
        seen = len(board.machine.console())
        board.sh("systemctl reboot")
        wait_until(lambda: b"reboot: Restarting system" in board.machine.console()[seen:])
        # A container that ignores its signal ended with Docker too; nothing had to be killed.
        assert b"Waiting for process" not in board.machine.console()[seen:]
        assert board.machine.unlock(board.passphrase) is Result.UNLOCKED
        assert board.sh(boot) != was
        wait_until(lambda: shipping.numbers() >= every)
        wait_until(lambda: int(board.sh(queued).strip().rpartition(";")[2]) == 0)
    for n in range(1, CONTAINERS + 1):
        texts = shipping.operator.texts("odroid", f"ship-n{n}")
        assert texts == [f"number {number}" for number in range(1, EACH + 1)]
    assert "ship-deaf" in board.sh("docker ps --format '{{.Names}}'")
    assert board.daemon_json()["live-restore"] is True
    rss = board.sh("grep VmHWM /proc/$(systemctl show -p MainPID --value bootwright-logs)/status")
    assert int(rss.split()[1]) < 30 * 1024, rss
    assert (shipping.provision().changed, shipping.numbers()) == ((), every)
