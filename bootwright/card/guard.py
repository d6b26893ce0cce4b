"""Which destinations must not be overwritten, and why.

The decision needs only facts, and is made before anything is opened for writing. A dry run is
checked in the same way. No option turns all checks off.
"""

from dataclasses import dataclass

from bootwright.card.block_device import IMAGE_SUFFIX, DeviceFacts, DeviceKind, Partition
from bootwright.core.errors import InputError, RefusedError
from bootwright.core.units import GIB, SECTOR, format_size

DEFAULT_IMAGE_SIZE = 8 * GIB
"""Bytes of a new image file without ``--size``: the size of a common small card."""

LARGE = 256 * GIB
"""Bytes above which a disk is unlikely to be a card, so that ``--large`` is required."""

LARGEST_IMAGE = 2048 * GIB
"""Bytes of the largest image file: a DOS partition table counts sectors of 512 bytes in 32 bits."""


@dataclass(frozen=True)
class GuardRequest:
    """What the operator asks for.

    Attributes:
        needed: bytes that the card must have at least.
        image_size: bytes of an image file; ``None`` if :func:`card_size` is to choose.
        allow_large: ``--large`` was given.
        fixed_disk_serial: the value of ``--fixed-disk-serial``.
    """

    needed: int = 0
    image_size: int | None = None
    allow_large: bool = False
    fixed_disk_serial: str | None = None


@dataclass(frozen=True)
class Refusal:
    """Why a destination is refused and what to do.

    Attributes:
        reason: what is wrong, with the names and sizes.
        todo: what the operator can do about it.
        is_input: it is a mistake on the command line, which endangers nothing.
    """

    reason: str
    todo: str
    is_input: bool = False

    def __str__(self) -> str:
        return f"{self.reason}; {self.todo}"


def card_size(facts: DeviceFacts, request: GuardRequest) -> int:
    """Return the bytes that the card will have.

    A device has its own size. An image file gets the requested size; without a request an
    existing one keeps its size, and a new one gets :data:`DEFAULT_IMAGE_SIZE`.
    """
    if facts.kind is DeviceKind.BLOCK:
        return facts.size
    return request.image_size or facts.size or DEFAULT_IMAGE_SIZE


def refusals(facts: DeviceFacts, request: GuardRequest) -> list[Refusal]:
    """Return every reason not to write to the destination; empty if it may be overwritten."""
    mistakes = _mistakes(facts, request)
    if mistakes:
        return mistakes
    if facts.kind is DeviceKind.BLOCK and facts.device_type not in ("disk", "loop"):
        return [_not_a_disk(facts)]
    return [
        *_system_disk(facts),
        *_in_use(facts),
        *(() if facts.backing else _fixed_disk(facts, request)),
        *_read_only(facts),
        *_backing(facts, request),
        *_sector_size(facts),
        *_size(facts, request),
    ]


def check(facts: DeviceFacts, request: GuardRequest) -> None:
    """Do nothing if the destination may be overwritten.

    Raises:
        InputError: the path or the size is wrong.
        RefusedError: writing would endanger data; the message has every reason.
    """
    found = refusals(facts, request)
    if not found:
        return
    text = "\n".join(f"{_names(facts)}: {refusal}" for refusal in found)
    raise InputError(text) if found[0].is_input else RefusedError(text)


def describe(facts: DeviceFacts) -> list[str]:
    """Return lines for the operator: what the destination is and what is on it."""
    if facts.kind is DeviceKind.NEW:
        return [f"{_names(facts)}: a new image file"]
    lines = [f"{_names(facts)}: {facts.kind}, {format_size(facts.size)} ({facts.size} bytes)"]
    for each in facts.layers[1:]:
        stored = f" on {each.stored_on}" if each.stored_on else ""
        lines.append(f"attached to: {each.resolved} ({each.kind}{stored})")
    if facts.kind is DeviceKind.BLOCK:
        lines.append(f"model: {facts.identity.model or 'unknown'}")
        lines.append(f"serial number: {facts.identity.serial or 'none'}")
        lines.append("removable: " + ("yes" if facts.removable else "no, a fixed disk"))
    if facts.unfinished:
        lines.append("contents: an unfinished card of an interrupted run of bootwright")
    elif facts.partitions:
        lines.append(f"contents: a {facts.table or 'partition'} table")
        lines += [f"  {_partition(each)}" for each in facts.partitions]
    elif facts.fstype:
        lines.append(
            f"contents: {_file_system(facts.fstype, facts.label)} without a partition table"
        )
    else:
        lines.append("contents: no partition table and no known file system")
    return lines


