"""Building an ext4 image from a tarball, without root and without unpacking it.

``mke2fs`` makes the empty file system: the groups, the journal and everything else that is not a
file of the archive. Then the entries are written directly to their blocks
(:mod:`bootwright.rootfs.ext4.filler`). At the end ``e2fsck`` checks the image: one that it would
change is never returned.
"""

import os
import re
import uuid as uuids
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bootwright.core.errors import BootwrightError, FailedError, InputError, RefusedError
from bootwright.core.io import process
from bootwright.core.io.fsync import move_into_place
from bootwright.core.report import Reporter
from bootwright.core.units import GIB, KIB, MIB, format_size
from bootwright.rootfs.ext4.allocator import ImageFullError
from bootwright.rootfs.ext4.filler import Filler
from bootwright.rootfs.ext4.layout import BLOCK, INODE_SIZE, check_features
from bootwright.rootfs.io.tar_stream import open_tar
from bootwright.rootfs.tar_entries import EntryRefused, entry_error

RESERVED_PERCENT = 1
"""Percentage of the blocks that only root may use."""

LABEL_MAX = 16
"""The most bytes in a label (``s_volume_name`` of the superblock)."""

_SIZE_MAX = 16 * 1024 * GIB - MIB
"""The most bytes of an image: without the feature 64bit, a block number has 32 bits."""

_BUFFER_BYTES = MIB
"""The size at which the write buffer is written to the image."""

_DIRECT_BYTES = 256 * KIB
"""Pieces of at least this size are written directly, not copied into the write buffer."""

_SYNC_BYTES = 32 * MIB
"""The number of new bytes after which the kernel is made to write them to the disk."""


class ImageFaultError(BootwrightError):
    """e2fsck does not accept an image that was built here: this is an error of this program."""


@dataclass(frozen=True)
class BuildResult:
    """The result of building an image.

    Attributes:
        warnings: what the operator should know.
        sha256: of the tarball file, in hexadecimal.
    """

    warnings: tuple[str, ...]
    sha256: str


def build_ext4(
    tarball: Path,
    image: Path,
    *,
    size: int,
    features: Sequence[str],
    uuid: str,
    label: str,
    timestamp: int,
    journal_mib: int = 16,
    expected_sha256: str | None = None,
    reporter: Reporter,
) -> BuildResult:
    """Make ``image``, an ext4 of ``size`` bytes with the content of ``tarball``.

    The same arguments and the same tarball give the same bytes. The image is sparse.
    ``image`` is created or replaced only after success. No other process may make the same image
    at the same time, because temporary files beside it, of killed runs, are removed.

    Args:
        tarball: uncompressed, or compressed by gzip, xz, zstd or bzip2.
        image: the file to make.
        size: bytes; a multiple of 4096.
        features: names as in mke2fs -O; see
            :data:`~bootwright.rootfs.ext4.layout.FEATURES`.
        uuid: of the file system; the hash seed of its directories is derived from it.
        label: of the file system, at most 16 bytes.
        timestamp: seconds since 1970, for all times that the archive does not contain.
        journal_mib: size of the journal in MiB, if ``features`` has ``has_journal``.
        expected_sha256: of the tarball file, in hexadecimal, if it was verified before; the file
            that is read now has to have the same.
        reporter: shows the progress.

    Raises:
        InputError: an argument, the archive or one of its entries is refused, or the image is too
            small; the message says which and why.
        RefusedError: the tarball is not the one that was verified.
        FailedError: a tool is missing or failed, or this machine's disk is full.
        ImageFaultError: e2fsck found an error in the result.
    """
    _check_arguments(image, size, features, uuid, label, timestamp)
    with _temporary(image) as temporary:
        _make_empty(temporary, size, features, uuid, label, timestamp, journal_mib)
        with _ImageFile(temporary) as disk:
            result = _fill(tarball, disk, size, timestamp, reporter)
            disk.flush()
        if expected_sha256 is not None and result.sha256 != expected_sha256.lower():
            raise RefusedError(f"{tarball}: it changed while it was read; nothing was kept")
        with reporter.step(f"Checking {image.name} with e2fsck"):
            _check(temporary)
        move_into_place(temporary, image)
    return result


def _check_arguments(
    image: Path, size: int, features: Sequence[str], uuid: str, label: str, timestamp: int
) -> None:
    check_features(features)
    if size % BLOCK or not 0 < size <= _SIZE_MAX:
        raise InputError(
            f"{image}: {size} bytes is not a multiple of {BLOCK} up to {format_size(_SIZE_MAX)}"
        )
    if len(label.encode()) > LABEL_MAX:
        raise InputError(f"{image}: label {label!r} is longer than {LABEL_MAX} bytes")
    if not 0 < timestamp < 1 << 32:
        raise InputError(f"{image}: timestamp {timestamp} is not within 1970 to 2106")
    try:
        uuids.UUID(uuid)
    except ValueError:
        raise InputError(f"{image}: {uuid!r} is not a UUID") from None


@contextmanager
def _temporary(image: Path) -> Iterator[Path]:
    """Make a new file beside ``image``; at the end it is removed unless it was renamed."""
    path = image.with_name(f".{image.name}.{os.getpid()}.partial")
    partial = re.compile(re.escape(f".{image.name}.") + r"\d+\.partial")
    try:
        for old in image.parent.iterdir():
            if partial.fullmatch(old.name):
                old.unlink()
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        raise InputError(f"{path}: cannot make it: {error.strerror}") from error
    try:
        yield path
    except OSError as error:
        # Errors of reading the tarball were handled before, so this is one of writing the image.
        raise FailedError(f"{image}: cannot write it: {error.strerror}") from error
    finally:
        path.unlink(missing_ok=True)


