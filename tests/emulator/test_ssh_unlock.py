"""Unlocking a board over SSH: what it does, and whom it lets."""

from dataclasses import replace

import pytest

from bootwright.core.secret import Secret
from bootwright.remote.io.connection import UnreachableError
from bootwright.volume.status import status
from bootwright.volume.unlock_result import Result
from tests.support.bench import WORD
from tests.support.lockedboard import CRYPT_UNIT, LockedBoard

pytestmark = pytest.mark.emulator


def test_the_first_unlock_makes_the_file_system(ssh_board: LockedBoard) -> None:
    ssh_board.lock(wipe=True)
    before = ssh_board.status()
    assert (before["volume"]["state"], before["mount"]["mounted"]) == ("locked", False)
    assert before["services"] == {"containerd": "inactive", "docker": "inactive"}
    slot = {"number": 0, "kdf": "argon2id", "memory_kib": 8192, "iterations": 4}
    assert slot.items() <= before["volume"]["keyslots"][0].items()
    assert "adiantum" in before["volume"]["cipher"]

    wrong = ssh_board.unlock("this is not the passphrase")
    assert (wrong.result, wrong.attempts) == (Result.WRONG_PASSPHRASE, 1)
    assert "this is not" not in str(wrong)
    assert ssh_board.status()["volume"]["state"] == "locked"

    done = ssh_board.unlock()
    assert (done.result, done.via, done.attempts) == (Result.UNLOCKED, "ssh", 1)
    assert (done.prompts_seen, done.to_prompt) == (0, None)
    source = ssh_board.sh("findmnt --noheadings --output SOURCE,FSTYPE /var/lib/docker")
    assert source.split() == ["/dev/mapper/docker-data[/var/lib/docker]", "ext4"]
    after = ssh_board.status()
    assert (after["volume"]["state"], after["volume"]["problem"]) == ("open", None)
    # As large as the partition, without what ext4 itself needs.
    assert after["mount"]["size"] > 900 * 1024 * 1024
    assert after["mount"]["available"] > 900 * 1024 * 1024
    assert [bind["mounted"] for bind in after["binds"]] == [True, True]
    assert after["services"] == {"containerd": "active", "docker": "active"}
    assert after["booted_at"] == before["booted_at"]

    again = ssh_board.unlock()
    assert (again.result, again.attempts) == (Result.ALREADY_UNLOCKED, 0)


def test_the_data_is_kept_and_an_opened_but_unmounted_volume_is_mounted(
    ssh_board: LockedBoard,
) -> None:
    assert ssh_board.unlock().ok
    ssh_board.sh("echo kept >/var/lib/docker/kept; systemctl stop docker; umount /var/lib/docker")
    done = ssh_board.unlock()
    assert (done.result, done.attempts) == (Result.UNLOCKED, 0)
    ssh_board.lock()
    # The volume was opened by hand, but not mounted.
    ssh_board.sh("cryptsetup open --key-file=- /dev/vda2 docker-data", Secret(WORD.encode()))
    done = ssh_board.unlock("whatever, it is not needed")
    assert (done.result, done.attempts) == (Result.UNLOCKED, 0)
    assert ssh_board.sh("cat /var/lib/docker/kept; systemctl is-active docker") == "kept\nactive\n"


def test_a_passphrase_question_on_the_board_is_answered(ssh_board: LockedBoard) -> None:
    ssh_board.sh(
        f"systemctl start --no-block '{CRYPT_UNIT}'\n"
        "until ls /run/systemd/ask-password/ask.* 2>/dev/null; do sleep 0.2; done"
    )
    assert ssh_board.status()["volume"]["asks_for_passphrase"]
    wrong = ssh_board.unlock("this is not the passphrase")
    assert (wrong.result, wrong.prompts_seen) == (Result.WRONG_PASSPHRASE, 1)
    assert "It asks again" in wrong.detail
    done = ssh_board.unlock()
    assert (done.result, done.prompts_seen, done.attempts) == (Result.UNLOCKED, 1, 1)
    assert done.to_prompt is not None
    assert done.to_unlocked is not None
    assert done.to_prompt < done.to_unlocked
    # The board's own unit has opened it, not a second program.
    ssh_board.sh(f"journalctl -b -o cat -u '{CRYPT_UNIT}' | grep -q 'Finished .*docker-data'")
    found = ssh_board.status()
    assert not found["volume"]["asks_for_passphrase"]
    assert found["services"]["docker"] == "active"


def test_a_user_with_sudo(ssh_board: LockedBoard) -> None:
    ssh_board.sh(
        "useradd -m -s /bin/bash mia 2>/dev/null; mkdir -p ~mia/.ssh\n"
        "cp /root/.ssh/authorized_keys ~mia/.ssh/; chown -R mia ~mia/.ssh\n"
        "echo 'mia ALL=(ALL:ALL) NOPASSWD: ALL' >/etc/sudoers.d/mia\n"
        # As systemd-tmpfiles does early in the boot.
        "echo 'System is booting up. See pam_nologin(8)' >/run/nologin"
    )
    assert ssh_board.endpoint.ssh is not None
    mia = replace(ssh_board.endpoint, ssh=replace(ssh_board.endpoint.ssh, user="mia"))
    with pytest.raises(UnreachableError, match="only root may log in"):
        status(mia, directory=ssh_board.known)
    ssh_board.sh("rm /run/nologin")
    assert ssh_board.unlock(user="mia").result is Result.UNLOCKED
