"""Facts about a block device or file that a card may be written to.

The commands that read the facts (:func:`lsblk_command` and others) and parsers for their output.
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

IMAGE_SUFFIX = ".img"
"""What the name of a new image file ends in."""

UNFINISHED_MARK = b"bootwright: this card is unfinished; flash it again\n"
"""What sector 0 of a card starts with from the first write until everything is verified."""

SYSTEM_MOUNTS = ("/", "/boot", "/boot/efi", "/boot/firmware", "/efi", "/home", "/usr", "/var")
"""Mount points that mark the disk of the running system."""

_COLUMNS = (
    "NAME,PATH,TYPE,SIZE,RM,HOTPLUG,RO,MODEL,SERIAL,TRAN,FSTYPE,LABEL,"
    "MOUNTPOINTS,PKNAME,MAJ:MIN,LOG-SEC,START"
)

_INTERNAL_BUSES = (
    *("ata", "fc", "fcoe", "iscsi", "mmc", "nvme", "pcie"),
    *("rdma", "sas", "sata", "scsi", "spi", "tcp", "virtio"),
)
"""lsblk's names (TRAN) of internal buses: their disks are fixed, whatever RM and HOTPLUG say."""

_LAYER_NAMES = {
    "crypt": "dm-crypt",
    "lvm": "LVM",
    "dm": "device-mapper",
    "mpath": "multipath",
    "md": "md RAID",
}
"""Names for the operator of what can use a disk, by lsblk's TYPE."""


class DeviceKind(StrEnum):
    """What a path is; the value is the text for messages."""

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
    """A partition that is on the disk now.

    Attributes:
        number: from 1; 0 when unknown.
        path: its device node, or the name that sfdisk gives it in an image file.
        start: in bytes from the start of the disk.
        size: in bytes.
        fstype: of its file system; empty when unknown.
        label: of its file system; empty when unknown.
    """

    number: int
    path: str
    start: int
    size: int
    fstype: str = ""
    label: str = ""


@dataclass(frozen=True)
class DeviceUse:
    """A device, such as ``/dev/sdb1``, and how it is used, such as ``mounted at /mnt``."""

    device: str
    use: str


@dataclass(frozen=True)
class DeviceIdentity:
    """What identifies a device or file: equal when it is inspected and when it is opened.

    Attributes:
        node: ``major:minor`` of a block device, ``major:minor/inode`` of a file,
            empty for a new file.
        size: in bytes.
        model: empty when unknown.
        serial: empty when unknown.
        diskseq: a number that the kernel gives to each medium, so another card gets another
            number; ``None`` before Linux 5.15 and for files.
        times: of a file: when its content and when its inode was last changed, in nanoseconds.
    """

    node: str
    size: int
    model: str = ""
    serial: str = ""
    diskseq: int | None = None
    times: tuple[int, ...] = ()


@dataclass(frozen=True)
class DeviceFacts:
    """What is known about a destination.

    Attributes:
        path: as given.
        resolved: with symbolic links followed.
        kind: what it is.
        identity: what identifies it; includes the size, the model and the serial number.
        device_type: lsblk's word (``disk``, ``part``, ``loop``, ``lvm`` …); empty for files.
        removable: can be pulled out; see :func:`is_removable`.
        read_only: it is write-protected, also for root.
        may_write: this user may write to it; for a new file, may create it.
        parent: the disk that a partition is on.
        sector_size: logical, in bytes.
        fstype: of the whole disk, where it has no partition table.
        label: of the file system on the whole disk.
        table: the kind of partition table, ``dos`` or ``gpt``.
        partitions: those present now.
        uses: how the disk, a part of it, or the file is used now.
        backing: of a loop device: the file or block device that it writes to.
        stored_on: of a file: the source of its file system, such as ``/dev/sda2``; empty when
            unknown.
        system_mounts: the mount points of the running system that are on it.
        is_card: its partition table is that of a card of ours, whatever is in the partitions.
        unfinished: an interrupted run left it: sector 0 has the unfinished mark, or it is an
            empty file whose name ends in ``.img``.
    """

    path: str
    resolved: str
    kind: DeviceKind
    identity: DeviceIdentity
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
    uses: tuple[DeviceUse, ...] = ()
    backing: "DeviceFacts | None" = None
    stored_on: str = ""
    system_mounts: tuple[str, ...] = ()
    is_card: bool = False
    unfinished: bool = False

    @property
    def size(self) -> int:
        """Bytes of the device or file; 0 for a new one."""
        return self.identity.size

    @property
    def is_partition(self) -> bool:
        """Whether it is a partition."""
        return self.device_type == "part"

    @property
    def layers(self) -> "tuple[DeviceFacts, ...]":
        """This destination, then what it writes to, then what that writes to."""
        return (self, *(self.backing.layers if self.backing else ()))

    def attached_to(self, backing: "DeviceFacts") -> "DeviceFacts":
        """Return the facts of this loop device, which writes to ``backing``."""
        fixed = backing.kind is DeviceKind.BLOCK and not backing.removable
        return dataclasses.replace(self, backing=backing, removable=self.removable and not fixed)


