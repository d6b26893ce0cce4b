"""Reading what is known of a destination; nothing here writes or locks anything."""

import dataclasses
import os
import stat
from pathlib import Path

from bootwright.effects.process import run
from bootwright.errors import InputError
from bootwright.facts.blockdevice import (
    BlockReadings,
    DeviceFacts,
    Identity,
    Kind,
    blkid_command,
    block_facts,
    file_facts,
    is_unfinished,
    lsblk_command,
    lsblk_identity,
    probed,
    sfdisk_command,
)
from bootwright.units import SECTOR

_KINDS = (
    (stat.S_ISBLK, Kind.BLOCK),
    (stat.S_ISREG, Kind.FILE),
    (stat.S_ISDIR, Kind.DIRECTORY),
    (stat.S_ISCHR, Kind.CHARACTER),
    (stat.S_ISFIFO, Kind.FIFO),
    (stat.S_ISSOCK, Kind.SOCKET),
)


def inspect(path: str) -> DeviceFacts:
    """Return the facts about the destination ``path``; it need not exist.

    What needs root to be read (labels without udev, the marker) is left empty for
    an ordinary user.

    Raises:
        FailedError: a tool is missing or failed, or the device went away.
        InputError: the path cannot be looked at.
    """
    resolved = str(Path(path).resolve())
    kind, status = _look(path)
    if status is None or kind not in (Kind.BLOCK, Kind.FILE):
        return DeviceFacts(path, resolved, kind, Identity("", 0))
    sfdisk = run(sfdisk_command(resolved), check=False)
    table = sfdisk.text if sfdisk.returncode == 0 else ""
    if kind is Kind.BLOCK:
        facts = block_facts(path, resolved, _read_block(resolved, status.st_rdev, table))
    else:
        facts = file_facts(path, resolved, file_identity(status), table, _loops())
    return _with_contents(facts)


def identify(path: str) -> Identity:
    """Return the identity of the block device or file at ``path`` as it is now."""
    status = Path(path).stat()
    if stat.S_ISBLK(status.st_mode):
        text = run(lsblk_command(path), check=False).text
        return lsblk_identity(text, path, _sys_block(status.st_rdev, "diskseq"))
    return file_identity(status)


def file_identity(status: os.stat_result) -> Identity:
    """Return the identity of a regular file."""
    return Identity(f"{status.st_dev}:{status.st_ino}", status.st_size)


def _look(path: str) -> tuple[Kind, os.stat_result | None]:
    """Return what ``path`` is, and its status when it exists."""
    try:
        status = Path(path).stat()
    except FileNotFoundError:
        return (Kind.NEW if Path(path).resolve().parent.is_dir() else Kind.ORPHAN), None
    except OSError as error:
        raise InputError(f"{path}: cannot look at it: {error.strerror}") from error
    return next(kind for is_kind, kind in _KINDS if is_kind(status.st_mode)), status


def _read_block(device: str, number: int, sfdisk: str) -> BlockReadings:
    return BlockReadings(
        lsblk=run(lsblk_command(device), check=False).text,
        mountinfo=Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace"),
        swaps=_read("/proc/swaps"),
        sfdisk=sfdisk,
        mmc_type=_sys_block(number, "device/type") if "/mmcblk" in device else "",
        diskseq=_sys_block(number, "diskseq"),
        loops=_loops(),
    )


def _with_contents(facts: DeviceFacts) -> DeviceFacts:
    """Add what only the contents tell: labels where udev told none, and the marker."""
    partitions = []
    for partition in facts.partitions:
        if not partition.fstype:
            fstype, label = probed(run(blkid_command(facts.resolved, partition), check=False).text)
            partition = dataclasses.replace(partition, fstype=fstype, label=label)
        partitions.append(partition)
    empty = facts.kind is Kind.FILE and facts.size == 0
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
    """Return the text of a file of the kernel's; empty when there is no such file."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _loops() -> dict[str, str]:
    """Return the loop device attached to each backing file."""
    backing = Path("/sys/block").glob("loop*/loop/backing_file")
    return {_read(str(file)): f"/dev/{file.parent.parent.name}" for file in backing}