def _names(facts: DeviceFacts) -> str:
    # Both names are shown for a symbolic link, but not for a relative path.
    if f"/{facts.resolved}".endswith(f"/{facts.path.removeprefix('./')}"):
        return facts.path
    return f"{facts.path} ({facts.resolved})"


def _partition(partition: Partition) -> str:
    what = _file_system(partition.fstype, partition.label) if partition.fstype else "unknown"
    return f"{partition.number}: {format_size(partition.size)}, {what}"


def _file_system(fstype: str, label: str) -> str:
    return f"{fstype} labelled {label!r}" if label else f"{fstype} without a label"


def _mistakes(facts: DeviceFacts, request: GuardRequest) -> list[Refusal]:
    size = request.image_size
    if facts.kind in (DeviceKind.NEW, DeviceKind.ORPHAN) and facts.resolved.startswith("/dev/"):
        # A mistyped device name must not become a file that fills the memory.
        return [Refusal("there is no such device", "see 'lsblk' for names", is_input=True)]
    if facts.kind is DeviceKind.ORPHAN:
        return [Refusal("its directory does not exist", "make it, or name another", is_input=True)]
    if facts.kind is DeviceKind.NEW and not facts.resolved.endswith(IMAGE_SUFFIX):
        return [Refusal("no such file or device", "a new image's name ends in .img", is_input=True)]
    if facts.kind is DeviceKind.FILE and not _looks_like_an_image(facts):
        return [
            Refusal(
                "it does not look like a card image: its name does not end in .img, and it has "
                "no partition table of a card",
                "name a disk, or an image whose name ends in .img",
                is_input=True,
            )
        ]
    if facts.kind not in (DeviceKind.BLOCK, DeviceKind.FILE, DeviceKind.NEW):
        return [Refusal(f"it is {facts.kind}", "name a disk or an image file", is_input=True)]
    if size is not None and facts.kind is DeviceKind.BLOCK:
        return [Refusal("a disk has its own size", "leave the image size out", is_input=True)]
    if size is not None and (size <= 0 or size % SECTOR):
        return [
            Refusal(
                f"{size} bytes is not a size for an image",
                f"give a positive multiple of {SECTOR}",
                is_input=True,
            )
        ]
    if facts.kind is not DeviceKind.BLOCK and card_size(facts, request) > LARGEST_IMAGE:
        return [
            Refusal(
                f"{_exact(card_size(facts, request))} is more than a DOS partition table"
                " can describe",
                f"give a size of at most {format_size(LARGEST_IMAGE)}",
                is_input=True,
            )
        ]
    return []


def _looks_like_an_image(facts: DeviceFacts) -> bool:
    return facts.resolved.endswith(IMAGE_SUFFIX) or facts.is_card or facts.unfinished


def _not_a_disk(facts: DeviceFacts) -> Refusal:
    if facts.is_partition:
        return Refusal("it is a partition", f"name the disk, {facts.parent}")
    return Refusal(
        f"it is not a disk but of type {facts.device_type!r}", "name the disk of the card itself"
    )


def _system_disk(facts: DeviceFacts) -> list[Refusal]:
    if not facts.system_mounts:
        return []
    mounts = ", ".join(facts.system_mounts)
    return [
        Refusal(
            f"the running system is on this disk ({mounts})", "name the card, see 'lsblk' for names"
        )
    ]


def _in_use(facts: DeviceFacts) -> list[Refusal]:
    return [
        Refusal(f"{each.device} is {each.use}", "release it first (unmount, swapoff, close)")
        for each in facts.uses
    ]


