"""Facts about a block device or file that a card may be written to.

The commands that report them (:func:`lsblk_command` and others) and parsers for their output.
:mod:`bootwright.card.io.inspect` runs the commands; :mod:`bootwright.card.guard` decides by the
facts. Sizes and offsets are in bytes.
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bootwright.core.errors import FailedError
from bootwright.core.units import SECTOR

UNFINISHED = b"bootwright: this card is unfinished; flash it again\n"
"""What sector 0 starts with from the first write until everything is verified."""

SYSTEM_MOUNTS = ("/", "/boot", "/boot/efi", "/boot/firmware", "/efi", "/home", "/usr", "/var")
"""Mount points that mark the disk of the running system."""

_COLUMNS = (
    "NAME,PATH,TYPE,SIZE,RM,HOTPLUG,RO,MODEL,SERIAL,TRAN,FSTYPE,LABEL,"
    "MOUNTPOINTS,PKNAME,MAJ:MIN,LOG-SEC,START"
)

_INTERNAL = (
    *("ata", "fc", "fcoe", "iscsi", "mmc", "nvme", "pcie"),
    *("rdma", "sas", "sata", "scsi", "spi", "tcp", "virtio"),
)
"""lsblk's names of buses whose disks cannot be pulled out, whatever its flags are."""

_STACKED = {
    "crypt": "dm-crypt",
    "lvm": "LVM",
    "dm": "device-mapper",
    "mpath": "multipath",
    "md": "md RAID",
}


class DeviceKind(StrEnum):
    """What a path is; the value reads well in a message."""

    BLOCK = "a block device"
    FILE = "a regular file"
    NEW = "a new file"
    ORPHAN = "a new file in a directory that does not exist"
    DIRECTORY = "a directory"
    CHARACTER = "a character device"
    FIFO = "a FIFO"
    SOCKET = "a socket"


@dataclass(frozen=True)
class Partition:
    """A partition that is on the disk now; texts are empty when unknown."""

    number: int
    path: str
    start: int
    size: int
    fstype: str = ""
    label: str = ""
    mountpoints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Holder:
    """Something that uses a device, such as ``/dev/sdb1``, ``mounted at /mnt``."""

    device: str
    what: str


@dataclass(frozen=True)
class Identity:
    """What must be the same after opening as when the facts were read.

    Attributes:
        node: ``major:minor`` of a block device, ``major:minor/inode`` of a file,
            empty for a new file.
        size: in bytes.
        model: empty when unknown.
        serial: empty when unknown.
        diskseq: the kernel's count of media, new for every card put in; ``None``
            before Linux 5.15 and for files.
        times: when a file was last changed, content and inode, in ns.
    """

    node: str
    size: int
    model: str = ""
    serial: str = ""
    diskseq: int | None = None
    times: tuple[int, ...] = ()


@dataclass(frozen=True)
class DeviceFacts:
    """What is known of a destination.

    Attributes:
        path: as given.
        resolved: with symbolic links followed.
        kind: what it is.
        identity: what it is recognised by; it has the size, the model and the serial.
        device_type: lsblk's word (``disk``, ``part``, ``loop``, ``lvm`` …); empty for files.
        removable: can be pulled out; see :func:`is_removable`.
        read_only: cannot be written.
        may_write: this user may write it, or make it where it is new.
        parent: the disk that a partition is on.
        sector_size: logical, in bytes.
        fstype: of the whole disk, where it has no partition table.
        label: of the file system on the whole disk.
        table: the kind of partition table, ``dos`` or ``gpt``.
        partitions: those present now.
        holders: what uses the disk or a part of it.
        system_mounts: the mount points of the running system that are on it.
        unfinished: a run that did not end left it: it carries the marker, or is a
            file with nothing in it yet.
    """

    path: str
    resolved: str
    kind: DeviceKind
    identity: Identity
    device_type: str = ""
    removable: bool = False
    read_only: bool = False
    may_write: bool = True
    parent: str = ""
    sector_size: int = SECTOR
    fstype: str = ""
    label: str = ""
    table: str = ""
    partitions: tuple[Partition, ...] = ()
    holders: tuple[Holder, ...] = ()
    system_mounts: tuple[str, ...] = ()
    unfinished: bool = False

    @property
    def size(self) -> int:
        """Bytes of the device or file; 0 for a new one."""
        return self.identity.size

    @property
    def is_partition(self) -> bool:
        """Whether it is a part of a disk."""
        return self.device_type == "part"


