"""A provisioned board ships its logs: nothing is lost if a part is stopped and started."""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bootwright.core.report import TextReporter
from bootwright.provision.facts_script import RELAY_CONTROL
from bootwright.provision.log_relay import CONTROL
from bootwright.volume.unlock_result import Result
from bootwright.volume.unlock_ssh import unlock_over_ssh
from tests.support.hostboard import GUEST_S, Board, changed_steps, wait_until
from tests.support.locks import alone
from tests.support.shipping import Shipping
from tests.support.stages import board_at, stage_files

pytestmark = pytest.mark.emulator

CONTAINERS = 4

EACH = int(os.environ.get("BOOTWRIGHT_TEST_RECORDS", "20000")) // CONTAINERS
"""Records of each container. With 100,000 in all, the test takes three minutes more."""

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


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    with board_at("ships", tmp_path) as board:
        yield board


@pytest.fixture
def shipping(board: Board, tmp_path: Path) -> Iterator[Shipping]:
    """The operator's side, with a store of logs of its own and the same certificates."""
    folder = tmp_path / "operator"
    shutil.copytree(stage_files("ships"), folder, symlinks=True)
    with alone(stage_files("ships") / "collecting"):
        yield Shipping(board, folder)


def test_containers_start_while_no_collector_runs(board: Board, shipping: Shipping) -> None:
    assert CONTROL == RELAY_CONTROL
    board.sh("docker run --rm --name ship busybox:local /bin/busybox echo early")
    again = shipping.provision()
    assert (again.error, again.changed, again.restarted) == (None, (), ())
    # Docker's own copy can still be read on the board.
    run = "docker run --name ship2 busybox:local /bin/busybox echo looked up"
    assert board.sh(f"{run} >/dev/null; docker logs ship2") == "looked up\n"


def test_lines_of_containers_and_of_the_board_itself_arrive(
    board: Board, shipping: Shipping
) -> None:
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


def test_nothing_is_lost_while_the_collector_stops_and_the_board_restarts(
    board: Board, shipping: Shipping
) -> None:
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


def is_full(text: str) -> bool:
    return text.startswith("full ")


def test_records_lost_by_a_full_queue_are_counted_and_containers_continue(
    board: Board, shipping: Shipping
) -> None:
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


def test_a_relay_waits_for_a_volume_that_is_opened_over_ssh(
    board: Board, shipping: Shipping
) -> None:
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


def test_without_a_log_server_the_relay_is_removed(board: Board) -> None:
    done = board.provision()
    assert done.error is None, done.error
    assert changed_steps(done) == {"logs", "daemon"}
    assert board.sh("docker info --format '{{.LoggingDriver}}'").strip() == "local"
    assert "inactive" in board.sh("systemctl is-active bootwright-logs.service || true")
    assert board.sh("ls /etc/bootwright/logs 2>/dev/null | wc -l").strip() == "0"
    assert board.provision().changed == ()
