"""Time whole cards: the first, the second, and the usual commands by hand on the same disk.

    .venv/bin/python benchmarks/flash_card.py --tar rootfs.tar --directory /var/tmp

Run it as root (the commands by hand mount a file system), in a directory with 20 GiB of free space.
It makes everything itself: a loop device for each card, a private cache, and the tree that
`mke2fs -d` reads. The commands by hand are dd, sfdisk, mkfs.ext4, mount, bsdtar, dd of the boot
blobs, umount; they do not encrypt, do not personalise and do not read back.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bootwright.core import paths
from bootwright.core.io.process import environment
from bootwright.core.units import GIB, MIB, format_size

CARD = 8 * GIB
ROOT = 4 * GIB
INV = Path(sys.executable).parent / "inv"


def command(*argv: object, stdin: bytes = b"") -> str:
    words = [str(word) for word in argv]
    done = subprocess.run(words, check=True, capture_output=True, input=stdin, env=environment())
    return done.stdout.decode()


def timed(work: Callable[[], object]) -> float:
    command("sync")
    start = time.monotonic()
    work()
    return time.monotonic() - start


@contextmanager
def new_disk(directory: Path) -> Iterator[str]:
    backing = directory / "backing"
    with backing.open("xb") as file:
        file.truncate(CARD)
    device = command("losetup", "--find", "--show", backing).strip()
    try:
        yield device
    finally:
        command("losetup", "--detach", device)
        backing.unlink()


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
"""A public key without a private key."""


class Bench:
    def __init__(self, directory: Path, tar: Path) -> None:
        self.directory, self.tar = directory, tar
        self.passphrase = directory / "passphrase"
        self.passphrase.touch(mode=0o600)
        self.passphrase.write_text("only for a benchmark\n")
        self.key = directory / "id.pub"
        self.key.write_text(f"{KEY} benchmark\n")
        self.tree = directory / "tree"
        self.tree.mkdir()
        command("tar", "-xpf", tar, "-C", self.tree, "--xattrs", "--xattrs-include=*")

    def flash(self, device: object, cache: str) -> dict[str, Any]:
        argv: list[str] = [
            *(str(INV), "flash", "--json", "--yes", f"--device={device}", "--rootfs=debian"),
            *(f"--rootfs-file={self.tar}", f"--authorized-key={self.key}"),
            f"--passphrase-file={self.passphrase}",
        ]
        env = os.environ | {
            "BOOTWRIGHT_CACHE": str(self.directory / cache),
            "BOOTWRIGHT_BUILD": str(self.directory / "build"),
        }
        done = subprocess.run(argv, capture_output=True, env=env, cwd=paths.checkout())
        if done.returncode:
            sys.exit(done.stderr.decode())
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def mke2fs(self) -> None:
        image = self.directory / "plain.ext4"
        with image.open("wb") as file:
            file.truncate(ROOT)
        command("mke2fs", "-q", "-F", "-t", "ext4", "-d", self.tree, image)
        image.unlink()

    def recipe(self, device: str) -> None:
        """Make a card by hand (dd, sfdisk, mkfs, mount, bsdtar), with blobs of the XU3's sizes."""
        blob = self.directory / "blob"
        blob.write_bytes(os.urandom(MIB))
        mount = self.directory / "mount"
        mount.mkdir(exist_ok=True)
        command("dd", "if=/dev/zero", f"of={device}", "bs=1M", "count=8")
        script = f"label: dos\nstart=8192,size={ROOT // 512},type=83\n".encode()
        command("sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", device, stdin=script)
        offset = command(
            *("losetup", "--find", "--show", "--offset", 4 * MIB, "--sizelimit", ROOT, device)
        ).strip()
        try:
            command("mkfs.ext4", "-q", "-F", offset)
            command("mount", offset, mount)
            try:
                command("bsdtar", "-xpf", self.tar, "-C", mount)
            finally:
                command("umount", mount)
        finally:
            command("losetup", "--detach", offset)
        for sector, size in ((1, 15360), (31, 14592), (63, 538224), (2111, 262144)):
            count = -(-size // 512)
            command("dd", f"if={blob}", f"of={device}", f"seek={sector}", f"count={count}")
        command("sync")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tar", type=Path, required=True, help="a plain Debian tarball")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"))
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory, prefix="bootwright-") as folder:
        run(Bench(Path(folder), arguments.tar.absolute()), arguments.rounds)


def run(bench: Bench, rounds: int) -> None:
    print(f"tarball {format_size(bench.tar.stat().st_size)}, best of {rounds}")
    plain = min(timed(bench.mke2fs) for _ in range(rounds))
    firsts, seconds, recipes = [], [], []
    image = bench.directory / "card.img"
    for number in range(rounds):
        firsts.append(bench.flash(image, f"cache-{number}"))
        shutil.rmtree(bench.directory / f"cache-{number}")
        image.unlink()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    with new_disk(bench.directory) as device:
        bench.flash(device, "cache")
        seconds = [bench.flash(device, "cache") for _ in range(rounds)]
    for _ in range(rounds):
        with new_disk(bench.directory) as device:
            recipes.append(timed(lambda device=device: bench.recipe(device)))  # type: ignore[misc]
    first = min(firsts, key=lambda each: float(each["seconds"]["total"]))
    second = min(seconds, key=lambda each: float(each["seconds"]["total"]))
    build = first["seconds"]["rootfs"]
    total, again = first["seconds"]["total"], second["seconds"]["total"]
    writing = second["seconds"]["write"] + second["seconds"]["verify"]
    recipe = min(recipes)
    print(f"mke2fs -d alone on the extracted tree     {plain:6.2f} s")
    print(f"ours: tar to checked ext4                 {build:6.2f} s   {build / plain:.2f} ×")
    print(f"ours: first card image, verified          {total:6.2f} s   {total / plain:.2f} ×")
    print(f"ours: second card on a disk, verified     {again:6.2f} s")
    print(f"      everything but write and read-back  {again - writing:6.2f} s")
    print(f"the recipe by hand on the same disk      {recipe:6.2f} s")
    print(f"      ours is {again / recipe:.2f} of it (second card)")
    counted = second["bytes"]
    print(f"bytes written / mapped                    {counted['written'] / counted['mapped']:.3f}")
    print(f"peak memory of any process                {format_size(peak)}")
    for name, document in (("first", first), ("second", second)):
        print(f"{name}: {document['seconds']}")


if __name__ == "__main__":
    main()
