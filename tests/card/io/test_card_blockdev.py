"""Cards on real loop devices."""

import errno
import os
import stat
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bootwright.card.guard import GuardRequest, check
from bootwright.card.io.card import Card, open_card
from bootwright.card.io.inspect import inspect
from bootwright.card.io.medium import ImageFile
from bootwright.core.errors import FailedError, RefusedError
from bootwright.core.units import MIB, SECTOR
from bootwright.rootfs.byte_ranges import total
from tests.support.cards import (
    EXTENTS,
    SIZE,
    STALE,
    Meter,
    expected,
    flash,
    run_steps,
    small_disk,
)
from tests.support.loopdevice import command, loop, mounted, partition_nodes

pytestmark = pytest.mark.integration


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
def test_no_old_data_is_left_on_a_discarded_device(
    device: str, backing: Path, sources: dict[str, Path]
) -> None:
    flash(device, sources)
    content = backing.read_bytes()
    assert content[MIB:] == expected(sources, b"\0")[MIB:]
    assert content[:MIB] == expected(sources, STALE)[:MIB]


@pytest.mark.blockdev
def test_a_device_is_opened_with_o_direct_if_possible(backing: Path) -> None:
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
def test_a_device_mounted_after_inspection_is_refused(
    device: str, backing: Path, tmp_path: Path
) -> None:
    command("mke2fs", "-q", "-t", "ext4", device)
    facts = inspect(device)
    before = backing.read_bytes()
    with mounted(device, tmp_path / "mnt"), pytest.raises(RefusedError, match="it is in use"):
        open_card(facts, SIZE)
    assert before[:SECTOR] == backing.read_bytes()[:SECTOR]


@pytest.mark.blockdev
def test_a_disk_with_a_loop_device_attached_after_inspection_is_refused(
    device: str, backing: Path, tmp_path: Path
) -> None:
    """Opening exclusively does not exclude it, and another name does not hide it."""
    facts = inspect(device)
    alias = tmp_path / "alias"
    os.mknod(alias, stat.S_IFBLK | 0o600, Path(device).stat().st_rdev)
    by_now = "it is now attached as /dev/loop.*"
    with loop(alias), pytest.raises(RefusedError, match=by_now):
        open_card(facts, SIZE)
    open_card(facts, SIZE).close()
    assert backing.read_bytes() == STALE * SIZE


@pytest.mark.blockdev
def test_a_disk_with_a_loop_device_on_a_partition_after_inspection_is_refused(
    tmp_path: Path,
) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(SIZE))
    subprocess.run(["sfdisk", "-q", disk], input=b"label: dos\nstart=8192\n", check=True)
    with loop(disk, "--partscan") as device, partition_nodes(device):
        facts = inspect(device)
        by_now = "it is now attached as /dev/loop.*"
        with loop(Path(f"{device}p1")), pytest.raises(RefusedError, match=by_now):
            open_card(facts, SIZE)


@pytest.mark.blockdev
def test_an_image_attached_after_inspection_is_refused(tmp_path: Path) -> None:
    """Under another name: mounting it through the loop device changes no time of the file."""
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
    """The card was replaced by another of the same size; the kernel has given it a new number."""
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
def test_every_part_of_the_identity_is_compared(device: str, change: dict[str, Any]) -> None:
    facts = inspect(device)
    changed = replace(facts, identity=replace(facts.identity, **change))
    with pytest.raises(RefusedError, match="it is not what it was"):
        open_card(changed, SIZE)
    open_card(facts, SIZE).close()  # the refused one was closed


@pytest.mark.blockdev
def test_a_device_that_cannot_store_is_an_error_with_the_sectors(
    tmp_path: Path, sources: dict[str, Path]
) -> None:
    """A loop device of 16 MiB on a disk of 4 MiB, so that real I/O errors happen."""
    with small_disk(tmp_path) as disk:
        (disk / "backing.img").touch()
        os.truncate(disk / "backing.img", SIZE)
        with loop(disk / "backing.img") as device:
            with pytest.raises(FailedError, match=r"(sectors|cannot flush|read back wrong)"):
                flash(device, sources)
            assert inspect(device).unfinished


@pytest.mark.blockdev
def test_a_full_disk_is_reported_when_writing_an_image(
    tmp_path: Path, sources: dict[str, Path]
) -> None:
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
        assert [(each.start, each.size) for each in facts.partitions] == [(4 * MIB, SIZE - 4 * MIB)]