def _backing(facts: DeviceFacts, request: GuardRequest) -> list[Refusal]:
    """Return why what a loop device writes to must not be overwritten: as if it were named itself.

    Its size is not checked, because a loop device can be a part of it. A file needs the name of an
    image, unless the content of the loop device is that of a card.
    """
    found = []
    for each in facts.layers[1:]:
        if each.kind is DeviceKind.BLOCK and each.device_type not in ("disk", "loop"):
            reasons = [_not_a_disk(each)]
        else:
            reasons = [*_system_disk(each), *_in_use(each), *_read_only(each)]
            reasons += [] if each.backing else _fixed_disk(each, request)
        if each.kind is DeviceKind.FILE:
            reasons += _not_an_image(each, holds_card=facts.is_card or facts.unfinished)
        found += [
            Refusal(f"it is attached to {each.resolved}, and {one.reason}", one.todo)
            for one in reasons
        ]
    return found


def _not_an_image(file: DeviceFacts, holds_card: bool) -> list[Refusal]:
    # The kernel adds this to the path of a file that was removed.
    name = file.resolved.removesuffix(" (deleted)")
    if holds_card or name.endswith(IMAGE_SUFFIX):
        return []
    return [
        Refusal(
            "it does not look like a card image: its name does not end in .img, and there is no "
            "partition table of a card",
            "detach it (losetup --detach), or rename the file first if it is an image",
        )
    ]


def _fixed_disk(facts: DeviceFacts, request: GuardRequest) -> list[Refusal]:
    if facts.kind is not DeviceKind.BLOCK or facts.removable:
        return []
    serial = facts.identity.serial
    if not serial:
        return [
            Refusal(
                "it is a fixed disk without a serial number",
                "it cannot be distinguished from another disk; use a card reader",
            )
        ]
    if request.fixed_disk_serial is None:
        return [
            Refusal(
                f"it is a fixed disk (serial number {serial})",
                f"if you want to overwrite this disk, give --fixed-disk-serial {serial}",
            )
        ]
    if request.fixed_disk_serial != serial:
        return [
            Refusal(
                f"its serial number is {serial}, not {request.fixed_disk_serial}",
                "check which disk you mean",
            )
        ]
    return []


def _read_only(facts: DeviceFacts) -> list[Refusal]:
    is_disk = facts.kind is DeviceKind.BLOCK
    if facts.read_only:
        lock = "move the write-protect switch of the card, or " if is_disk else ""
        return [Refusal("it is read-only", f"{lock}make it writable")]
    if facts.may_write:
        return []
    if facts.kind is DeviceKind.NEW:
        return [Refusal("you may not create a file there", "name another directory")]
    if is_disk:
        todo = (
            "install sudo, run this as root, or join the group that owns it (usually 'disk') and"
            " log in again"
        )
        return [Refusal("you may not write to it", todo)]
    return [Refusal("you may not write to it", "make it writable, or name another file")]


def _sector_size(facts: DeviceFacts) -> list[Refusal]:
    if facts.kind is not DeviceKind.BLOCK or facts.sector_size == SECTOR:
        return []
    return [
        Refusal(
            f"its sectors have {facts.sector_size} bytes, but a board reads a card in sectors of"
            f" {SECTOR}",
            "use another reader",
        )
    ]


def _size(facts: DeviceFacts, request: GuardRequest) -> list[Refusal]:
    size = card_size(facts, request)
    if size == 0:
        return [Refusal("there is no card in it", "insert one")]
    found = []
    if size < request.needed:
        found.append(
            Refusal(
                f"it has {_exact(size)}, but {_exact(request.needed)} are needed",
                "use a larger card"
                if facts.kind is DeviceKind.BLOCK
                else "give the image a larger --size, or remove it",
            )
        )
    if facts.kind is DeviceKind.BLOCK and size > LARGE and not request.allow_large:
        found.append(
            Refusal(
                f"it has {_exact(size)}, more than a card usually has ({format_size(LARGE)})",
                "if you want to overwrite it, give --large",
            )
        )
    return found


def _exact(size: int) -> str:
    return f"{format_size(size)} ({size} bytes)"
