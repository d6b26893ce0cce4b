"""Reading the facts about a destination; nothing here writes or locks anything."""

import dataclasses
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bootwright.card.block_device import (
    IMAGE_SUFFIX,
    BlockReadings,
    DeviceFacts,
    DeviceIdentity,
    DeviceKind,
    DeviceUse,
    blkid_command,
    block_facts,
    disk_nodes,
    file_facts,
    is_unfinished,
    lsblk_command,
    lsblk_identity,
    parse_blkid,
    parse_mountinfo,
    sfdisk_command,
)
from bootwright.card.io import holders
from bootwright.core.errors import FailedError, InputError
from bootwright.core.io.process import run
from bootwright.core.units import SECTOR

_KINDS = (
    (stat.S_ISBLK, DeviceKind.BLOCK),
    (stat.S_ISREG, DeviceKind.FILE),
    (stat.S_ISDIR, DeviceKind.DIRECTORY),
    (stat.S_ISCHR, DeviceKind.CHARACTER),
    (stat.S_ISFIFO, DeviceKind.FIFO),
    (stat.S_ISSOCK, DeviceKind.SOCKET),
)


def inspect(path: str, opened: bool = False) -> DeviceFacts:
    """Return the facts about the destination ``path``, which need not exist.

    For an ordinary user, the facts that only root can read (labels without udev, the unfinished
    mark, who else has it open) are left empty.

    Args:
        path: the destination.
        opened: this process has opened and locked it, so that does not count as a use; what is
            on it is not read.

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
    table = "" if opened else _table(resolved)
    if kind is DeviceKind.BLOCK:
        facts = _block(path, resolved, status.st_rdev, table, opened=opened)
    else:
        facts = _file(path, resolved, status, table, opened=opened)
    facts = dataclasses.replace(facts, may_write=_may_write(resolved))
    return facts if opened else _with_contents(facts)


def identify(path: str) -> DeviceIdentity:
    """Return the identity of the block device or file at ``path`` as it is now.

    Raises:
        FailedError: it does not exist any more.
    """
    status = holders.status_of(path)
    if status is None:
        raise FailedError(f"{path}: it is gone: insert the card again, or start again")
    if stat.S_ISBLK(status.st_mode):
        text = run(lsblk_command(path), check=False).text
        return lsblk_identity(text, path, _sys_block(status.st_rdev, "diskseq"))
    return file_identity(status)


def file_identity(status: os.stat_result) -> DeviceIdentity:
    """Return the identity of a regular file."""
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return DeviceIdentity(holders.node_of_status(status), status.st_size, times=times)


def _status(path: str) -> tuple[DeviceKind, os.stat_result | None]:
    """Return what ``path`` is, and its status if it exists."""
    try:
        status = Path(path).stat()
    except FileNotFoundError:
        return (DeviceKind.NEW if Path(path).resolve().parent.is_dir() else DeviceKind.ORPHAN), None
    except OSError as error:
        raise InputError(f"{path}: cannot read its status: {error.strerror}") from error
    return next(kind for is_kind, kind in _KINDS if is_kind(status.st_mode)), status


def _block(
    path: str, resolved: str, number: int, sfdisk: str, opened: bool = False, above: str = ""
) -> DeviceFacts:
    """Return the facts about a block device and what is under it.

    ``above`` is the loop device that is attached to it and through which it would be written.
    """
    lsblk = run(lsblk_command(resolved), check=False).text
    nodes, own = disk_nodes(lsblk, resolved), holders.node_of(resolved)
    uses, usual = holders.hidden_uses(), holders.device_path(number)

    def openers() -> dict[str, list[str]]:
        return holders.openers(_existing(nodes), writers_only=True)

    # Who has it open for moments, such as losetup while it looks for a free device, does not count.
    # When this process has opened it, the caller asks again itself.
    opened_by = openers() if opened else holders.lasting(openers)
    readings = BlockReadings(
        lsblk=lsblk,
        mountinfo=holders.read_text("/proc/self/mountinfo"),
        sfdisk=sfdisk,
        mmc_type=_sys_block(number, "device/type") if "/mmcblk" in usual else "",
        diskseq=_sys_block(number, "diskseq"),
        uses={
            node: _without(above, uses.get(node, []))
            + ([] if opened and node == own else holders.lock_uses(at))
            + opened_by.get(node, [])
            for node, at in nodes.items()
        },
    )
    facts = block_facts(path, resolved, readings)
    if not facts.uses and not opened and holders.is_held(resolved):
        held = DeviceUse(resolved, "held by another program (a mount, LVM, RAID, ZFS, a journal …)")
        facts = dataclasses.replace(facts, uses=(held,))
    if facts.device_type == "loop":
        return facts.attached_to(_backing(holders.device_path(number)))
    return facts


def _backing(loop: str) -> DeviceFacts:
    """Return the facts about the file or block device that a loop device writes to."""
    node, path = holders.loop_backing(loop)
    if node and "/" not in node:
        path = holders.device_path(node) or path
        status = holders.status_of(path) if path else None
        if status is None:
            raise FailedError(
                f"{loop}: the disk that it is attached to is gone: detach it"
                f" (losetup --detach {loop})"
            )
        return _block(path, path, status.st_rdev, "", above=loop)
    if path:
        with _pinned(path) as (status, at):
            if status and holders.node_of_status(status) == node:
                return _file(path, path, status, "", above=loop, at=at)
    # The file was removed, or its path is one of another mount namespace.
    shown = holders.read_text(f"/sys/block/{Path(loop).name}/loop/backing_file")
    uses = _without(loop, holders.hidden_uses().get(node, []))
    return file_facts(shown, shown, DeviceIdentity(node, 0), "", uses)


@contextmanager
def _pinned(path: str) -> Iterator[tuple[os.stat_result | None, str]]:
    """Find a file once; the value is its status, and a path that names it whatever moves meanwhile.

    The status is ``None`` if there is no such file. The file itself is not opened.
    """
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        yield None, ""
        return
    try:
        yield os.fstat(fd), f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _file(
    path: str,
    resolved: str,
    status: os.stat_result,
    sfdisk: str,
    opened: bool = False,
    above: str = "",
    at: str = "",
) -> DeviceFacts:
    """Return the facts about a file.

    ``above`` is as in :func:`_block`. ``at`` is where it is looked at, if not at ``resolved``.
    """
    at = at or resolved
    identity = file_identity(status)
    node = identity.node
    uses = _without(above, holders.hidden_uses().get(node, []))
    if not opened:
        uses += holders.lock_uses(at)
    # An image will have secrets in it, so nobody may read it either.
    uses += holders.openers({node: at}, writers_only=bool(above)).get(node, [])
    if not uses and not opened and not above and _is_open_elsewhere(resolved):
        uses = [holders.OPEN_ELSEWHERE]
    return dataclasses.replace(
        file_facts(path, resolved, identity, sfdisk, uses),
        read_only=not status.st_mode & 0o222,
        stored_on=_stored_on(status.st_dev),
    )


def _without(loop: str, uses: list[str]) -> list[str]:
    return [use for use in uses if use != f"attached as {loop}"]


def _existing(nodes: dict[str, str]) -> dict[str, str]:
    return {node: path for node, path in nodes.items() if Path(path).exists()}


def _is_open_elsewhere(path: str) -> bool:
    try:
        with holders.open_read_only(path) as fd:
            return holders.is_open_elsewhere(fd)
    except OSError:
        return False


def _stored_on(device: int) -> str:
    """Return the source of the file system with this number, such as ``/dev/sda2``."""
    number = f"{os.major(device)}:{os.minor(device)}"
    mounts = parse_mountinfo(holders.read_text("/proc/self/mountinfo"))
    return next((each.source for each in mounts if each.number == number), "")


def _table(path: str) -> str:
    """Return what sfdisk shows of the partition table; empty if there is none."""
    sfdisk = run(sfdisk_command(path), check=False)
    return sfdisk.text if sfdisk.returncode == 0 else ""


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
    is_image = facts.kind is DeviceKind.FILE and facts.resolved.endswith(IMAGE_SUFFIX)
    fstype, label = facts.fstype, facts.label
    if not facts.partitions and not fstype:
        fstype, label = parse_blkid(run(blkid_command(facts.resolved), check=False).text)
    return dataclasses.replace(
        facts,
        partitions=tuple(partitions),
        fstype=fstype,
        label=label,
        unfinished=(is_image and facts.size == 0) or is_unfinished(_first_sector(facts.resolved)),
    )


def _first_sector(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(SECTOR)
    except OSError:
        return b""


def _sys_block(number: int, name: str) -> str:
    return holders.read_text(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/{name}")


def _may_write(path: str) -> bool:
    return os.access(path, os.W_OK, effective_ids=True)
