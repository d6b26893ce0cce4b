"""A card with ``unlock = "ssh"``, booted once: unlocking, status and passphrases over SSH."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bootwright.core.board import load_board
from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import InputError
from bootwright.core.paths import checkout
from bootwright.core.report import TextReporter
from bootwright.core.secret import Secret
from bootwright.emulator.io import qemu, saves
from bootwright.remote.io.connection import Remote, UnreachableError
from bootwright.volume.choices import PassphraseAction
from bootwright.volume.keyslots import Passphrases, change_keyslots
from bootwright.volume.status import status
from bootwright.volume.unlock_result import Result, UnlockResult
from bootwright.volume.unlock_ssh import unlock_over_ssh
from tests.support.bench import INV, WORD, Bench
from tests.support.schemas import check_document
from tests.support.stages import ROOTFS_VARIABLE

# In one process: they share a card that is booted once.
pytestmark = pytest.mark.emulator

GUEST_S = 300.0
"""Seconds for an action in the guest; on an idle machine it takes less than 30."""

SERVICE = "[Service]\nExecStart=/bin/sleep infinity\n"
"""Replaces Docker: it runs if it is started and its conditions are met, and only then."""

CRYPT_UNIT = r"systemd-cryptsetup@docker\x2ddata.service"


@dataclass
class Board:
    """The booted card."""

    bench: Bench
    endpoint: Endpoint
    known: Path

    def sh(self, script: str, stdin: bytes | Secret | None = None) -> str:
        """Run a script in the guest, which must end well."""
        with Remote(self.endpoint, directory=self.known, wait=GUEST_S) as remote:
            done = remote.run(script, title="a script", stdin=stdin, timeout=GUEST_S)
        assert done.returncode == 0, f"{script}\n{done.text}\n{done.stderr_text}"
        return done.text

    def lock(self, wipe: bool = False) -> None:
        """Lock the volume; ``wipe``: and take its file system away, as if never unlocked."""
        self.sh(
            "systemctl stop docker containerd\n"
            "for place in /var/lib/docker /var/lib/containerd /mnt/docker-data; do\n"
            "    ! mountpoint -q $place || umount $place || exit\n"
            "done"
        )
        if wipe:
            self.sh(
                "[ -e /dev/mapper/docker-data ] ||"
                " cryptsetup open --key-file=- /dev/vda2 docker-data\n"
                "wipefs -qa /dev/mapper/docker-data",
                Secret(WORD.encode()),
            )
        self.sh(
            f"systemctl stop '{CRYPT_UNIT}'; systemctl reset-failed\n"
            "[ ! -e /dev/mapper/docker-data ] || cryptsetup close docker-data"
        )

    def docker(self, unit: str) -> None:
        """Replace the unit that stands for Docker."""
        self.sh("cat >/etc/systemd/system/docker.service; systemctl daemon-reload", unit.encode())

    def unlock(self, word: str = WORD, user: str = "root") -> UnlockResult:
        assert self.endpoint.ssh is not None
        return unlock_over_ssh(
            replace(self.endpoint, ssh=replace(self.endpoint.ssh, user=user)),
            Secret(word.encode()),
            timeout=GUEST_S,
            reporter=TextReporter(),
            directory=self.known,
        )

    def status(self) -> dict[str, Any]:
        found = status(self.endpoint, directory=self.known)
        return check_document("status", found.document())

    def inv(self, *argv: str) -> str:
        done = subprocess.run(
            [str(INV), *argv],
            cwd=self.bench.checkout,
            env=self.bench.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    folder = tmp_path_factory.mktemp("ssh-card")
    bench = Bench(folder)
    identity = folder / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", identity], check=True)
    bench.own_checkout(
        '[targets.box]\nboard = "odroid-xu3"\nrootfs = "debian"\nunlock = "ssh"\n'
        f'identity_file = "{identity}"\n'
    )
    # The same Debian as in the other emulator tests, because building one takes minutes.
    del bench.env["BOOTWRIGHT_CACHE"]
    given = os.environ.get(ROOTFS_VARIABLE)
    options = {"target": "box", "authorized-key": f"{identity}.pub"}
    if given:
        options["rootfs-file"] = given
    bench.flash(without=() if given else ("rootfs-file",), **options)
    directory = folder / "build" / "emulator"
    board = Board(bench, Endpoint("unmade"), folder / "known")
    try:
        board.inv("emulate", f"--device={bench.image}", "--snapshot")
        made = qemu.emulator_target(user="root", identity=identity, directory=directory)
        board.endpoint = replace(made, unlock="ssh")
        for name in ("docker", "containerd"):
            board.sh(f"cat > /etc/systemd/system/{name}.service", SERVICE.encode())
        board.sh("systemctl daemon-reload")
        board.lock()
        saves.save(LOCKED, TextReporter(), directory=directory, saves=folder / "saves")
        qemu.stop(TextReporter(), directory, power_down_s=0)
        yield board
    finally:
        qemu.stop(TextReporter(), directory, power_down_s=0)


LOCKED = "locked"
"""The save from which each test starts."""


@pytest.fixture
def board(booted: Board) -> Iterator[Board]:
    """The board, locked, as it was booted."""
    directory = booted.bench.root / "build" / "emulator"
    saves.resume(LOCKED, TextReporter(), directory=directory, saves=booted.bench.root / "saves")
    made = qemu.emulator_target(user="root", identity=booted.bench.root / "id", directory=directory)
    board = replace(booted, endpoint=replace(made, unlock="ssh"))
    try:
        yield board
    finally:
        qemu.stop(TextReporter(), directory, power_down_s=0)


def test_the_first_unlock_makes_the_file_system(board: Board) -> None:
    board.lock(wipe=True)
    before = board.status()
    assert (before["volume"]["state"], before["mount"]["mounted"]) == ("locked", False)
    assert before["services"] == {"containerd": "inactive", "docker": "inactive"}
    slot = {"number": 0, "kdf": "argon2id", "memory_kib": 65536, "iterations": 4}
    assert slot.items() <= before["volume"]["keyslots"][0].items()
    assert "adiantum" in before["volume"]["cipher"]

    wrong = board.unlock("this is not the passphrase")
    assert (wrong.result, wrong.attempts) == (Result.WRONG_PASSPHRASE, 1)
    assert "this is not" not in str(wrong)
    assert board.status()["volume"]["state"] == "locked"

    done = board.unlock()
    assert (done.result, done.via, done.attempts) == (Result.UNLOCKED, "ssh", 1)
    assert (done.prompts_seen, done.to_prompt) == (0, None)
    source = board.sh("findmnt --noheadings --output SOURCE,FSTYPE /var/lib/docker")
    assert source.split() == ["/dev/mapper/docker-data[/var/lib/docker]", "ext4"]
    after = board.status()
    assert (after["volume"]["state"], after["volume"]["problem"]) == ("open", None)
    # As large as the partition, without what ext4 itself needs.
    assert after["mount"]["size"] > 900 * 1024 * 1024
    assert after["mount"]["available"] > 900 * 1024 * 1024
    assert [bind["mounted"] for bind in after["binds"]] == [True, True]
    assert after["services"] == {"containerd": "active", "docker": "active"}
    assert after["booted_at"] == before["booted_at"]

    again = board.unlock()
    assert (again.result, again.attempts) == (Result.ALREADY_UNLOCKED, 0)


def test_the_data_is_kept_and_an_opened_but_unmounted_volume_is_mounted(board: Board) -> None:
    assert board.unlock().ok
    board.sh("echo kept >/var/lib/docker/kept; systemctl stop docker; umount /var/lib/docker")
    done = board.unlock()
    assert (done.result, done.attempts) == (Result.UNLOCKED, 0)
    board.lock()
    # The volume was opened by hand, but not mounted.
    board.sh("cryptsetup open --key-file=- /dev/vda2 docker-data", Secret(WORD.encode()))
    done = board.unlock("whatever, it is not needed")
    assert (done.result, done.attempts) == (Result.UNLOCKED, 0)
    assert board.sh("cat /var/lib/docker/kept; systemctl is-active docker") == "kept\nactive\n"


def test_a_passphrase_question_on_the_board_is_answered(board: Board) -> None:
    board.sh(
        f"systemctl start --no-block '{CRYPT_UNIT}'\n"
        "until ls /run/systemd/ask-password/ask.* 2>/dev/null; do sleep 0.2; done"
    )
    assert board.status()["volume"]["asks_for_passphrase"]
    wrong = board.unlock("this is not the passphrase")
    assert (wrong.result, wrong.prompts_seen) == (Result.WRONG_PASSPHRASE, 1)
    assert "its prompt is open again" in wrong.detail
    done = board.unlock()
    assert (done.result, done.prompts_seen, done.attempts) == (Result.UNLOCKED, 1, 1)
    assert done.to_prompt is not None
    assert done.to_unlocked is not None
    assert done.to_prompt < done.to_unlocked
    # The board's own unit has opened it, not a second program.
    board.sh(f"journalctl -b -o cat -u '{CRYPT_UNIT}' | grep -q 'Finished .*docker-data'")
    found = board.status()
    assert not found["volume"]["asks_for_passphrase"]
    assert found["services"]["docker"] == "active"


def test_obstacles_to_unlocking_are_reported(board: Board) -> None:
    assert board.unlock().ok
    board.sh(
        "systemctl stop docker containerd; umount /var/lib/docker /var/lib/containerd\n"
        "umount /mnt/docker-data && wipefs -qa /dev/mapper/docker-data &&"
        " mkswap -q /dev/mapper/docker-data"
    )
    done = board.unlock()
    assert done.result is Result.FAILED
    assert r"the volume is open, but mnt-docker\x2ddata.mount did not start" in done.detail
    assert "mount: " in done.detail
    board.lock(wipe=True)

    board.docker("[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo no room; exit 1'\n")
    done = board.unlock()
    board.docker(SERVICE)
    assert done.result is Result.FAILED
    assert "the volume is open, but docker.service did not start" in done.detail
    assert "no room" in done.detail
    board.lock()

    board.sh("dmsetup create docker-data --table '0 8 zero'")
    done = board.unlock()
    assert done.result is Result.FAILED
    assert "another volume (no LUKS volume) is open under the name docker-data" in done.detail
    assert board.status()["volume"]["problem"] == done.detail
    board.sh("dmsetup remove docker-data")

    board.sh("mv /etc/crypttab /root/")
    done = board.unlock()
    board.sh("mv /root/crypttab /etc/")
    assert done.result is Result.FAILED
    assert "has no entry docker-data" in done.detail


def test_passphrases_of_the_real_volume(board: Board) -> None:
    kdf = load_board(checkout() / "board", "odroid-xu3").kdf

    def run(action: PassphraseAction, existing: str, other: str) -> dict[str, Any]:
        done = change_keyslots(
            board.endpoint,
            action,
            Passphrases(Secret(existing.encode()), Secret(other.encode())),
            kdf,
            reporter=TextReporter(),
            directory=board.known,
        )
        return check_document("passphrase", done.document())

    new, third = r"a new one \n with $igns ", "third"
    done = run("change", WORD, new)
    slot = {"number": 1, "kdf": "argon2id", "memory_kib": 65536, "iterations": 4}
    assert slot.items() <= done["keyslots"][0].items()
    assert done["removed"] == [0]
    with pytest.raises(InputError, match="opens no key slot"):
        run("add", WORD, third)
    assert board.unlock(WORD).result is Result.WRONG_PASSPHRASE
    assert board.unlock(new).result is Result.UNLOCKED
    # While it is open and in use, as on a board that runs.
    assert run("add", new, WORD)["added"] == 0
    assert run("remove", WORD, new)["removed"] == [1]
    assert [slot["number"] for slot in board.status()["volume"]["keyslots"]] == [0]
    board.lock()
    assert board.unlock(WORD).result is Result.UNLOCKED


def test_a_user_with_sudo(board: Board) -> None:
    board.sh(
        "useradd -m -s /bin/bash mia 2>/dev/null; mkdir -p ~mia/.ssh\n"
        "cp /root/.ssh/authorized_keys ~mia/.ssh/; chown -R mia ~mia/.ssh\n"
        "echo 'mia ALL=(ALL:ALL) NOPASSWD: ALL' >/etc/sudoers.d/mia\n"
        # As systemd-tmpfiles does early in the boot.
        "echo 'System is booting up. See pam_nologin(8)' >/run/nologin"
    )
    assert board.endpoint.ssh is not None
    mia = replace(board.endpoint, ssh=replace(board.endpoint.ssh, user="mia"))
    with pytest.raises(UnreachableError, match="only root may log in"):
        status(mia, directory=board.known)
    board.sh("rm /run/nologin")
    assert board.unlock(user="mia").result is Result.UNLOCKED


def test_the_commands_over_ssh(board: Board) -> None:
    shown = board.inv("status", "emulator")
    assert "docker-data: locked" in shown
    assert shown.splitlines()[-1].endswith("inv unlock emulator")
    word = f"--passphrase-file={board.bench.passphrase}"
    result = json.loads(board.inv("unlock", "emulator", word, "--json"))
    assert (result["via"], result["result"]) == ("ssh", "unlocked")
    assert "docker-data: open" in board.inv("status", "emulator")
    assert json.loads(board.inv("status", "emulator", "--json"))["mount"]["mounted"]


def test_every_boot_is_unlocked_over_ssh(board: Board) -> None:
    """The emulator uses a snapshot, in which settings are kept over a reboot."""
    argv = [
        str(INV),
        "unlock",
        "emulator",
        "--watch",
        f"--passphrase-file={board.bench.passphrase}",
    ]
    log = board.bench.checkout / "watch.log"
    with log.open("w") as stderr:
        watching = subprocess.Popen(
            argv,
            cwd=board.bench.checkout,
            env=board.bench.env,
            stdin=subprocess.DEVNULL,
            stderr=stderr,
        )
    try:
        _wait_for(log, "unlocked: the volume is open", 1)
        board.sh("(sleep 1; reboot) >/dev/null 2>&1 &")
        _wait_for(log, "unlocked: the volume is open", 2)
        assert watching.poll() is None
    finally:
        watching.terminate()
        watching.wait()
    assert "the connection has ended" in log.read_text()
    assert WORD not in log.read_text()
    assert board.status()["mount"]["mounted"]


def _wait_for(log: Path, text: str, times: int) -> None:
    end = time.monotonic() + GUEST_S
    while log.read_text().count(text) < times:
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.2)
