"""Reading and writing a destination: the same methods for a block device and an image file.

:mod:`bootwright.card.io.card` decides what is written and in which order. All offsets and lengths
are in bytes and multiples of a sector. The methods raise ``OSError``; the caller turns it into a
message for the operator.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import stat
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from bootwright.card.io import holders
from bootwright.core.errors import FailedError, InputError, RefusedError
from bootwright.core.units import MIB, SECTOR
from bootwright.rootfs.byte_ranges import Span

# From linux/fs.h; the same on every architecture that defines _IOC_READ as 2.
_BLKRRPART = 0x125F
_BLKFLSBUF = 0x1261
_BLKDISCARD = 0x1277
_BLKZEROOUT = 0x127F
_BLKGETSIZE64 = 0x80081272
_BLKGETDISKSEQ = 0x80081280

_NOT_DISCARDED = MIB
"""Bytes at the start that are not discarded, because they contain the unfinished mark."""

_libc = ctypes.CDLL(None, use_errno=True)


LOCK_WAIT_S = 10.0
"""Seconds to wait for the lock of a disk: udev holds it for moments, when a card was inserted."""


class Medium(Protocol):
    """A destination that a card can be written to."""

    path: str
    size: int
    is_device: bool
    """It is hardware, which may claim a size that it does not have."""

    def read(self, buffer: memoryview, offset: int) -> None:
        """Fill ``buffer`` from ``offset``."""
        ...

    def write(self, buffer: memoryview, offset: int) -> None:
        """Write all of ``buffer`` at ``offset``."""
        ...

    def zero(self, offset: int, length: int) -> None:
        """Make a range read as zero."""
        ...

    def drop_content(self) -> None:
        """Drop the old content, except sector 0, if that takes no time."""
        ...

    def discard(self) -> bool:
        """Discard everything but the start; return whether the device supports that."""
        ...

    def flush(self) -> None:
        """Return after everything written is on the medium, and drop what is cached."""
        ...

    def reread_table(self) -> bool:
        """Make the kernel read the partition table again; return whether it did."""
        ...

    def close(self) -> None:
        """Close the destination."""
        ...


class Buffer:
    """A page-aligned piece of memory, as O_DIRECT needs it."""

    def __init__(self, length: int) -> None:
        self._map = mmap.mmap(-1, length)
        self.view = memoryview(self._map)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))


def buffers_equal(left: Buffer, right: Buffer, length: int) -> bool:
    """Return whether the first ``length`` bytes are equal; other threads can run meanwhile.

    It calls ``memcmp``, because Python compares memoryviews byte by byte.
    """
    result: int = _libc.memcmp(
        ctypes.c_void_p(left.address), ctypes.c_void_p(right.address), ctypes.c_size_t(length)
    )
    return result == 0


def data_spans(fd: int, start: int, end: int) -> Iterator[Span]:
    """Yield the ranges of an open file between ``start`` and ``end`` that are not holes."""
    while start < end:
        try:
            start = os.lseek(fd, start, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                return
            raise
        stop = min(os.lseek(fd, start, os.SEEK_HOLE), end)
        if start < stop:
            yield Span(start, stop)
        start = stop


def file_data_spans(path: Path) -> tuple[Span, ...]:
    """Return the ranges of the file ``path`` that are not holes."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return tuple(data_spans(fd, 0, os.fstat(fd).st_size))
    finally:
        os.close(fd)


class _OpenMedium:
    """What both kinds have in common: an open descriptor, and complete reads and writes."""

    def __init__(self, path: str, fd: int, size: int) -> None:
        self.path, self.fd, self.size = path, fd, size

    def read(self, buffer: memoryview, offset: int) -> None:
        done = 0
        while done < len(buffer):
            count = os.preadv(self.fd, [buffer[done:]], offset + done)
            if count == 0:
                raise OSError(errno.ENXIO, "it ends too early")
            done += count

    def write(self, buffer: memoryview, offset: int) -> None:
        done = 0
        while done < len(buffer):
            done += os.pwritev(self.fd, [buffer[done:]], offset + done)

    def write_zeros(self, offset: int, length: int) -> None:
        zeros = Buffer(MIB)
        for start in range(offset, offset + length, MIB):
            self.write(zeros.view[: min(MIB, offset + length - start)], start)

    def close(self) -> None:
        os.close(self.fd)


