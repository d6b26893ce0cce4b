"""A flashed card, booted under QEMU: the prompt, the passphrase, the volume."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bootwright.console.boot import State
from bootwright.effects.cardimage import open_root
from bootwright.effects.emulator import Emulator, emulator_target, start, status, stop
from bootwright.effects.emulator_wait import wait_until
from bootwright.effects.ssh import ssh
from bootwright.effects.sshwait import wait_for_ssh
from bootwright.endpoints import Endpoint
from bootwright.errors import FailedError, RefusedError
from bootwright.report import TextReporter
from bootwright.secret import Secret
from bootwright.units import GIB
from bootwright.unlock import UnlockOptions, unlock
from bootwright.unlock_result import Result
from tests.emulator.conftest import Card

pytestmark = pytest.mark.emulator

BOOT_S = 300.0
"""Seconds for any stage of a boot; about 20 on a machine of its own."""

WRONG = Secret(b"this is not the passphrase")


class Machine:
    """An emulator of its own: directory, start, stop, and a shell in the guest."""

    def __init__(self, card: Card, directory: Path) -> None:
        self.card = card
        self.directory = directory
        self.reporter = TextReporter()

    def start(self, snapshot: bool = False, directory: Path | None = None) -> Emulator:
        return start(
            self.card.image,
            ram=2 * GIB,
            cpus=8,
            reporter=self.reporter,
            snapshot=snapshot,
            directory=directory or self.directory,
        )

    def wait(self, goal: str) -> State:
        emulator = status(self.directory)
        assert emulator is not None
        assert goal in ("prompt", "login")
        return wait_until(
            emulator,
            "prompt" if goal == "prompt" else "login",
            timeout=BOOT_S,
            reporter=self.reporter,
        )

    @property
    def endpoint(self) -> Endpoint:
        return emulator_target(user="root", identity=self.card.identity, directory=self.directory)

    def unlock(self, passphrase: Secret) -> Result:
        options = UnlockOptions(via="serial", timeout=BOOT_S)
        done = unlock(self.endpoint, passphrase, self.reporter, options)
        return done.result

    def console(self) -> bytes:
        return (self.directory / "console.log").read_bytes()

    def shell(self, command: str, capfd: pytest.CaptureFixture[str]) -> str:
        """Run a command in the guest; the host key must be the one in the image."""
        endpoint = self.endpoint
        assert endpoint.ssh is not None
        wait_for_ssh(endpoint.ssh, BOOT_S)
        capfd.readouterr()
        code = ssh(endpoint, command, self.directory / "ssh")
        out, err = capfd.readouterr()
        assert code == 0, err
        return out


@pytest.fixture
def machine(card_image: Card, tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(card_image, tmp_path / "emulator")
    yield machine
    stop(machine.reporter, machine.directory, power_down_s=0)


def test_a_wrong_passphrase_then_the_right_one(
    machine: Machine, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    emulator = machine.start(snapshot=True)
    assert emulator.alive
    with pytest.raises(RefusedError, match="--stop"):
        machine.start(snapshot=True)
    assert machine.wait("prompt") is State.PROMPT

    assert machine.unlock(WRONG) is Result.WRONG_PASSPHRASE
    assert machine.unlock(machine.card.passphrase) is Result.UNLOCKED
    assert machine.wait("login") is State.LOGIN
    assert machine.unlock(machine.card.passphrase) is Result.ALREADY_UNLOCKED

    source = machine.shell("findmnt --noheadings --output SOURCE /var/lib/docker", capfd)
    assert source.startswith("/dev/mapper/docker-data[")
    sshd = machine.shell("sshd -T", capfd).splitlines()
    assert {"passwordauthentication no", "permitrootlogin without-password"} <= set(sshd)
    for secret in (WRONG, machine.card.passphrase):
        assert secret.reveal() not in machine.console()

    assert stop(machine.reporter, machine.directory)
    assert not emulator.alive
    assert status(machine.directory) is None
    assert not stop(machine.reporter, machine.directory)
    with pytest.raises(FailedError, match="inv emulate"):
        emulator_target(directory=machine.directory)


def test_unlocking_from_the_start_a_reboot_and_a_shutdown(
    machine: Machine, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    emulator = machine.start()
    with pytest.raises(RefusedError, match="another process uses this image"):
        machine.start(directory=tmp_path / "second")

    # Nothing is on the console yet; the prompt comes while it is being watched.
    assert machine.unlock(machine.card.passphrase) is Result.UNLOCKED
    machine.wait("login")
    machine.shell("echo kept > /var/lib/docker/kept && sync && (sleep 1; reboot) &", capfd)

    # The same emulator boots again; the first boot's success must not count.
    machine.wait("prompt")
    assert machine.unlock(machine.card.passphrase) is Result.UNLOCKED
    assert emulator.alive
    machine.wait("login")
    assert machine.shell("cat /var/lib/docker/kept", capfd) == "kept\n"

    assert stop(machine.reporter, machine.directory)
    assert b"reboot: Power down" in machine.console()
    assert not open_root(machine.card.image).superblock().needs_recovery
