"""`inv flash` as an operator calls it, with a home, a cache and a tarball of its own."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bootwright.core import paths
from bootwright.core.io.process import run
from tests.support.small_rootfs import small_rootfs

WORD = "correct horse battery staple 7"
INV = Path(sys.executable).parent / "inv"

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
"""A public key whose private half nobody has."""

STEPS = [
    "copy",
    "personalise",
    "luks",
    "map",
    "open",
    "size",
    "discard",
    "write",
    "verify",
    "table",
]
"""The names of the steps in ``seconds`` of the manifest."""


def copy_checkout(to: Path, targets: str) -> None:
    """Make a copy of the checkout, whose ``bootwright.toml`` is ``targets``."""
    for name in ("board", "bootwright", "checks", "profiles", "rootfs", "scripts", "templates"):
        shutil.copytree(paths.checkout() / name, to / name)
    for name in ("tasks.py", "waivers.toml"):
        shutil.copy(paths.checkout() / name, to)
    (to / "bootwright.toml").write_text(targets)


class Bench:
    """A private home, cache and tarball, and `inv` as an operator calls it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tarball = small_rootfs(root / "rootfs.tar")
        self.passphrase = root / "passphrase"
        self.passphrase.write_text(f"{WORD}\n")
        self.passphrase.chmod(0o600)
        self.key = root / "id.pub"
        self.key.write_text(f"{KEY} operator\n")
        self.image = root / "card.img"
        self.checkout = paths.checkout()
        self.env = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "BOOTWRIGHT_CACHE": str(root / "cache"),
            "BOOTWRIGHT_BUILD": str(root / "build"),
        }

    def argv(self, *more: str, without: Sequence[str] = (), **options: str) -> list[str]:
        """Return the command line; ``options`` replace the usual ones, but ``without``."""
        usual = {
            "device": str(self.image),
            "rootfs": "debian",
            "rootfs-file": str(self.tarball),
            "size": "5GiB",
            "authorized-key": str(self.key),
            "passphrase-file": str(self.passphrase),
        }
        given = [
            f"--{name}={value}"
            for name, value in {**usual, **options}.items()
            if name not in without
        ]
        return [str(INV), "flash", *given, *more]

    def inv(
        self, *more: str, without: Sequence[str] = (), **options: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*more, without=without, **options),
            cwd=self.checkout,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def own_checkout(self, targets: str) -> None:
        """Work in a checkout of its own, whose ``bootwright.toml`` is ``targets``."""
        self.checkout = self.root / "checkout"
        copy_checkout(self.checkout, targets)
        self.env["PYTHONPATH"] = str(self.checkout)

    def flash(self, *more: str, without: Sequence[str] = (), **options: str) -> dict[str, Any]:
        done = self.inv("--json", *more, without=without, **options)
        assert done.returncode == 0, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def debugfs(self, command: str) -> str:
        where = f"{self.image}?offset={8192 * 512}"
        return run(["debugfs", "-R", command, where]).text

    def sectors(self, first: int, count: int) -> bytes:
        with self.image.open("rb") as file:
            file.seek(first * 512)
            return file.read(count * 512)