def _make_empty(
    path: Path,
    size: int,
    features: Sequence[str],
    uuid: str,
    label: str,
    timestamp: int,
    journal_mib: int,
) -> None:
    os.truncate(path, size)
    hash_seed = uuids.uuid5(uuids.UUID(uuid), "hash seed")
    journal = ["-J", f"size={journal_mib}"] if "has_journal" in features else []
    process.run(
        [
            *("mke2fs", "-q", "-F", "-b", str(BLOCK), "-I", str(INODE_SIZE)),
            *("-i", str(_inode_ratio(size)), "-m", str(RESERVED_PERCENT), *journal),
            *("-O", ",".join(["none", *features]), "-U", uuid, "-L", label),
            *("-E", f"hash_seed={hash_seed},root_owner=0:0", str(path)),
        ],
        # This machine's configuration must not change the result.
        env={"MKE2FS_CONFIG": os.devnull, "E2FSPROGS_FAKE_TIME": str(timestamp)},
    )


def _fill(
    tarball: Path, disk: "_ImageFile", size: int, timestamp: int, reporter: Reporter
) -> BuildResult:
    filler = Filler(disk, timestamp)
    count = 0
    with (
        open_tar(tarball) as stream,
        reporter.meter(f"Filling from {tarball.name}", stream.stored_size) as meter,
    ):
        entries = iter(stream)
        reported = 0
        for entry in entries:
            count += 1
            if entry.size > size:
                raise entry_error(tarball, entry.name, f"{entry.size} bytes in an image of {size}")
            try:
                filler.add(entry, stream.read)
            except EntryRefused as why:
                raise entry_error(tarball, entry.name, why) from None
            except ImageFullError:
                total, blocks = count, -(-entry.size // BLOCK)
                for left in entries:
                    total += 1
                    blocks += -(-left.size // BLOCK)
                # An estimate: as many implied directories per entry as so far.
                implied = filler.implied_directories * total // count
                raise _too_small(tarball, size, filler, total + implied, blocks + implied) from None
            if stream.stored_bytes - reported >= MIB:
                meter.advance(stream.stored_bytes - reported)
                reported = stream.stored_bytes
        meter.advance(stream.stored_bytes - reported)
        sha256 = stream.sha256
    if not count:
        raise InputError(f"{tarball}: the archive is empty")
    try:
        filler.finish()
    except ImageFullError:
        raise _too_small(tarball, size, filler, count, filler.directories) from None
    return BuildResult(_warnings(filler), sha256)


def _inode_ratio(size: int) -> int:
    """Return the bytes per inode: the default of mke2fs.conf, or half of it for a small image.

    (Its default for small ones, 4096, would need groups with another number of blocks.)
    """
    return 8192 if size < 512 * MIB else 16384


def _too_small(tarball: Path, size: int, filler: Filler, entries: int, blocks: int) -> InputError:
    """Return the error for a full image, with an estimate of the size that is needed.

    Args:
        tarball: does not fit.
        size: of the image, in bytes.
        filler: has the number of free blocks.
        entries: number of all entries of the archive, and of the directories that they imply.
        blocks: number of blocks that are not in the image yet.
    """
    missing = max(0, blocks - filler.blocks_free)
    # 1/16 more: 1/32 for inode tables, less for directories and bitmaps.
    needed = size + missing * BLOCK * 17 // 16 + MIB
    needed = max(needed, entries * _inode_ratio(entries * 8192))
    return InputError(
        f"{tarball}: it does not fit into an image of {format_size(size)};"
        f" about {-(-needed // MIB)}MiB are needed"
    )


def _warnings(filler: Filler) -> tuple[str, ...]:
    if not filler.skipped_xattrs:
        return ()
    return (
        f"{filler.skipped_xattrs} extended attributes were left out, as ext4 cannot store them"
        f" in this format; the first is {filler.first_skipped}",
    )


def _check(path: Path) -> None:
    # Times in the future or a local e2fsck.conf must not count as errors of the image.
    env = {"E2FSCK_CONFIG": os.devnull, "E2FSCK_TIME": str(2**31 - 1)}
    done = process.run(["e2fsck", "-fn", str(path)], check=False, env=env)
    if done.returncode:
        raise ImageFaultError(str(process.failure(done, "This is an error of Bootwright.")))


class _ImageFile:
    """The image, open for the filler.

    Consecutive small writes are collected in a buffer. A thread makes the kernel write to the
    disk meanwhile, so that the sync at the end is short.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR)
        self._pending = bytearray()
        self._end = 0
        self._unsynced = 0
        self._pool = ThreadPoolExecutor(1)
        self._syncing = self._pool.submit(os.fdatasync, self._fd)

    def __enter__(self) -> "_ImageFile":
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.shutdown()
        os.close(self._fd)

    def read_at(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes from ``offset``."""
        self.flush()
        return os.pread(self._fd, size, offset)

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Write ``data`` to ``offset``, now or together with the writes after it."""
        large = len(data) >= _DIRECT_BYTES
        if offset != self._end or len(self._pending) >= _BUFFER_BYTES or large:
            self.flush()
        self._end = offset + len(data)
        if large:
            self._write(offset, data)
        else:
            self._pending += data

    def flush(self) -> None:
        """Write the buffer to the image."""
        if self._pending:
            self._write(self._end - len(self._pending), self._pending)
            self._pending.clear()

    def _write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        with memoryview(data) as rest:
            written = 0
            while written < len(rest):
                written += os.pwrite(self._fd, rest[written:], offset + written)
        self._unsynced += len(data)
        if self._unsynced >= _SYNC_BYTES and self._syncing.done():
            self._syncing.result()
            self._syncing = self._pool.submit(os.fdatasync, self._fd)
            self._unsynced = 0
