"""Provisioning a board that has a new kernel since its last start."""

import pytest

from bootwright.core.errors import InputError
from bootwright.core.secret import Secret
from tests.support.hostboard import Board, changed_steps, wait_until

pytestmark = pytest.mark.emulator


def test_a_new_kernel_restarts_the_board_and_docker_is_back(board: Board) -> None:
    """The emulator starts the same kernel again, like a board whose new kernel does not boot."""
    board.sh(
        "cp /boot/vmlinuz-$(uname -r) /boot/vmlinuz-9.9.9; ln -sfn boot/vmlinuz-9.9.9 /vmlinuz"
    )
    boot = "cat /proc/sys/kernel/random/boot_id"
    before = board.sh(boot)
    with pytest.raises(InputError, match=r"opens no key slot.*not restarted"):
        board.provision(passphrase=Secret(b"not the passphrase"))
    assert board.sh(boot) == before
    done = board.provision()
    assert done.error is None, done.error
    assert done.restarted == ("board",)
    assert changed_steps(done) == {"reboot"}
    assert any("although it was restarted for it" in warning for warning in done.warnings)
    assert board.sh(boot) != before
    wait_until(lambda: "old" in board.sh("docker ps --format '{{.Names}}' || true"))
    board.sh("docker exec old /bin/busybox true; mountpoint /var/lib/docker")
    # It restarts only once.
    again = board.provision()
    assert (again.changed, again.restarted) == ((), ())
