"""Cards on real loop devices and in real files, also killed half way and full."""

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bootwright.card.block_device import DeviceKind
from bootwright.card.guard import GuardRequest, check
from bootwright.card.io.card import Card, open_card
from bootwright.card.io.inspect import inspect
from bootwright.card.io.medium import ImageFile
from bootwright.core.errors import FailedError, InputError, RefusedError
from bootwright.core.extents import Extent, total
from bootwright.core.units import KIB, MIB, SECTOR
from tests.support.loopdevice import command, loop, mounted, partition_nodes

pytestmark = pytest.mark.integration

SIZE = 32 * MIB
MBR = bytes(510) + b"\x55\xaa"
STALE = b"\xa5"

EXTENTS = (
    Extent(SECTOR, 30 * SECTOR, "bl1"),
    Extent(31 * SECTOR, 29 * SECTOR, "bl2"),
    Extent(6272 * SECTOR, 32 * SECTOR, None),
    Extent(4 * MIB, 9 * MIB, "root"),
    Extent(13 * MIB, 3 * MIB, None),
    Extent(16 * MIB, 512 * KIB + SECTOR, "root", 9 * MIB),
)


class Meter:
    def advance(self, count: int) -> None:
        pass


@contextmanager
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An ext4 of 8 MiB on a loop device of its own, mounted."""
    small = tmp_path / "small"
    small.touch()
    os.truncate(small, 8 * MIB)
    with loop(small) as device:
        command("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", device)
        with mounted(device, tmp_path / "disk") as disk:
            yield disk


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    contents = {
        "bl1": b"1" * 15360,
        "bl2": b"2" * 14592,  # ends within a sector
        "root": bytes(range(1, 252)) * (10 * MIB // 251),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: tmp_path / name for name in contents}


@pytest.fixture
def backing(tmp_path: Path) -> Path:
    """A file of stale bytes to put a loop device on."""
    path = tmp_path / "backing"
    path.write_bytes(STALE * SIZE)
    return path


@pytest.fixture
def device(backing: Path) -> Iterator[str]:
    with loop(backing) as device:
        yield device


def flash(path: str, sources: dict[str, Path], discard: bool = True) -> Card:
    facts = inspect(path)
    check(facts, GuardRequest(image_size=None if facts.kind is DeviceKind.BLOCK else SIZE))
    with open_card(facts, SIZE) as card:
        run_steps(card, sources, discard)
    return card


def run_steps(card: Card, sources: dict[str, Path], discard: bool = True) -> None:
    card.mark_unfinished()
    if discard:
        card.discard()
    card.write(EXTENTS, sources, Meter())
    card.verify(Meter())
    card.write_table(MBR)


def expected(sources: dict[str, Path], unmapped: bytes) -> bytes:
    content = bytearray(unmapped * SIZE)
    for extent in EXTENTS:
        data = b""
        if extent.source:
            data = sources[extent.source].read_bytes()[extent.source_offset :][: extent.length]
        content[extent.offset : extent.end] = data.ljust(extent.length, b"\0")
    content[:SECTOR] = MBR
    return bytes(content)


@pytest.mark.blockdev
@pytest.mark.parametrize("options", [(), ("--sector-size", "4096")])
def test_only_mapped_ranges_change(
    backing: Path, sources: dict[str, Path], options: tuple[str, ...]
) -> None:
    # The guard refuses sectors of 4096 bytes, since no board starts there; a card can do them.
    with loop(backing, *options) as device, open_card(inspect(device), SIZE) as card:
        run_steps(card, sources, discard=False)
    assert backing.read_bytes() == expected(sources, STALE)
    mapped = total(EXTENTS)
    assert (card.counters.written, card.counters.verified) == (mapped, mapped)


@pytest.mark.blockdev
def test_a_discarded_device_keeps_nothing_old(
    device: str, backing: Path, sources: dict[str, Path]
) -> None:
    flash(device, sources)
    content = backing.read_bytes()
    assert content[MIB:] == expected(sources, b"\0")[MIB:]
    assert content[:MIB] == expected(sources, STALE)[:MIB]


@pytest.mark.blockdev
def test_a_device_is_opened_direct_where_that_works(backing: Path) -> None:
    for options, direct in (((), True), (("--sector-size", "4096"), False)):
        with loop(backing, *options) as device, open_card(inspect(device), SIZE) as card:
            fd: int = card._medium.fd  # type: ignore[attr-defined]
            flags = Path(f"/proc/self/fdinfo/{fd}").read_text().split("flags:")[1].split()[0]
            assert bool(int(flags, 8) & os.O_DIRECT) is direct


@pytest.mark.blockdev
def test_a_second_run_is_refused(device: str) -> None:
    facts = inspect(device)
    with open_card(facts, SIZE), pytest.raises(RefusedError, match="it is in use"):
        open_card(facts, SIZE)
    open_card(facts, SIZE).close()


@pytest.mark.blockdev
def test_a_device_mounted_since_is_refused(device: str, backing: Path, tmp_path: Path) -> None:
    command("mke2fs", "-q", "-t", "ext4", device)
    facts = inspect(device)
    before = backing.read_bytes()
    with mounted(device, tmp_path / "mnt"), pytest.raises(RefusedError, match="it is in use"):
        open_card(facts, SIZE)
    assert before[:SECTOR] == backing.read_bytes()[:SECTOR]


@pytest.mark.blockdev
def test_a_loop_device_on_the_disk_since_is_refused(
    device: str, backing: Path, tmp_path: Path
) -> None:
    """Exclusive opening does not keep it out; neither does another name hide it."""
    facts = inspect(device)
    alias = tmp_path / "alias"
    os.mknod(alias, stat.S_IFBLK | 0o600, Path(device).stat().st_rdev)
    by_now = "it is now attached as /dev/loop.*"
    with loop(alias), pytest.raises(RefusedError, match=by_now):
        open_card(facts, SIZE)
    open_card(facts, SIZE).close()
    assert backing.read_bytes() == STALE * SIZE


@pytest.mark.blockdev
def test_a_loop_device_on_a_partition_since_is_refused(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(SIZE))
    subprocess.run(["sfdisk", "-q", disk], input=b"label: dos\nstart=8192\n", check=True)
    with loop(disk, "--partscan") as device, partition_nodes(device):
        facts = inspect(device)
        by_now = "it is now attached as /dev/loop.*"
        with loop(Path(f"{device}p1")), pytest.raises(RefusedError, match=by_now):
            open_card(facts, SIZE)


@pytest.mark.blockdev
def test_an_image_attached_since_is_refused(tmp_path: Path) -> None:
    """By another name: mounting it through the loop device changes no time of the file."""
    image = tmp_path / "card.img"
    image.write_bytes(STALE * SIZE)
    os.link(image, tmp_path / "hard link")
    facts = inspect(str(image))
    by_now = "it is now attached as /dev/loop.*; nothing was changed"
    with loop(tmp_path / "hard link"), pytest.raises(RefusedError, match=by_now):
        open_card(facts, SIZE)
    assert image.read_bytes() == STALE * SIZE


@pytest.mark.blockdev
def test_a_file_in_use_as_swap_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "card.img"
    image.touch(mode=0o600)
    image.write_bytes(bytes(SIZE))
    command("mkswap", image)
    os.sync()
    facts = inspect(str(image))
    try:
        command("swapon", image)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no swap here: {getattr(error, 'stderr', error)}")
    try:
        with pytest.raises(RefusedError, match=r"card\.img is in use as swap; release it first"):
            check(inspect(str(image)), GuardRequest())
        with pytest.raises(RefusedError, match="it is now in use as swap; nothing was changed"):
            open_card(facts, SIZE)
        card = Card(ImageFile(str(image), SIZE, new=False))  # as if /proc/swaps hid it
        with card, pytest.raises(FailedError, match="in use as swap, so nothing was changed"):
            card.mark_unfinished()
    finally:
        command("swapoff", image)


@pytest.mark.blockdev
def test_another_medium_at_the_same_path_is_refused(backing: Path, tmp_path: Path) -> None:
    """A card pulled out and another of the same size put in, as the kernel counts them."""
    other = tmp_path / "other"
    other.write_bytes(STALE * SIZE)
    with loop(backing) as device:
        facts = inspect(device)
        if facts.identity.diskseq is None:
            pytest.skip("the kernel does not count media (before Linux 5.15)")
        command("losetup", "--detach", device)
        command("losetup", device, other)
        with pytest.raises(RefusedError, match="it is not what it was"):
            open_card(facts, SIZE)
    assert other.read_bytes() == STALE * SIZE


@pytest.mark.blockdev
@pytest.mark.parametrize(
    "change", [{"node": "7:99"}, {"size": 1}, {"model": "X"}, {"serial": "1"}, {"diskseq": 1}]
)
def test_every_part_of_the_identity_counts(device: str, change: dict[str, Any]) -> None:
    facts = inspect(device)
    changed = replace(facts, identity=replace(facts.identity, **change))
    with pytest.raises(RefusedError, match="it is not what it was"):
        open_card(changed, SIZE)
    open_card(facts, SIZE).close()  # the refused one was closed


@pytest.mark.blockdev
def test_a_device_that_cannot_store_says_the_sectors(
    tmp_path: Path, sources: dict[str, Path]
) -> None:
    """A loop device that promises 32 MiB on a disk of 8 MiB: real I/O errors."""
    with small_disk(tmp_path) as disk:
        (disk / "backing").touch()
        os.truncate(disk / "backing", SIZE)
        with loop(disk / "backing") as device:
            with pytest.raises(FailedError, match=r"(sectors|cannot flush|read back wrong)"):
                flash(device, sources)
            assert inspect(device).unfinished


@pytest.mark.blockdev
def test_a_full_disk_under_an_image_says_so(tmp_path: Path, sources: dict[str, Path]) -> None:
    with small_disk(tmp_path) as disk:
        image = disk / "card.img"
        with pytest.raises(FailedError, match="disk that holds the image is full") as caught:
            flash(str(image), sources)
        assert os.strerror(errno.ENOSPC) in str(caught.value)
        assert inspect(str(image)).unfinished


@pytest.mark.blockdev
def test_the_kernel_learns_the_new_partitions(
    backing: Path, tmp_path: Path, sources: dict[str, Path]
) -> None:
    table = tmp_path / "table"
    table.write_bytes(bytes(SIZE))
    subprocess.run(["sfdisk", "-q", table], input=b"label: dos\nstart=8192\n", check=True)
    with loop(backing, "--partscan") as device, partition_nodes(device):
        with open_card(inspect(device), SIZE) as card:
            card.mark_unfinished()
            card.write(EXTENTS, sources, Meter())
            card.verify(Meter())
            assert card.write_table(table.read_bytes()[:SECTOR])
        facts = inspect(device)
        assert [(each.start, each.size) for each in facts.partitions] == [(4 * MIB, 28 * MIB)]


def test_a_new_image_is_sparse_and_whole(tmp_path: Path, sources: dict[str, Path]) -> None:
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


def test_an_image_that_changed_since_is_refused(tmp_path: Path) -> None:
    """Also with the same inode, size and mtime, as after deleting and making it anew."""
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


def test_an_image_that_appeared_since_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "card.img"
    facts = inspect(str(image))
    image.write_bytes(b"precious")
    with pytest.raises(RefusedError, match="somebody else in the meantime"):
        open_card(facts, SIZE)
    assert image.read_bytes() == b"precious"


def test_an_image_replaced_since_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "card.img"
    image.write_bytes(STALE * SECTOR)
    facts = inspect(str(image))
    (tmp_path / "other").write_bytes(STALE * SECTOR)
    (tmp_path / "other").rename(image)
    with pytest.raises(RefusedError, match="it is not what it was"):
        open_card(facts, SIZE)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_an_image_that_is_not_ours_is_an_input_error(tmp_path: Path) -> None:
    image = tmp_path / "card.img"
    image.touch(mode=0o444)
    with pytest.raises(InputError, match="cannot open it for writing"):
        open_card(inspect(str(image)), SIZE)


class Killer:
    """A medium that kills its process, as by ``kill -9``, at the n-th access."""

    def __init__(self, medium: object, accesses: int) -> None:
        self._medium, self._left = medium, accesses

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._medium, name)
        if not callable(value):
            return value
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1
        return value


def killed_at(access: int, path: str, sources: dict[str, Path]) -> bool:
    """Flash in a child that is killed at the given access; ``False`` when it ended first."""
    child = os.fork()
    if child == 0:
        try:
            card = open_card(inspect(path), SIZE)
            card._medium = Killer(card._medium, access)
            run_steps(card, sources)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return os.WIFSIGNALED(status)


def kill_everywhere(
    path: str, sources: dict[str, Path], old: bytes, restore: Callable[[], object]
) -> None:
    """Kill a run at its first, second, … access; see each time what it left, and run again.

    A card that looks finished (a table in sector 0) is the old one or the new one, whole.
    """
    finished = (old, expected(sources, b"\0"))
    access = 0
    while restore() is not None and killed_at(access, path, sources):
        content = Path(path).read_bytes()
        looks_finished = content[:SECTOR].endswith(b"\x55\xaa")
        assert looks_finished == (content in finished), f"access {access}"
        assert looks_finished != inspect(path).unfinished, f"access {access}"
        flash(path, sources)
        assert Path(path).read_bytes() == finished[1]
        access += 1
    assert access > 20


OLD = (b"an old card".ljust(510) + b"\x55\xaa").ljust(SIZE, STALE)


def test_an_old_image_killed_anywhere_is_unfinished(
    tmp_path: Path, sources: dict[str, Path]
) -> None:
    image = tmp_path / "card.img"
    kill_everywhere(str(image), sources, OLD, restore=lambda: image.write_bytes(OLD))


def test_a_new_image_killed_anywhere_is_unfinished(
    tmp_path: Path, sources: dict[str, Path]
) -> None:
    image = tmp_path / "card.img"

    def restore() -> bool:
        image.unlink(missing_ok=True)
        return True

    kill_everywhere(str(image), sources, OLD, restore)


@pytest.mark.blockdev
def test_a_device_killed_anywhere_is_unfinished(device: str, sources: dict[str, Path]) -> None:
    # A discard leaves the first MiB alone, so zeros there let the card be compared whole.
    old = OLD[:SECTOR] + bytes(MIB - SECTOR) + OLD[MIB:]
    kill_everywhere(device, sources, old, restore=lambda: Path(device).write_bytes(old))
