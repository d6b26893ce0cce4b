"""Key slots of a real volume, and what keeps it from being unlocked over SSH."""

from typing import Any

import pytest

from bootwright.core.board import Kdf
from bootwright.core.errors import InputError
from bootwright.core.report import TextReporter
from bootwright.core.secret import Secret
from bootwright.volume.choices import PassphraseAction
from bootwright.volume.keyslots import Passphrases, change_keyslots
from bootwright.volume.unlock_result import Result
from tests.support.bench import WORD
from tests.support.lockedboard import LockedBoard
from tests.support.schemas import check_document
from tests.support.stages import STAND_IN_SERVICE

pytestmark = pytest.mark.emulator


def test_obstacles_to_unlocking_are_reported(ssh_board: LockedBoard) -> None:
    assert ssh_board.unlock().ok
    ssh_board.sh(
        "systemctl stop docker containerd; umount /var/lib/docker /var/lib/containerd\n"
        "umount /mnt/docker-data && wipefs -qa /dev/mapper/docker-data &&"
        " mkswap -q /dev/mapper/docker-data"
    )
    done = ssh_board.unlock()
    assert done.result is Result.FAILED
    assert r"the volume is open, but mnt-docker\x2ddata.mount did not start" in done.detail
    assert "mount: " in done.detail
    ssh_board.lock(wipe=True)

    ssh_board.docker("[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo no room; exit 1'\n")
    done = ssh_board.unlock()
    ssh_board.docker(STAND_IN_SERVICE)
    assert done.result is Result.FAILED
    assert "the volume is open, but docker.service did not start" in done.detail
    assert "no room" in done.detail
    ssh_board.lock()

    ssh_board.sh("dmsetup create docker-data --table '0 8 zero'")
    done = ssh_board.unlock()
    assert done.result is Result.FAILED
    assert "another volume (no LUKS volume) is open under the name docker-data" in done.detail
    assert ssh_board.status()["volume"]["problem"] == done.detail
    ssh_board.sh("dmsetup remove docker-data")

    ssh_board.sh("mv /etc/crypttab /root/")
    done = ssh_board.unlock()
    ssh_board.sh("mv /root/crypttab /etc/")
    assert done.result is Result.FAILED
    assert "has no entry docker-data" in done.detail


def test_passphrases_of_the_real_volume(ssh_board: LockedBoard) -> None:
    kdf = Kdf(memory_kib=8192, iterations=4, threads=4)

    def run(action: PassphraseAction, existing: str, other: str) -> dict[str, Any]:
        done = change_keyslots(
            ssh_board.endpoint,
            action,
            Passphrases(Secret(existing.encode()), Secret(other.encode())),
            kdf,
            reporter=TextReporter(),
            directory=ssh_board.known,
        )
        return check_document("passphrase", done.document())

    new, third = r"a new one \n with $igns ", "third"
    done = run("change", WORD, new)
    slot = {"number": 1, "kdf": "argon2id", "memory_kib": 8192, "iterations": 4}
    assert slot.items() <= done["keyslots"][0].items()
    assert done["removed"] == [0]
    with pytest.raises(InputError, match="opens no key slot"):
        run("add", WORD, third)
    assert ssh_board.unlock(WORD).result is Result.WRONG_PASSPHRASE
    assert ssh_board.unlock(new).result is Result.UNLOCKED
    # While it is open and in use, as on a board that runs.
    assert run("add", new, WORD)["added"] == 0
    assert run("remove", WORD, new)["removed"] == [1]
    assert [slot["number"] for slot in ssh_board.status()["volume"]["keyslots"]] == [0]
    ssh_board.lock()
    assert ssh_board.unlock(WORD).result is Result.UNLOCKED