@dataclass(frozen=True)
class BlockReadings:
    """What the commands printed and the files contain about one block device, unparsed.

    Attributes:
        lsblk: output of :func:`lsblk_command`.
        mountinfo: ``/proc/self/mountinfo``.
        sfdisk: output of :func:`sfdisk_command`; empty without a partition table.
        mmc_type: ``/sys/block/X/device/type`` of an mmc device, ``SD`` or ``MMC``.
        diskseq: ``/sys/block/X/diskseq``; empty when there is none.
        uses: uses that lsblk does not show, such as ``attached as /dev/loop0``, by the ``node``
            of :class:`DeviceIdentity`.
    """

    lsblk: str
    mountinfo: str = ""
    sfdisk: str = ""
    mmc_type: str = ""
    diskseq: str = ""
    uses: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)


def lsblk_command(device: str) -> tuple[str, ...]:
    """Return the command that shows a device and everything stacked on it."""
    return ("lsblk", "--json", "--bytes", "--output", _COLUMNS, device)


def sfdisk_command(path: str) -> tuple[str, ...]:
    """Return the command that shows the partition table of a disk or an image."""
    return ("sfdisk", "--json", path)


def blkid_command(path: str, partition: Partition | None = None) -> tuple[str, ...]:
    """Return the command that probes a disk, an image, or one partition of it.

    It names a partition by its offset, so it needs neither udev nor the partition's device node.
    """
    where: tuple[str, ...] = ()
    if partition is not None:
        where = ("--offset", str(partition.start), "--size", str(partition.size))
    return ("blkid", "--probe", "--output", "export", *where, path)