class BlockDevice(_OpenMedium):
    """A disk, opened exclusively: nobody can mount it meanwhile."""

    is_device = True

    def __init__(self, path: str, fd: int | None = None) -> None:
        """Open the disk at ``path`` exclusively.

        Args:
            path: the disk.
            fd: it is open already, exclusively, as this descriptor.

        Raises:
            RefusedError: it is in use.
            FailedError: it cannot be opened.
        """
        super().__init__(path, _open_device(path) if fd is None else fd, 0)
        try:
            self.size = self._ioctl_number(_BLKGETSIZE64)
        except OSError:
            os.close(self.fd)
            raise

    @property
    def node(self) -> str:
        """``major:minor`` of what was opened."""
        return holders.node_of_status(os.fstat(self.fd))

    def lock(self) -> None:
        """Lock the disk until it is closed, as systemd's "Locking Block Device Access" asks.

        udev leaves it alone meanwhile. The wait is up to :data:`LOCK_WAIT_S`.

        Raises:
            RefusedError: another process has locked it.
            InputError: it cannot be locked.
        """
        _lock(self.path, self.fd, LOCK_WAIT_S)

    def diskseq(self) -> int | None:
        """Return the kernel's number of this medium; ``None`` before Linux 5.15."""
        try:
            return self._ioctl_number(_BLKGETDISKSEQ)
        except OSError:
            return None

    def zero(self, offset: int, length: int) -> None:
        """Make the kernel zero a range; write zeros if it cannot."""
        try:
            fcntl.ioctl(self.fd, _BLKZEROOUT, struct.pack("QQ", offset, length))
        except OSError:
            self.write_zeros(offset, length)

    def drop_content(self) -> None:
        """Do nothing: for a device, :meth:`discard` drops the content."""

    def discard(self) -> bool:
        """Discard everything but the first MiB; return whether the device supports that."""
        try:
            fcntl.ioctl(
                self.fd, _BLKDISCARD, struct.pack("QQ", _NOT_DISCARDED, self.size - _NOT_DISCARDED)
            )
        except OSError:
            return False
        return True

    def flush(self) -> None:
        """Write the caches of kernel and device to the medium, and drop the kernel's cache."""
        os.fsync(self.fd)
        try:
            fcntl.ioctl(self.fd, _BLKFLSBUF)
        except OSError:  # it needs CAP_SYS_ADMIN
            os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def reread_table(self) -> bool:
        """Make the kernel read the partition table again; return whether it did."""
        try:
            fcntl.ioctl(self.fd, _BLKRRPART)
        except OSError:
            return False
        return True

    def _ioctl_number(self, request: int) -> int:
        answer = fcntl.ioctl(self.fd, request, bytes(8))
        number: int = struct.unpack("Q", answer)[0]
        return number


