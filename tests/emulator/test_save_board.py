"""A real board that is saved while it runs, and continues from there."""

import time
from pathlib import Path

import pytest

from bootwright.core.report import TextReporter
from bootwright.emulator.io import qemu, saves
from tests.support.hostboard import Board
from tests.support.stages import resumed

pytestmark = pytest.mark.emulator

HOUR = 3600


def test_a_board_continues_from_where_it_was_saved(unlocked: Board, tmp_path: Path) -> None:
    machine, kept = unlocked.machine, tmp_path / "saves"
    unlocked.sh("for d in /root /mnt/docker-data; do echo 1 >$d/before; done; echo 2 >/run/memory")
    booted = unlocked.sh("cat /proc/sys/kernel/random/boot_id")
    unlocked.sh(f"date -u -s @{int(time.time()) - 5 * HOUR}")
    saves.save("one", TextReporter(), directory=machine.directory, saves=kept)
    # It continues after the save; what it writes now is not in the save.
    unlocked.sh("for d in /root /mnt/docker-data; do rm $d/before; echo 1 >$d/after; done; sync")
    unlocked.close()
    qemu.stop(TextReporter(), machine.directory, power_down_s=0)

    for number in range(2):
        with resumed("one", machine.card, kept, tmp_path / f"again-{number}") as board:
            assert board.sh("cat /proc/sys/kernel/random/boot_id") == booted
            assert board.sh("cd / && ls root/before mnt/docker-data/before").split() == [
                *("mnt/docker-data/before", "root/before")
            ]
            assert board.sh("cat /run/memory").strip() == "2"
            assert board.sh("ls /root/after /mnt/docker-data/after 2>/dev/null || true") == ""
            source = board.sh("findmnt --noheadings --output SOURCE /mnt/docker-data")
            assert source.strip() == "/dev/mapper/docker-data"
            # It was five hours slow when it was saved.
            assert abs(int(board.sh("date +%s")) - time.time()) < HOUR
            board.sh("echo 1 >/root/after; sync")
