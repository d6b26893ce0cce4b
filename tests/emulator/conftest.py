"""A real card image, made once by `inv flash`, for the tests that boot it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bootwright.core import paths
from bootwright.core.report import TextReporter
from bootwright.core.secret import Secret
from bootwright.emulator.io.qemu import stop
from bootwright.volume.unlock_result import Result

if TYPE_CHECKING:
    from tests.support.hostboard import Board

WORD = "correct horse battery staple 7"

ROOTFS_VARIABLE = "BOOTWRIGHT_TEST_ROOTFS"
"""Names a Debian tarball that is used instead of building one (minutes)."""


@dataclass(frozen=True)
class Card:
    """A card image, the passphrase of its volume, and the key that may log in as root."""

    image: Path
    passphrase: Secret
    identity: Path


@pytest.fixture(autouse=True, scope="module")
def own_build_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Two processes of tests each have a target "emulator", with a console that is locked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BOOTWRIGHT_BUILD", str(tmp_path_factory.mktemp("build")))
        yield


@pytest.fixture(scope="session")
def card_image(tmp_path_factory: pytest.TempPathFactory) -> Card:
    for tool in ("qemu-system-arm", "ssh", "ssh-keygen"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    folder = tmp_path_factory.mktemp("card")
    identity = folder / "id"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", identity], check=True
    )
    passphrase = folder / "passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text(f"{WORD}\n")
    image = folder / "card.img"
    argv = [
        str(Path(sys.executable).parent / "inv"),
        "flash",
        f"--device={image}",
        "--size=5GiB",
        "--rootfs=debian",
        f"--authorized-key={identity}.pub",
        f"--passphrase-file={passphrase}",
    ]
    if tarball := os.environ.get(ROOTFS_VARIABLE):
        argv.append(f"--rootfs-file={tarball}")
    env = os.environ | {"BOOTWRIGHT_BUILD": str(folder / "build")}
    subprocess.run(argv, check=True, cwd=paths.checkout(), env=env, stdin=subprocess.DEVNULL)
    return Card(image, Secret(WORD.encode()), identity)


@pytest.fixture(scope="session")
def board(card_image: Card, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Board"]:
    """A booted and unlocked board; the modules that change it build on each other."""
    from tests.support.hostboard import Board
    from tests.support.machine import Machine

    folder = tmp_path_factory.mktemp("provision")
    machine = Machine(card_image, folder / "emulator")
    try:
        machine.start(snapshot=True)
        assert machine.unlock(card_image.passphrase) is Result.UNLOCKED
        yield Board(machine, folder / "known", card_image.passphrase)
    finally:
        stop(TextReporter(), machine.directory, power_down_s=0)