@dataclass(frozen=True)
class BlockReadings:
    """The output of the commands and the files about one block device, unparsed.

    Attributes:
        lsblk: output of :func:`lsblk_command`.
        mountinfo: ``/proc/self/mountinfo``.
        sfdisk: output of :func:`sfdisk_command`; empty without a partition table.
        mmc_type: ``/sys/block/X/device/type`` of an mmc device, ``SD`` or ``MMC``.
        diskseq: ``/sys/block/X/diskseq``; empty when there is none.
        uses: what lsblk does not show, by node, such as ``attached as /dev/loop0``.
    """

    lsblk: str
    mountinfo: str = ""
    sfdisk: str = ""
    mmc_type: str = ""
    diskseq: str = ""
    uses: Mapping[str, str] = dataclasses.field(default_factory=dict)


def lsblk_command(device: str) -> tuple[str, ...]:
    """Return the command that shows a device and everything stacked on it."""
    return ("lsblk", "--json", "--bytes", "--output", _COLUMNS, device)


def sfdisk_command(path: str) -> tuple[str, ...]:
    """Return the command that shows the partition table of a disk or an image."""
    return ("sfdisk", "--json", path)


def blkid_command(path: str, partition: Partition | None = None) -> tuple[str, ...]:
    """Return the command that probes a disk, an image, or one partition of it.

    The probe is by offset, so it needs neither udev nor a partition's own node.
    """
    where: tuple[str, ...] = ()
    if partition is not None:
        where = ("--offset", str(partition.start), "--size", str(partition.size))
    return ("blkid", "--probe", "--output", "export", *where, path)


def block_facts(path: str, resolved: str, readings: BlockReadings) -> DeviceFacts:
    """Return the facts about a block device.

    Raises:
        FailedError: lsblk does not know the device.
    """
    node = _lsblk_node(readings.lsblk, resolved)
    mounts = [*_tree_mounts(node), *_mountinfo(readings.mountinfo, node)]
    return DeviceFacts(
        path,
        resolved,
        DeviceKind.BLOCK,
        _identity(node, readings.diskseq),
        device_type=node["type"],
        removable=is_removable(node, readings.mmc_type),
        read_only=_flag(node["ro"]),
        parent=f"/dev/{node['pkname']}" if node["type"] == "part" else "",
        sector_size=int(node["log-sec"]),
        fstype=node.get("fstype") or "",
        label=node.get("label") or "",
        table=_sfdisk(readings.sfdisk).get("label", ""),
        partitions=_partitions(node, readings.sfdisk),
        holders=_holders(node, mounts, readings),
        system_mounts=tuple(sorted({at for _, at in mounts if at in SYSTEM_MOUNTS})),
    )


def file_facts(
    path: str, resolved: str, identity: Identity, sfdisk: str, uses: Mapping[str, str]
) -> DeviceFacts:
    """Return the facts about an image file that exists; ``uses`` as in the readings."""
    used = uses.get(identity.node)
    return DeviceFacts(
        path,
        resolved,
        DeviceKind.FILE,
        identity,
        table=_sfdisk(sfdisk).get("label", ""),
        partitions=_partitions({}, sfdisk),
        holders=(Holder(resolved, used),) if used else (),
    )


def lsblk_identity(text: str, device: str, diskseq: str) -> Identity:
    """Return what identifies a block device, from fresh output of lsblk."""
    return _identity(_lsblk_node(text, device), diskseq)


def is_removable(node: Mapping[str, Any], mmc_type: str) -> bool:
    """Whether lsblk's ``node`` can be pulled out.

    An mmc device reports its own type: ``SD`` is a card; ``MMC`` is an eMMC, nearly always
    soldered, and counts as fixed. lsblk cannot be used there: before util-linux 2.39 it
    calls every mmc device hotplug, since then none with a native slot
    (util-linux #2379). On an internal bus its RM and HOTPLUG are ignored: Linux 6.9.0 to
    6.9.5 set them for every SATA disk (udisks #1282). A loop device counts as removable,
    since writing to it endangers no disk.
    """
    if mmc_type:
        return mmc_type == "SD"
    if node["type"] == "loop" or node.get("tran") == "usb":
        return True
    if node.get("tran") in _INTERNAL:
        return False
    return _flag(node["rm"]) or _flag(node["hotplug"])


