"""A flashed card, booted under QEMU: the prompt, the passphrase, the volume."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bootwright.console.boot import State
from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import FailedError, RefusedError
from bootwright.core.secret import Secret
from bootwright.emulator.io.card_image import open_root
from bootwright.emulator.io.qemu import emulator_target, status, stop
from bootwright.volume.unlock import UnlockOptions, unlock
from bootwright.volume.unlock_result import Result
from tests.support.machine import BOOT_S, Card, Machine

pytestmark = pytest.mark.emulator

WRONG = Secret(b"this is not the passphrase")


@pytest.fixture
def machine(own_card: Card, tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(own_card, tmp_path / "emulator")
    yield machine
    stop(machine.reporter, machine.directory, power_down_s=0)


def test_two_boots_and_a_shutdown(
    machine: Machine, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    emulator = machine.start()
    assert emulator.alive
    with pytest.raises(RefusedError, match="--stop"):
        machine.start()
    with pytest.raises(RefusedError, match="another process uses this image"):
        machine.start(directory=tmp_path / "second")

    # Nothing is on the console yet; the prompt comes while it is being watched.
    assert machine.unlock(WRONG) is Result.WRONG_PASSPHRASE
    assert machine.unlock(machine.card.passphrase) is Result.UNLOCKED
    assert machine.wait("login") is State.LOGIN
    assert machine.unlock(machine.card.passphrase) is Result.ALREADY_UNLOCKED
    source = machine.shell("findmnt --noheadings --output SOURCE /var/lib/docker", capfd)
    assert source.startswith("/dev/mapper/docker-data[")
    sshd = machine.shell("sshd -T", capfd).splitlines()
    assert {"passwordauthentication no", "permitrootlogin without-password"} <= set(sshd)
    machine.shell("echo kept > /var/lib/docker/kept && sync && (sleep 1; reboot) &", capfd)

    # The same emulator boots again; the first boot's success must not count. The prompt is there
    # before the operator's console is.
    assert machine.wait("prompt") is State.PROMPT
    late = replace(machine.endpoint, console_history=None)
    assert unlocked_late(machine, late) == (Result.UNLOCKED, 1)
    assert emulator.alive
    machine.wait("login")
    # So is the prompt of a login.
    assert unlocked_late(machine, late) == (Result.ALREADY_UNLOCKED, 0)
    assert machine.shell("cat /var/lib/docker/kept", capfd) == "kept\n"

    for secret in (WRONG, machine.card.passphrase):
        assert secret.reveal() not in machine.console()
    assert stop(machine.reporter, machine.directory)
    assert b"reboot: Power down" in machine.console()
    assert not emulator.alive
    assert not open_root(machine.card.image).superblock().needs_recovery
    assert status(machine.directory) is None
    assert not stop(machine.reporter, machine.directory)
    with pytest.raises(FailedError, match="inv emulate"):
        emulator_target(directory=machine.directory)


def unlocked_late(machine: Machine, endpoint: Endpoint) -> tuple[Result, int]:
    """Unlock without what the console has shown before; return the result, and the attempts."""
    options = UnlockOptions(via="serial", timeout=BOOT_S)
    done = unlock(endpoint, machine.card.passphrase, machine.reporter, options)
    return done.result, done.attempts