class ImageFile(_OpenMedium):
    """An image file, locked so that no second run and no emulator uses it meanwhile.

    It will contain the card's private host keys, so only its owner may read it.
    """

    is_device = False

    def __init__(self, path: str, size: int, new: bool) -> None:
        """Open or create the file ``path``; its content is not changed yet.

        Args:
            path: the file.
            size: bytes that it will have.
            new: create it; it must not exist.

        Raises:
            RefusedError: another process has created it meanwhile.
            InputError: it cannot be created or opened.
        """
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if new else 0)
        try:
            fd = os.open(path, flags, 0o600)
        except FileExistsError:
            raise RefusedError(
                f"{path}: another process has created it meanwhile; check it and start again"
            ) from None
        except OSError as error:
            raise InputError(f"{path}: cannot open it for writing: {error.strerror}") from error
        super().__init__(path, fd, size)

    def lock(self) -> None:
        """Lock the file until it is closed.

        Raises:
            RefusedError: another process has locked it.
            InputError: it cannot be locked.
        """
        _lock(self.path, self.fd)

    def make_private(self) -> None:
        """Make the file readable by its owner only, and by nobody who has it open already.

        On a file system without modes (FAT) this has no effect.

        Raises:
            RefusedError: it is open elsewhere.
            InputError: the file belongs to another user.
        """
        mode = stat.S_IMODE(os.fstat(self.fd).st_mode)
        self._restrict_mode()
        if holders.lasting(lambda: holders.is_open_elsewhere(self.fd)):
            os.fchmod(self.fd, mode)
            raise RefusedError(
                f"{self.path}: it is now {holders.OPEN_ELSEWHERE}, which could read the card's"
                " secrets; nothing was changed; end that process, or name another file"
            )

    def _restrict_mode(self) -> None:
        status = os.fstat(self.fd)
        if not status.st_mode & 0o077:
            return
        try:
            os.fchmod(self.fd, 0o600)
        except OSError as error:
            if os.geteuid() not in (0, status.st_uid):
                raise InputError(
                    f"{self.path}: it will hold secrets, others can read it, and it belongs to "
                    "another user; name another file"
                ) from error

    def zero(self, offset: int, length: int) -> None:
        """Write zeros where there is data; a hole already reads as zero."""
        for span in data_spans(self.fd, offset, offset + length):
            self.write_zeros(span.start, span.end - span.start)

    def drop_content(self) -> None:
        """Give the file its new size, with a hole from sector 1 to the end."""
        os.ftruncate(self.fd, SECTOR)
        os.ftruncate(self.fd, self.size)

    def discard(self) -> bool:
        """Do nothing: :meth:`drop_content` has made the file a hole already."""
        return True

    def flush(self) -> None:
        """Write the cached data of the file to the disk, and drop it from the cache."""
        os.fsync(self.fd)
        os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def reread_table(self) -> bool:
        """Do nothing: the kernel reads no partition table of a file."""
        return True


def _lock(path: str, fd: int, wait_s: float = 0) -> None:
    """Lock a file or device until it is closed, in two ways: bootwright and systemd use the first
    kind of lock, QEMU the second.
    """
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, holders.WHOLE_FILE)
            return
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise InputError(
                    f"{path}: cannot lock it: {error.strerror}; name another file"
                ) from error
        if time.monotonic() >= deadline:
            # By the descriptor: a device can have been opened under another name.
            uses = holders.lock_uses(f"/proc/self/fd/{fd}") or ["in use by another process"]
            is_device = stat.S_ISBLK(os.fstat(fd).st_mode)
            or_else = ", or remove the card and insert it" if is_device else ""
            raise RefusedError(
                f"{path}: it is {uses[0]}; nothing was changed; wait until that process ends"
                f"{or_else}"
            )
        time.sleep(0.1)


def _open_device(path: str) -> int:
    status = holders.status_of(path)
    if status is None:
        raise FailedError(f"{path}: the device is gone: insert the card again")
    # Locks belong to the device node: they have to be on the one that others use.
    usual = holders.device_path(status.st_rdev)
    opened = usual if holders.node_of(usual) == holders.node_of_status(status) else path
    flags = os.O_RDWR | os.O_EXCL | os.O_CLOEXEC
    try:
        # Extents are aligned to 512 bytes; O_DIRECT needs the alignment of the device's sectors.
        direct = os.O_DIRECT if _sector_size(status.st_rdev) == SECTOR else 0
        try:
            return os.open(opened, flags | direct)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return os.open(opened, flags)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise RefusedError(
                f"{path}: it is in use (mounted, or held by LVM, RAID, ZFS …); release it first"
            ) from None
        hint = "; run it as root" if error.errno in (errno.EACCES, errno.EPERM) else ""
        raise FailedError(f"{path}: cannot open it for writing: {error.strerror}{hint}") from error


def _sector_size(number: int) -> int:
    queue = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/queue")
    return int((queue / "logical_block_size").read_text())
