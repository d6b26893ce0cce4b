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
    DeviceIdentity,
    DeviceKind,
    blkid_command,
    block_facts,
    file_facts,
    is_unfinished,
    lsblk_command,
    lsblk_identity,
    parse_blkid,
    sfdisk_command,
    unescape,
)
from bootwright.core.errors import InputError
from bootwright.core.io.process import run
from bootwright.core.units import SECTOR

_LOOP_GET_STATUS64 = 0x4C05
_LOOP_INFO64_BYTES = 232
"""Size of ``struct loop_info64`` (linux/loop.h), which starts with three numbers of 64 bits."""

WHOLE_FILE = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
"""``struct flock`` for an exclusive lock on a whole file."""

_KINDS = (
    (stat.S_ISBLK, DeviceKind.BLOCK),
    (stat.S_ISREG, DeviceKind.FILE),
    (stat.S_ISDIR, DeviceKind.DIRECTORY),
    (stat.S_ISCHR, DeviceKind.CHARACTER),
    (stat.S_ISFIFO, DeviceKind.FIFO),
    (stat.S_ISSOCK, DeviceKind.SOCKET),
)


def inspect(path: str) -> DeviceFacts:
    """Return the facts about the destination ``path``, which need not exist.

    For an ordinary user, the facts that only root can read (labels without udev, the unfinished
    mark) are left empty.

    Raises:
        FailedError: a tool is missing or failed, or the device went away.
        InputError: the status of the path cannot be read.
    """
    resolved = str(Path(path).resolve())
    kind, status = _status(path)
    if status is None or kind not in (DeviceKind.BLOCK, DeviceKind.FILE):
        parent = str(Path(resolved).parent)
        return DeviceFacts(
            path, resolved, kind, DeviceIdentity("", 0), may_write=_may_write(parent)
        )
    sfdisk = run(sfdisk_command(resolved), check=False)
    table = sfdisk.text if sfdisk.returncode == 0 else ""
    if kind is DeviceKind.BLOCK:
        facts = block_facts(path, resolved, _read_block(resolved, status.st_rdev, table))
    else:
        identity = file_identity(status)
        facts = file_facts(
            path, resolved, identity, table, _lock_uses(resolved, identity) | hidden_uses()
        )
        facts = dataclasses.replace(facts, read_only=not status.st_mode & 0o222)
    return _with_contents(dataclasses.replace(facts, may_write=_may_write(resolved)))


def identify(path: str) -> DeviceIdentity:
    """Return the identity of the block device or file at ``path`` as it is now."""
    status = Path(path).stat()
    if stat.S_ISBLK(status.st_mode):
        text = run(lsblk_command(path), check=False).text
        return lsblk_identity(text, path, _sys_block(status.st_rdev, "diskseq"))
    return file_identity(status)


def file_identity(status: os.stat_result) -> DeviceIdentity:
    """Return the identity of a regular file."""
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return DeviceIdentity(_node(status), status.st_size, times=times)


def hidden_uses() -> dict[str, str]:
    """Return the uses of files and devices that lsblk and mounts do not show: swap, loop devices.

    The keys are the ``node`` of :class:`DeviceIdentity`, so a file or device is recognised under
    each of its names: a hard link, a bind mount, another mount namespace, a second device node.
    """
    swaps = (unescape(line.split()[0]) for line in _read("/proc/swaps").splitlines()[1:])
    loops = Path("/sys/block").glob("loop*/loop/backing_file")
    return {_node_of(path): "in use as swap" for path in swaps} | {
        _loop_backing_node(file): f"attached as /dev/{file.parent.parent.name}" for file in loops
    }


def current_uses(node: str) -> list[str]:
    """Return the :func:`hidden_uses` of a file, or of a disk and its partitions, at this moment."""
    found = hidden_uses()
    partitions = Path(f"/sys/dev/block/{node}").glob("*/partition")
    nodes = [node, *(_read(str(each.with_name("dev"))) for each in partitions)]
    return [found[each] for each in nodes if each in found]


def _status(path: str) -> tuple[DeviceKind, os.stat_result | None]:
    """Return what ``path`` is, and its status if it exists."""
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
        uses=hidden_uses(),
    )


def _with_contents(facts: DeviceFacts) -> DeviceFacts:
    """Add the facts that are read from the content: labels unknown to udev, and the mark."""
    partitions = []
    for partition in facts.partitions:
        if not partition.fstype:
            fstype, label = parse_blkid(
                run(blkid_command(facts.resolved, partition), check=False).text
            )
            partition = dataclasses.replace(partition, fstype=fstype, label=label)
        partitions.append(partition)
    empty = facts.kind is DeviceKind.FILE and facts.size == 0
    fstype, label = facts.fstype, facts.label
    if not facts.partitions and not fstype:
        fstype, label = parse_blkid(run(blkid_command(facts.resolved), check=False).text)
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
    """Return the text of a file in /proc or /sys; empty if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _node(status: os.stat_result) -> str:
    if stat.S_ISBLK(status.st_mode):
        return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    return f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}/{status.st_ino}"


def _node_of(path: str) -> str:
    """Return the node of the file or device ``path``; empty if it does not exist."""
    try:
        return _node(Path(path).stat())
    except OSError:
        return ""


def _loop_backing_node(backing_file: Path) -> str:
    """Return the node of the file or device that a loop device is attached to.

    The loop device itself reports it exactly, but only root may open it. For other users the
    path in sysfs is used, which is wrong if it belongs to another mount namespace.
    """
    try:
        with _open_read_only(f"/dev/{backing_file.parent.parent.name}") as fd:
            answer = fcntl.ioctl(fd, _LOOP_GET_STATUS64, bytes(_LOOP_INFO64_BYTES))
    except OSError:
        return _node_of(_read(str(backing_file)))
    device, inode, special = struct.unpack_from("QQQ", answer)
    if special not in (0, device):
        return f"{os.major(special)}:{os.minor(special)}"
    return f"{os.major(device)}:{os.minor(device)}/{inode}"


def _lock_uses(path: str, identity: DeviceIdentity) -> dict[str, str]:
    """Return a use of the file if another process, such as an emulator, has locked it."""
    try:
        with _open_read_only(path) as fd:
            answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, WHOLE_FILE)
    except OSError:  # not readable, or no locks on this file system: opening it reports that
        return {}
    if struct.unpack_from("h", answer)[0] == fcntl.F_UNLCK:
        return {}
    return {identity.node: "in use by another process (an emulator? inv emulate --stop)"}


@contextmanager
def _open_read_only(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _may_write(path: str) -> bool:
    return os.access(path, os.W_OK, effective_ids=True)
