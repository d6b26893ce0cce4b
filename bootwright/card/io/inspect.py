"""Reading the facts about a destination; nothing here writes or locks anything."""

import dataclasses
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bootwright.card.block_device import (
    BlockReadings,
    DeviceFacts,
    DeviceKind,
    Identity,
    blkid_command,
    block_facts,
    file_facts,
    is_unfinished,
    lsblk_command,
    lsblk_identity,
    probed,
    sfdisk_command,
    unescape,
)
from bootwright.core.errors import InputError
from bootwright.core.io.process import run
from bootwright.core.units import SECTOR

_LOOP_GET_STATUS64 = 0x4C05
_LOOP_INFO64 = 232
"""Bytes of ``struct loop_info64`` (linux/loop.h), which starts with three numbers of 64 bits."""

WHOLE_FILE = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
"""``struct flock`` for a lock that excludes every other, on the whole of a file."""

_KINDS = (
    (stat.S_ISBLK, DeviceKind.BLOCK),
    (stat.S_ISREG, DeviceKind.FILE),
    (stat.S_ISDIR, DeviceKind.DIRECTORY),
    (stat.S_ISCHR, DeviceKind.CHARACTER),
    (stat.S_ISFIFO, DeviceKind.FIFO),
    (stat.S_ISSOCK, DeviceKind.SOCKET),
)


def inspect(path: str) -> DeviceFacts:
    """Return the facts about the destination ``path``; it need not exist.

    What needs root to be read (labels without udev, the marker) is left empty for
    an ordinary user.

    Raises:
        FailedError: a tool is missing or failed, or the device went away.
        InputError: the status of the path cannot be read.
    """
    resolved = str(Path(path).resolve())
    kind, status = _status(path)
    if status is None or kind not in (DeviceKind.BLOCK, DeviceKind.FILE):
        place = str(Path(resolved).parent)
        return DeviceFacts(path, resolved, kind, Identity("", 0), may_write=_may_write(place))
    sfdisk = run(sfdisk_command(resolved), check=False)
    table = sfdisk.text if sfdisk.returncode == 0 else ""
    if kind is DeviceKind.BLOCK:
        facts = block_facts(path, resolved, _read_block(resolved, status.st_rdev, table))
    else:
        identity = file_identity(status)
        facts = file_facts(path, resolved, identity, table, _locks(resolved, identity) | uses())
        facts = dataclasses.replace(facts, read_only=not status.st_mode & 0o222)
    return _with_contents(dataclasses.replace(facts, may_write=_may_write(resolved)))


def identify(path: str) -> Identity:
    """Return the identity of the block device or file at ``path`` as it is now."""
    status = Path(path).stat()
    if stat.S_ISBLK(status.st_mode):
        text = run(lsblk_command(path), check=False).text
        return lsblk_identity(text, path, _sys_block(status.st_rdev, "diskseq"))
    return file_identity(status)


def file_identity(status: os.stat_result) -> Identity:
    """Return the identity of a regular file."""
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return Identity(_node(status), status.st_size, times=times)


def uses() -> dict[str, str]:
    """Return what uses a file or device that neither lsblk nor a mount shows, by node.

    The node is that of :class:`Identity`, so a hard link, a bind mount, another mount
    namespace or a second device node makes no difference.
    """
    swaps = (unescape(line.split()[0]) for line in _read("/proc/swaps").splitlines()[1:])
    loops = Path("/sys/block").glob("loop*/loop/backing_file")
    return {_node_of(path): "in use as swap" for path in swaps} | {
        _behind_loop(file): f"attached as /dev/{file.parent.parent.name}" for file in loops
    }


def used_now(node: str) -> list[str]:
    """Return what :func:`uses` returns now for the file or disk and for its partitions."""
    found = uses()
    partitions = Path(f"/sys/dev/block/{node}").glob("*/partition")
    nodes = [node, *(_read(str(each.with_name("dev"))) for each in partitions)]
    return [found[each] for each in nodes if each in found]


def _status(path: str) -> tuple[DeviceKind, os.stat_result | None]:
    """Return what ``path`` is, and its status when it exists."""
    try:
        status = Path(path).stat()
    except FileNotFoundError:
        return (DeviceKind.NEW if Path(path).resolve().parent.is_dir() else DeviceKind.ORPHAN), None
    except OSError as error:
        raise InputError(f"{path}: cannot read its status: {error.strerror}") from error
    return next(kind for is_kind, kind in _KINDS if is_kind(status.st_mode)), status


def _read_block(device: str, number: int, sfdisk: str) -> BlockReadings:
    return BlockReadings(
        lsblk=run(lsblk_command(device), check=False).text,
        mountinfo=Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace"),
        sfdisk=sfdisk,
        mmc_type=_sys_block(number, "device/type") if "/mmcblk" in device else "",
        diskseq=_sys_block(number, "diskseq"),
        uses=uses(),
    )


def _with_contents(facts: DeviceFacts) -> DeviceFacts:
    """Add what has to be read from the contents: labels that udev did not give, and the marker."""
    partitions = []
    for partition in facts.partitions:
        if not partition.fstype:
            fstype, label = probed(run(blkid_command(facts.resolved, partition), check=False).text)
            partition = dataclasses.replace(partition, fstype=fstype, label=label)
        partitions.append(partition)
    empty = facts.kind is DeviceKind.FILE and facts.size == 0
    fstype, label = facts.fstype, facts.label
    if not facts.partitions and not fstype:
        fstype, label = probed(run(blkid_command(facts.resolved), check=False).text)
    return dataclasses.replace(
        facts,
        partitions=tuple(partitions),
        fstype=fstype,
        label=label,
        unfinished=empty or is_unfinished(_first_sector(facts.resolved)),
    )


def _first_sector(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(SECTOR)
    except OSError:
        return b""


def _sys_block(number: int, name: str) -> str:
    return _read(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/{name}")


def _read(path: str) -> str:
    """Return the text of a file of the kernel; empty if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _node(status: os.stat_result) -> str:
    if stat.S_ISBLK(status.st_mode):
        return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    return f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}/{status.st_ino}"


def _node_of(path: str) -> str:
    """Return the node of what ``path`` names; empty when nothing is there."""
    try:
        return _node(Path(path).stat())
    except OSError:
        return ""


def _behind_loop(backing_file: Path) -> str:
    """Return the node of what a loop device is attached to.

    The device itself reports it exactly. Where it may not be opened (only root may), the
    path in sysfs is used, which may belong to another mount namespace.
    """
    try:
        with _opened(f"/dev/{backing_file.parent.parent.name}") as fd:
            answer = fcntl.ioctl(fd, _LOOP_GET_STATUS64, bytes(_LOOP_INFO64))
    except OSError:
        return _node_of(_read(str(backing_file)))
    device, inode, special = struct.unpack_from("QQQ", answer)
    if special not in (0, device):
        return f"{os.major(special)}:{os.minor(special)}"
    return f"{os.major(device)}:{os.minor(device)}/{inode}"


def _locks(path: str, identity: Identity) -> dict[str, str]:
    """Return whether another process has locked the file, as an emulator does."""
    try:
        with _opened(path) as fd:
            answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, WHOLE_FILE)
    except OSError:  # no right to read it, or no locks there; opening it fails then
        return {}
    if struct.unpack_from("h", answer)[0] == fcntl.F_UNLCK:
        return {}
    return {identity.node: "in use by another process (an emulator? inv emulate --stop)"}


@contextmanager
def _opened(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _may_write(path: str) -> bool:
    return os.access(path, os.W_OK, effective_ids=True)
