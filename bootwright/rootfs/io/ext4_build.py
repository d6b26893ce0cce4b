"""Building an ext4 image from a tarball, without root and without unpacking it.

``mke2fs`` makes the empty file system, so that e2fsprogs decides geometry, journal and
everything that is not a file of the archive. The entries then go straight into place
(:mod:`bootwright.rootfs.ext4.filler`). ``e2fsck`` has the last word: an image that it would
change is never a result.
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
from bootwright.core.io.fsync import sync_path
from bootwright.core.report import Reporter
from bootwright.core.units import GIB, KIB, MIB, format_size
from bootwright.rootfs.ext4.allocator import NoRoomError
from bootwright.rootfs.ext4.filler import Filler
from bootwright.rootfs.ext4.layout import BLOCK, INODE_SIZE, check_features
from bootwright.rootfs.io.tar_stream import open_tar
from bootwright.rootfs.tar_entries import EntryRefused, entry_error

DEFAULT_FEATURES = (
    "has_journal",
    "ext_attr",
    "resize_inode",
    "dir_index",
    "filetype",
    "extent",
    "flex_bg",
    "sparse_super",
    "large_file",
    "huge_file",
    "dir_nlink",
    "extra_isize",
)
"""What old boot loaders read and every kernel since 3.x mounts."""

RESERVED_PERCENT = 1
"""Part of the blocks that only root may fill."""

LABEL_MAX = 16
"""Bytes in a label (``s_volume_name`` of the superblock)."""

_SIZE_MAX = 16 * 1024 * GIB - MIB
"""Without the feature 64bit a block number has 32 bits."""

_WRITE = MIB
_WRITE_THROUGH = 256 * KIB
"""Pieces from this size on are not worth copying into the write buffer."""

_SYNC = 32 * MIB
"""How much is written before the disk is told to begin."""


class ImageFaultError(BootwrightError):
    """e2fsck does not accept an image made here: an error of this program."""


@dataclass(frozen=True)
class BuildResult:
    """What went into an image.

    ``entries`` of the archive, ``bytes`` of file contents, what the operator should
    know, and the SHA-256 of the tarball as stored, in hexadecimal.
    """

    entries: int
    bytes: int
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
    """Make ``image``, an ext4 of ``size`` bytes that holds what ``tarball`` holds.

    The same arguments and the same tarball give the same bytes. The image is sparse.
    ``image`` appears, or is replaced, only when all is well. Nobody else may be making
    the same image: what a run that was killed left beside it is removed.

    Args:
        tarball: plain, or compressed by gzip, xz, zstd or bzip2.
        image: the file to make.
        size: bytes; a multiple of 4096.
        features: names as in mke2fs -O, out of
            :data:`~bootwright.rootfs.ext4.layout.FEATURES`.
        uuid: of the file system; the hash seed of its directories is derived from it.
        label: of the file system, at most 16 bytes.
        timestamp: seconds since 1970, for every time that the archive does not tell.
        journal_mib: MiB of journal, if ``features`` has one.
        expected_sha256: of the tarball as stored, in hexadecimal, when it was verified
            before: what is read now has to be the same.
        reporter: is told the progress.

    Raises:
        InputError: an argument, the archive or one of its entries is refused, or the
            image is too small; says which and why.
        RefusedError: the tarball is not the one that was verified.
        FailedError: a tool is missing or failed, or this machine's disk is full.
        ImageFaultError: e2fsck found fault with the result.
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
        sync_path(temporary)
        temporary.replace(image)
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
    """Give a new file beside ``image``, which is gone afterwards unless it was renamed."""
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
        # Reading the tarball has errors of its own; what is left is the image.
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
        # The configuration of this machine must not change what is made.
        env={"MKE2FS_CONFIG": os.devnull, "E2FSPROGS_FAKE_TIME": str(timestamp)},
    )


def _fill(
    tarball: Path, disk: "_ImageFile", size: int, timestamp: int, reporter: Reporter
) -> BuildResult:
    filler = Filler(disk, timestamp)
    count = content = 0
    with (
        open_tar(tarball) as stream,
        reporter.meter(f"Filling from {tarball.name}", stream.stored_size) as meter,
    ):
        entries = iter(stream)
        reported = 0
        for entry in entries:
            count += 1
            content += entry.size
            if entry.size > size:
                raise entry_error(tarball, entry.name, f"{entry.size} bytes in an image of {size}")
            try:
                filler.add(entry, stream.read)
            except EntryRefused as why:
                raise entry_error(tarball, entry.name, why) from None
            except NoRoomError:
                total, blocks = count, -(-entry.size // BLOCK)
                for left in entries:
                    total += 1
                    blocks += -(-left.size // BLOCK)
                # As many for each entry that comes as for those that came.
                implied = filler.implied * total // count
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
    except NoRoomError:
        raise _too_small(tarball, size, filler, count, filler.directories) from None
    return BuildResult(count, content, _warnings(filler), sha256)


def _inode_ratio(size: int) -> int:
    """Return bytes per inode: mke2fs.conf's default, or more inodes in a small image.

    (Its ratio for small ones, 4096, would need other groups than those of 32768 blocks.)
    """
    return 8192 if size < 512 * MIB else 16384


def _too_small(tarball: Path, size: int, filler: Filler, entries: int, blocks: int) -> InputError:
    """Return the error for a full image, with an estimate of the size that would do.

    Args:
        tarball: what did not fit.
        size: of the image.
        filler: knows what is left.
        entries: of the archive, in all, and the directories that they only imply.
        blocks: of what is not in the image yet.
    """
    missing = max(0, blocks - filler.blocks_free)
    # A thirty-second goes to inode tables, less to directories and bitmaps.
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
        f"{filler.skipped_xattrs} extended attributes were left out, as ext4 cannot hold them"
        f" in this form; the first is {filler.first_skipped}",
    )


def _check(path: Path) -> None:
    # A time after this machine's clock, or a local e2fsck.conf, is no fault of the image.
    env = {"E2FSCK_CONFIG": os.devnull, "E2FSCK_TIME": str(2**31 - 1)}
    done = process.run(["e2fsck", "-fn", str(path)], check=False, env=env)
    if done.returncode:
        raise ImageFaultError(str(process.failure(done, "This is an error of Bootwright.")))


class _ImageFile:
    """The image, open for the filler.

    Gathers small writes that follow each other. A thread has the kernel write to the
    disk what came so far, so that little is left to wait for at the end.
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
        """Write ``data`` to ``offset``, at once or with what comes after it."""
        large = len(data) >= _WRITE_THROUGH
        if offset != self._end or len(self._pending) >= _WRITE or large:
            self.flush()
        self._end = offset + len(data)
        if large:
            self._write(offset, data)
        else:
            self._pending += data

    def flush(self) -> None:
        """Write what was gathered."""
        if self._pending:
            self._write(self._end - len(self._pending), self._pending)
            self._pending.clear()

    def _write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        with memoryview(data) as rest:
            written = 0
            while written < len(rest):
                written += os.pwrite(self._fd, rest[written:], offset + written)
        self._unsynced += len(data)
        if self._unsynced >= _SYNC and self._syncing.done():
            self._syncing.result()
            self._syncing = self._pool.submit(os.fdatasync, self._fd)
            self._unsynced = 0
