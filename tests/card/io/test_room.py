"""What needs room on this machine's disks finds it before the card is changed."""

import errno
import os
from pathlib import Path

import pytest

from bootwright.card.io.inspect import inspect
from bootwright.card.io.room import RECORDS_BYTES, check_image_room, hold_room
from bootwright.core.errors import FailedError
from bootwright.core.units import MIB
from bootwright.rootfs.byte_ranges import Extent
from tests.support.cards import small_disk

pytestmark = [pytest.mark.integration, pytest.mark.blockdev]


def fill(disk: Path, leave: int = 0) -> None:
    """Write a file of zeros to a disk until it has ``leave`` free bytes."""
    with (disk / "filler").open("ab", buffering=0) as file:
        found = os.statvfs(disk)
        file.write(bytes(max(0, found.f_bavail * found.f_frsize - leave)))
        if not leave:
            with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
                while True:
                    file.write(bytes(MIB))


def test_an_image_for_which_there_is_no_room_is_not_touched(tmp_path: Path) -> None:
    with small_disk(tmp_path) as disk:
        image = disk / "card.img"
        data, zeros = Extent(MIB, 3 * MIB, "root"), Extent(16 * MIB, 64 * MIB, None)
        # The old content makes room for the new one.
        image.write_bytes(b"x" * (MIB + MIB // 2))
        fill(disk, leave=2 * MIB)
        check_image_room(inspect(str(image)), [data, zeros])
        image.unlink()
        fill(disk, leave=2 * MIB)
        with pytest.raises(FailedError, match=r"needs 3\.0 MiB.*nothing was changed"):
            check_image_room(inspect(str(image)), [data, zeros])
        assert not image.exists()


def test_the_room_for_the_record_is_there_when_the_disk_is_full(tmp_path: Path) -> None:
    with small_disk(tmp_path) as disk:
        with hold_room(disk) as give_back:
            fill(disk)
            give_back()
            (disk / "record").write_bytes(bytes(RECORDS_BYTES // 2))
        fill(disk)
        why = r"no room for the card's record.*BOOTWRIGHT_BUILD"
        with pytest.raises(FailedError, match=why), hold_room(disk):
            pass
        assert sorted(each.name for each in disk.iterdir()) == ["filler", "lost+found", "record"]