def is_unfinished(sector: bytes) -> bool:
    """Whether sector 0 is marked as that of a run that did not end."""
    return sector.startswith(UNFINISHED)


def probed(text: str) -> tuple[str, str]:
    """Return (file system type, label) from blkid; empty when it found none."""
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    label = re.sub(r"\\(.)", r"\1", values.get("LABEL", ""))
    return values.get("TYPE", ""), label


def _lsblk_node(text: str, device: str) -> dict[str, Any]:
    try:
        node: dict[str, Any] = json.loads(text)["blockdevices"][0]
    except (ValueError, LookupError):
        raise FailedError(f"{device}: lsblk does not show it; is a card in it?") from None
    return node


def _identity(node: Mapping[str, Any], diskseq: str) -> Identity:
    return Identity(
        node["maj:min"].strip(),
        int(node["size"]),
        (node.get("model") or "").strip(),
        (node.get("serial") or "").strip(),
        int(diskseq) if diskseq.strip() else None,
    )


def _flag(value: object) -> bool:
    """Return a boolean of lsblk, which older versions print as the string 0 or 1."""
    return value in (True, "1")


def _tree(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for child in node.get("children", ()):
        yield from _tree(child)


def _tree_mounts(node: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (device, mount point) as lsblk shows them; swap is the point ``[SWAP]``."""
    for each in _tree(node):
        for point in each.get("mountpoints") or ():
            if point:
                yield each["path"], point


def _mountinfo(text: str, node: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (device, mount point) for the mounts of ``node`` or of what is on it.

    A btrfs has a device number of its own, so the mount's source is compared as well.
    """
    paths = {each["path"]: each["path"] for each in _tree(node)}
    numbers = {each["maj:min"].strip(): each["path"] for each in _tree(node)}
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, source = before.split(), after.split()
        if len(fields) < 5 or len(source) < 2:
            continue
        device = numbers.get(fields[2]) or paths.get(unescape(source[1]))
        if device:
            yield device, unescape(fields[4])


def unescape(text: str) -> str:
    """Undo the octal escapes of /proc/self/mountinfo and /proc/swaps."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _holders(
    node: Mapping[str, Any], mounts: Sequence[tuple[str, str]], readings: BlockReadings
) -> tuple[Holder, ...]:
    held = []
    for device, point in mounts:
        held.append(
            Holder(device, "in use as swap" if point == "[SWAP]" else f"mounted at {point}")
        )
    for each in _tree(node):
        if used := readings.uses.get(each["maj:min"].strip()):
            held.append(Holder(each["path"], used))
        for child in each.get("children", ()):
            if child["type"] != "part":
                held.append(Holder(each["path"], f"in use by {child['path']} ({_stacked(child)})"))
    return tuple(dict.fromkeys(held))


def _stacked(child: Mapping[str, Any]) -> str:
    kind: str = child["type"]
    return "md RAID" if kind.startswith("raid") else _STACKED.get(kind, kind)


def _sfdisk(text: str) -> dict[str, Any]:
    table: dict[str, Any] = json.loads(text)["partitiontable"] if text.strip() else {}
    return table


def _partitions(node: Mapping[str, Any], sfdisk: str) -> tuple[Partition, ...]:
    """Return the partitions of the table, with what the kernel knows of each.

    Without a table that sfdisk can read, the kernel's own list is all there is.
    """
    kernel = {
        int(child["start"]) * SECTOR: child
        for child in node.get("children", ())
        if child["type"] == "part" and child.get("start") is not None
    }
    table = _sfdisk(sfdisk)
    unit = int(table.get("sectorsize", SECTOR))
    listed = {
        int(entry["start"]) * unit: (entry["node"], int(entry["size"]) * unit)
        for entry in table.get("partitions", ())
    }
    listed = listed or {start: (each["path"], int(each["size"])) for start, each in kernel.items()}
    result = []
    for start, (path, size) in sorted(listed.items()):
        known = kernel.get(start, {})
        number = re.search(r"\d+$", path)
        result.append(
            Partition(
                int(number[0]) if number else 0,
                path,
                start,
                size,
                known.get("fstype") or "",
                known.get("label") or "",
                tuple(point for point in known.get("mountpoints") or () if point),
            )
        )
    return tuple(result)