def block_facts(path: str, resolved: str, readings: BlockReadings) -> DeviceFacts:
    """Return the facts about a block device.

    Raises:
        FailedError: lsblk does not list the device.
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
        read_only=_is_true(node["ro"]),
        parent=f"/dev/{node['pkname']}" if node["type"] == "part" else "",
        sector_size=int(node["log-sec"]),
        fstype=node.get("fstype") or "",
        label=node.get("label") or "",
        table=_partition_table(readings.sfdisk).get("label", ""),
        partitions=_partitions(node, readings.sfdisk),
        is_card=_is_card(_partition_table(readings.sfdisk)),
        uses=_device_uses(node, mounts, readings),
        system_mounts=tuple(sorted({at for _, at in mounts if at in SYSTEM_MOUNTS})),
    )


def file_facts(
    path: str, resolved: str, identity: DeviceIdentity, sfdisk: str, uses: Sequence[str]
) -> DeviceFacts:
    """Return the facts about an image file that exists.

    ``uses`` are the uses of this file, such as ``attached as /dev/loop0``.
    """
    return DeviceFacts(
        path,
        resolved,
        DeviceKind.FILE,
        identity,
        table=_partition_table(sfdisk).get("label", ""),
        partitions=_partitions({}, sfdisk),
        is_card=_is_card(_partition_table(sfdisk)),
        uses=tuple(DeviceUse(resolved, use) for use in dict.fromkeys(uses)),
    )


def lsblk_identity(text: str, device: str, diskseq: str) -> DeviceIdentity:
    """Return the identity of a block device, from new output of lsblk."""
    return _identity(_lsblk_node(text, device), diskseq)


def is_removable(node: Mapping[str, Any], mmc_type: str) -> bool:
    """Return whether the device that lsblk shows as ``node`` is a removable medium.

    An mmc device reports its own type: ``SD`` is a card; ``MMC`` is an eMMC, nearly always
    soldered, and counts as fixed, as do its boot areas, which report no type. lsblk's flags are
    useless there: before util-linux 2.39 it calls every mmc device hotplug, since then none with a
    native slot (util-linux #2379). On an internal bus its RM and HOTPLUG are ignored: Linux 6.9.0
    to 6.9.5 set them for every SATA disk (udisks #1282). A loop device counts as removable as far
    as it goes itself; what it writes to is evaluated separately.
    """
    if mmc_type or node.get("name", "").startswith("mmcblk"):
        return mmc_type == "SD"
    if node["type"] == "loop" or node.get("tran") == "usb":
        return True
    if node.get("tran") in _INTERNAL_BUSES:
        return False
    return _is_true(node["rm"]) or _is_true(node["hotplug"])


def is_unfinished(sector: bytes) -> bool:
    """Return whether this sector 0 has the mark of an unfinished card."""
    return sector.startswith(UNFINISHED_MARK)


def parse_blkid(text: str) -> tuple[str, str]:
    """Return the file system type and the label in blkid's output; empty if it found none."""
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    label = re.sub(r"\\(.)", r"\1", values.get("LABEL", ""))
    return values.get("TYPE", ""), label


def disk_nodes(lsblk: str, device: str) -> dict[str, str]:
    """Return the paths of a disk and of its partitions, by their ``major:minor``.

    Raises:
        FailedError: lsblk does not list the device.
    """
    disk = _lsblk_node(lsblk, device)
    children = (each for each in disk.get("children", ()) if each["type"] == "part")
    return {each["maj:min"].strip(): each["path"] for each in (disk, *children)}


@dataclass(frozen=True)
class Mount:
    """A line of ``/proc/self/mountinfo``.

    Attributes:
        id: the mount's number, which ``/proc/PID/fdinfo`` gives for an open file.
        number: ``major:minor`` of its file system.
        point: where it is mounted.
        fstype: the type of its file system.
        source: what is mounted.
    """

    id: str
    number: str
    point: str
    fstype: str
    source: str


def parse_mountinfo(text: str) -> Iterator[Mount]:
    """Yield the mounts in ``/proc/self/mountinfo``."""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, source = before.split(), after.split()
        if len(fields) >= 5 and len(source) >= 2:
            yield Mount(fields[0], fields[2], unescape(fields[4]), source[0], unescape(source[1]))


def parse_exclusive_flocks(text: str) -> dict[str, int]:
    """Return who holds an exclusive BSD lock (flock), from the text of ``/proc/locks``.

    Shared locks are left out: udev takes one while it reads a disk. So are processes that wait.

    Returns:
        Process numbers, by ``major:minor/inode`` of the locked file or device node.
    """
    found = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 6 and (fields[1], fields[3]) == ("FLOCK", "WRITE"):
            major, minor, inode = fields[5].split(":")
            found[f"{int(major, 16)}:{int(minor, 16)}/{inode}"] = int(fields[4])
    return found


def _lsblk_node(text: str, device: str) -> dict[str, Any]:
    try:
        node: dict[str, Any] = json.loads(text)["blockdevices"][0]
    except (ValueError, LookupError):
        raise FailedError(
            f"{device}: lsblk does not show it; is there a card in the reader?"
        ) from None
    return node


def _identity(node: Mapping[str, Any], diskseq: str) -> DeviceIdentity:
    return DeviceIdentity(
        node["maj:min"].strip(),
        int(node["size"]),
        (node.get("model") or "").strip(),
        (node.get("serial") or "").strip(),
        int(diskseq) if diskseq.strip() else None,
    )


def _is_true(value: object) -> bool:
    """Return a boolean that lsblk printed; older versions print the string 0 or 1."""
    return value in (True, "1")


def _tree(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for child in node.get("children", ()):
        yield from _tree(child)


def _tree_mounts(node: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (device, mount point) as lsblk shows them; for swap the point is ``[SWAP]``."""
    for each in _tree(node):
        for point in each.get("mountpoints") or ():
            if point:
                yield each["path"], point


def _mountinfo(text: str, node: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (device, mount point) for the mounts of ``node`` and of the devices below it.

    A btrfs mount has another device number than its disk, so the mount's source is compared too.
    """
    paths = {each["path"]: each["path"] for each in _tree(node)}
    numbers = {each["maj:min"].strip(): each["path"] for each in _tree(node)}
    for mount in parse_mountinfo(text):
        if device := numbers.get(mount.number) or paths.get(mount.source):
            yield device, mount.point


def unescape(text: str) -> str:
    """Undo the octal escapes of /proc/self/mountinfo and /proc/swaps."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _device_uses(
    node: Mapping[str, Any], mounts: Sequence[tuple[str, str]], readings: BlockReadings
) -> tuple[DeviceUse, ...]:
    found = []
    for device, point in mounts:
        found.append(
            DeviceUse(device, "in use as swap" if point == "[SWAP]" else f"mounted at {point}")
        )
    for each in _tree(node):
        for use in readings.uses.get(each["maj:min"].strip(), ()):
            found.append(DeviceUse(each["path"], use))
        for child in each.get("children", ()):
            if child["type"] != "part":
                by = f"{child['path']} ({_layer_name(child)})"
                found.append(DeviceUse(each["path"], f"in use by {by}"))
    return tuple(dict.fromkeys(found))


def _layer_name(child: Mapping[str, Any]) -> str:
    kind: str = child["type"]
    return "md RAID" if kind.startswith("raid") else _LAYER_NAMES.get(kind, kind)


def _partition_table(text: str) -> dict[str, Any]:
    table: dict[str, Any] = json.loads(text)["partitiontable"] if text.strip() else {}
    return table


def _is_card(table: Mapping[str, Any]) -> bool:
    """Return whether a partition table can be one that this program wrote.

    It has two Linux partitions, of which the second starts where the first ends.
    """
    partitions = table.get("partitions", ())
    if table.get("label") != "dos" or [each.get("type") for each in partitions] != ["83", "83"]:
        return False
    first, second = partitions
    return bool(first["start"] + first["size"] == second["start"])


def _partitions(node: Mapping[str, Any], sfdisk: str) -> tuple[Partition, ...]:
    """Return the partitions of the table on the disk, with what the kernel knows about each.

    Without a table that sfdisk can read, return the kernel's list of partitions.
    """
    kernel = {
        int(child["start"]) * SECTOR: child
        for child in node.get("children", ())
        if child["type"] == "part" and child.get("start") is not None
    }
    table = _partition_table(sfdisk)
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
            )
        )
    return tuple(result)
