"""Loop devices that a test makes itself; no other block device is ever written."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def command(*argv: object) -> str:
    """Run a tool of the system and return what it printed."""
    done = subprocess.run(
        [str(each) for each in argv],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
    )
    return done.stdout


@contextmanager
def loop(backing: Path, *options: str) -> Iterator[str]:
    """Attach ``backing`` to a free loop device; skip the test where that is impossible."""
    if os.geteuid() != 0:
        pytest.skip("needs root for loop devices")
    try:
        device = command("losetup", "--find", "--show", *options, backing).strip()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no loop device: {getattr(error, 'stderr', error)}")
    if "--partscan" not in options:
        # Of an earlier test whose partition was in use until its end: another process, such as a
        # test with mounts of its own, had a copy of the mount.
        subprocess.run(["partx", "--delete", device], capture_output=True)
    try:
        yield device
    finally:
        command("losetup", "--detach", device)


@contextmanager
def mounted(device: str, at: Path) -> Iterator[Path]:
    """Mount ``device`` on the directory ``at``, which is made."""
    at.mkdir(exist_ok=True)
    command("mount", device, at)
    try:
        yield at
    finally:
        command("umount", at)


@contextmanager
def partition_nodes(device: str) -> Iterator[None]:
    """Have the kernel know the partitions, also one that does not scan for them."""
    subprocess.run(["partx", "--add", device], capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["partx", "--delete", device], capture_output=True)
