"""`inv status` and `inv unlock` over SSH, as an operator calls them."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from bootwright.card.record import RECORD_PATH
from bootwright.emulator.io.card_image import open_root
from bootwright.emulator.io.qemu import CARD_RECORD
from tests.support.bench import INV, WORD, copy_checkout
from tests.support.hostboard import GUEST_S
from tests.support.lockedboard import LockedBoard
from tests.support.target_keys import FIRST_BOOT_MARK

pytestmark = pytest.mark.emulator


class Operator:
    """`inv` in a checkout of its own, for the board that is running in the emulator."""

    def __init__(self, board: LockedBoard, folder: Path) -> None:
        self.checkout = folder / "checkout"
        target = 'board = "odroid-xu3"\nrootfs = "debian"\nunlock = "ssh"\n'
        identity = f'identity_file = "{board.machine.card.identity}"\n'
        copy_checkout(self.checkout, f"[targets.odroid]\n{target}{identity}")
        self.env = os.environ | {
            "BOOTWRIGHT_BUILD": str(board.machine.directory.parent),
            "PYTHONPATH": str(self.checkout),
        }
        # As `inv emulate` does: the card says which target it is for.
        record = open_root(board.machine.card.image).read_file(RECORD_PATH)
        (board.machine.directory / CARD_RECORD).write_bytes(record)
        self.passphrase = folder / "passphrase"
        self.passphrase.touch(mode=0o600)
        self.passphrase.write_text(f"{WORD}\n")

    def argv(self, *arguments: str) -> list[str]:
        return [str(INV), *arguments]

    def inv(self, *arguments: str) -> str:
        done = subprocess.run(
            self.argv(*arguments),
            cwd=self.checkout,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def operator(ssh_board: LockedBoard, tmp_path: Path) -> Operator:
    return Operator(ssh_board, tmp_path / "operator")


def test_the_commands_over_ssh(operator: Operator) -> None:
    shown = operator.inv("status", "emulator")
    assert "docker-data: locked" in shown
    assert shown.splitlines()[-1].endswith("inv unlock emulator")
    word = f"--passphrase-file={operator.passphrase}"
    result = json.loads(operator.inv("unlock", "emulator", word, "--json"))
    assert (result["via"], result["result"]) == ("ssh", "unlocked")
    assert "docker-data: open" in operator.inv("status", "emulator")
    assert json.loads(operator.inv("status", "emulator", "--json"))["mount"]["mounted"]


def test_every_boot_is_unlocked_over_ssh(ssh_board: LockedBoard, operator: Operator) -> None:
    """The emulator uses a snapshot, in which settings are kept over a reboot."""
    argv = operator.argv(
        "unlock", "emulator", "--watch", f"--passphrase-file={operator.passphrase}"
    )
    log = operator.checkout / "watch.log"
    with log.open("w") as stderr:
        watching = subprocess.Popen(
            argv,
            cwd=operator.checkout,
            env=operator.env,
            stdin=subprocess.DEVNULL,
            stderr=stderr,
        )
    try:
        _wait_for(log, "unlocked: the volume is open", 1)
        ssh_board.sh("(sleep 1; reboot) >/dev/null 2>&1 &")
        _wait_for(log, "unlocked: the volume is open", 2)
        assert watching.poll() is None
    finally:
        watching.terminate()
        watching.wait()
    assert "the connection has ended" in log.read_text()
    assert WORD not in log.read_text()
    assert ssh_board.status()["mount"]["mounted"]
    # The script of the first boot is not for another one.
    assert len(ssh_board.sh(f"cat {FIRST_BOOT_MARK}").splitlines()) == 1


def _wait_for(log: Path, text: str, times: int) -> None:
    end = time.monotonic() + GUEST_S
    while log.read_text().count(text) < times:
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.2)
