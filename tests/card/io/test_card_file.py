"""Cards in image files."""

import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from bootwright.card.guard import GuardRequest, check
from bootwright.card.io.card import open_card
from bootwright.card.io.inspect import inspect
from bootwright.card.io.medium import ImageFile
from bootwright.core.errors import InputError, RefusedError
from bootwright.core.units import MIB, SECTOR
from bootwright.rootfs.byte_ranges import total
from tests.support.cards import (
    EXTENTS,
    SIZE,
    STALE,
    expected,
    flash,
)

pytestmark = pytest.mark.integration


def test_a_new_image_is_sparse_and_complete(tmp_path: Path, sources: dict[str, Path]) -> None:
    image = tmp_path / "card.img"
    card = flash(str(image), sources)
    assert image.read_bytes() == expected(sources, b"\0")
    assert card.counters.written == card.counters.mapped == total(EXTENTS)
    content = sum(extent.length for extent in EXTENTS if extent.source)
    assert content <= image.stat().st_blocks * 512 < content + MIB


@pytest.mark.parametrize("old_size", [0, SECTOR, SIZE - 7, SIZE, 2 * SIZE])
def test_an_old_image_is_replaced(tmp_path: Path, sources: dict[str, Path], old_size: int) -> None:
    image = tmp_path / "card.img"
    image.write_bytes(STALE * old_size)
    flash(str(image), sources)
    assert image.read_bytes() == expected(sources, b"\0")


def test_an_image_being_written_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "card.img"
    image.write_bytes(STALE * SIZE)
    facts = inspect(str(image))
    with open_card(facts, SIZE), pytest.raises(RefusedError, match="another process"):
        open_card(facts, SIZE)
    assert image.read_bytes() == STALE * SIZE


@contextmanager
def emulator(image: Path) -> Iterator[None]:
    """A QEMU that has the image as its disk and does not run the guest."""
    argv = ["qemu-system-arm", "-M", "virt", "-nodefaults", "-S", "-display", "none"]
    drive = f"file={image},format=raw,if=none,id=c"
    argv += ["-drive", drive, "-device", "virtio-blk-device,drive=c", "-qmp", "stdio"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None and b"QMP" in process.stdout.readline()
            yield
        finally:
            process.kill()


@contextmanager
def locked_like_qemu(image: Path) -> Iterator[None]:
    """Another process that holds a read lock on byte 100 of the image."""
    program = (
        "import fcntl, os, struct, sys; fd = os.open(sys.argv[1], os.O_RDWR);"
        "lock = struct.pack('hhqqi4x', fcntl.F_RDLCK, os.SEEK_SET, 100, 1, 0);"
        "fcntl.fcntl(fd, fcntl.F_OFD_SETLK, lock); print(flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", program, str(image)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == b"\n"
            yield
        finally:
            process.kill()


@pytest.mark.parametrize("user", [emulator, locked_like_qemu])
def test_an_image_of_a_running_emulator_is_refused(
    tmp_path: Path, user: Callable[[Path], AbstractContextManager[None]]
) -> None:
    if user is emulator and shutil.which("qemu-system-arm") is None:
        pytest.fail("qemu-system-arm is not installed: run scripts/setup test")
    image = tmp_path / "card.img"
    image.write_bytes(STALE * SIZE)
    facts = inspect(str(image))
    with user(image):
        with pytest.raises(RefusedError, match="inv emulate --stop"):
            open_card(facts, SIZE)
        with pytest.raises(RefusedError, match=r"in use by another process .*emulate --stop"):
            check(inspect(str(image)), GuardRequest())  # before the long steps
    assert image.read_bytes() == STALE * SIZE
    open_card(facts, SIZE).close()


def test_an_emulator_does_not_start_while_an_image_is_written(tmp_path: Path) -> None:
    if shutil.which("qemu-system-arm") is None:
        pytest.fail("qemu-system-arm is not installed: run scripts/setup test")
    image = tmp_path / "card.img"
    image.write_bytes(STALE * SIZE)
    with open_card(inspect(str(image)), SIZE), pytest.raises(AssertionError), emulator(image):
        pass


@pytest.mark.parametrize("mode", [None, 0o644, 0o600, 0o664, 0o606])
def test_only_the_owner_can_read_an_image(
    tmp_path: Path, sources: dict[str, Path], mode: int | None
) -> None:
    image = tmp_path / "card.img"
    if mode is not None:
        image.write_bytes(STALE * SIZE)
        image.chmod(mode)
    umask = os.umask(0)
    try:
        with open_card(inspect(str(image)), SIZE):
            assert stat.S_IMODE(image.stat().st_mode) == 0o600
    finally:
        os.umask(umask)


def test_a_new_image_is_private_from_the_start(tmp_path: Path) -> None:
    image = tmp_path / "card.img"
    umask = os.umask(0)
    try:
        ImageFile(str(image), SIZE, new=True).close()
    finally:
        os.umask(umask)
    assert stat.S_IMODE(image.stat().st_mode) == 0o600


def test_a_refused_image_keeps_its_mode(tmp_path: Path) -> None:
    image = tmp_path / "card.img"
    image.write_bytes(STALE * SECTOR)
    image.chmod(0o644)
    facts = inspect(str(image))
    image.write_bytes(STALE * 2 * SECTOR)
    with pytest.raises(RefusedError, match="it is not what it was"):
        open_card(facts, SIZE)
    assert stat.S_IMODE(image.stat().st_mode) == 0o644


def test_an_image_that_changed_after_inspection_is_refused(tmp_path: Path) -> None:
    """Also with the same inode, size and mtime, as after deleting and creating it again."""
    image = tmp_path / "card.img"
    image.write_bytes(STALE * SIZE)
    facts = inspect(str(image))
    before = image.stat()
    time.sleep(0.05)  # more than a tick of the kernel's clock for files
    image.write_bytes(b"n" * SIZE)
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(RefusedError, match="it is not what it was"):
        open_card(facts, SIZE)
    assert image.read_bytes() == b"n" * SIZE


def test_an_image_that_was_created_after_inspection_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "card.img"
    facts = inspect(str(image))
    image.write_bytes(b"precious")
    with pytest.raises(RefusedError, match="another process has created it meanwhile"):
        open_card(facts, SIZE)
    assert image.read_bytes() == b"precious"


def test_an_image_that_was_replaced_after_inspection_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "card.img"
    image.write_bytes(STALE * SECTOR)
    facts = inspect(str(image))
    (tmp_path / "other").write_bytes(STALE * SECTOR)
    (tmp_path / "other").rename(image)
    with pytest.raises(RefusedError, match="it is not what it was"):
        open_card(facts, SIZE)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_an_image_that_cannot_be_opened_for_writing_is_an_input_error(tmp_path: Path) -> None:
    image = tmp_path / "card.img"
    image.touch(mode=0o444)
    with pytest.raises(InputError, match="cannot open it for writing"):
        open_card(inspect(str(image)), SIZE)
