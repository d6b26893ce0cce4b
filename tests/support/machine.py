"""An emulator of a test's own, with the card that `inv flash` made."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from bootwright.console.boot import State
from bootwright.core.endpoints import Endpoint
from bootwright.core.report import TextReporter
from bootwright.core.secret import Secret
from bootwright.core.units import GIB
from bootwright.emulator.io.qemu import Emulator, emulator_target, start, status
from bootwright.emulator.io.wait import wait_until
from bootwright.remote.io.openssh import ssh
from bootwright.remote.io.wait import wait_for_ssh
from bootwright.volume.unlock import UnlockOptions, unlock
from bootwright.volume.unlock_result import Result

BOOT_S = 300.0
"""Seconds for any stage of a boot; about 20 on a machine of its own."""

CPUS = 1
"""Cores of the guest. A second one costs 23 % more processor time for a boot (45 s for 36 s), and
the tests run two emulators at a time."""


@dataclass(frozen=True)
class Card:
    """A card image, the passphrase of its volume, and the key that may log in as root."""

    image: Path
    passphrase: Secret
    identity: Path


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
            cpus=CPUS,
            reporter=self.reporter,
            snapshot=snapshot,
            directory=directory or self.directory,
        )

    @property
    def emulator(self) -> Emulator:
        """The one that runs."""
        emulator = status(self.directory)
        assert emulator is not None
        return emulator

    def wait(self, goal: str) -> State:
        assert goal in ("prompt", "login")
        return wait_until(
            self.emulator,
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
