"""Room on this machine's disks for what a run writes, found before the card is changed."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bootwright.card.block_device import DeviceFacts, DeviceKind
from bootwright.core.errors import FailedError
from bootwright.core.units import MIB, SECTOR, format_size
from bootwright.rootfs.byte_ranges import Extent

RECORDS_BYTES = MIB
"""Bytes that are kept for the manifest and the host keys, which need some 10 KiB."""


def check_image_room(facts: DeviceFacts, extents: Iterable[Extent]) -> None:
    """Check that the disk of an image file has room for it; do nothing for a device.

    Zeros need no room, and the old content of the file is dropped.

    Args:
        facts: the destination.
        extents: what will be written.

    Raises:
        FailedError: there is not enough room, or the file system does not answer.
    """
    if facts.kind is DeviceKind.BLOCK:
        return
    path = Path(facts.resolved)
    try:
        disk = os.statvfs(path.parent)
        # In units of 512 bytes, whatever the file system (stat(2)).
        old = path.stat().st_blocks * SECTOR if facts.kind is DeviceKind.FILE else 0
    except OSError as error:
        raise FailedError(f"{facts.path}: cannot read its disk: {error.strerror}") from error
    needed = sum(extent.length for extent in extents if extent.source is not None)
    free = disk.f_bavail * disk.f_frsize + old
    # Some file systems do not say how large they are.
    if disk.f_blocks and needed > free:
        raise FailedError(
            f"{facts.path}: the image needs {format_size(needed)}, but its disk has room for"
            f" {format_size(free)}; nothing was changed; make room, or name another place"
        )


@contextmanager
def hold_room(folder: Path) -> Iterator[Callable[[], None]]:
    """Keep :data:`RECORDS_BYTES` of a disk free of others while the context lasts.

    The value is a function that gives the room back, to be called when it is used. If the process
    is killed, nothing is left.

    Raises:
        FailedError: the disk has no room.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(tempfile.TemporaryFile(dir=folder))
            os.posix_fallocate(file.fileno(), 0, RECORDS_BYTES)
        except OSError as error:
            raise FailedError(
                f"{folder}: no room for the card's record: {error.strerror}; nothing was changed;"
                " make room, or set BOOTWRIGHT_BUILD to a folder on another disk"
            ) from error
        yield file.close
