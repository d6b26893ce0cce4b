"""Where the two partitions are on a card, in sectors of 512 bytes."""

from dataclasses import dataclass

from bootwright.core.board import Board, SectorRange
from bootwright.core.config import Target
from bootwright.core.errors import InputError, RefusedError
from bootwright.core.units import MIB, SECTOR, format_size
from bootwright.rootfs.size import MAX_SECTORS, partition_bytes, root_bytes

ALIGNMENT = MIB // SECTOR
"""Sectors in a MiB: partitions start and end at multiples of it.

A partition that starts within an erase block of the card is slower to write to.
"""

MIN_DOCKER_DATA = 64 * MIB
"""Bytes of the smallest docker-data partition: 16 MiB for the LUKS header, the rest for ext4."""


@dataclass(frozen=True)
class Geometry:
    """The number of sectors of a card, and its two partitions."""

    card_sectors: int
    root: SectorRange
    docker_data: SectorRange


def _docker_data_bytes(target: Target) -> int | None:
    """Return the bytes of docker-data, whole MiB; ``None`` for the rest of the card."""
    if target.docker_data_size == "rest":
        return None
    return partition_bytes("docker_data_size", target.docker_data_size, MIN_DOCKER_DATA)


def needed_bytes(board: Board, target: Target) -> int:
    """Return the bytes of the smallest card that has room for the target's partitions.

    Raises:
        InputError: a size of the target is impossible.
    """
    docker_data = _docker_data_bytes(target) or MIN_DOCKER_DATA
    needed = board.first_partition_sector * SECTOR + root_bytes(target) + docker_data
    if needed > MAX_SECTORS * SECTOR:
        raise InputError(
            f"root_size and docker_data_size: {format_size(needed)} together, more than the"
            f" {format_size(MAX_SECTORS * SECTOR)} of a DOS partition table"
        )
    return needed


def plan_geometry(board: Board, target: Target, card_bytes: int) -> Geometry:
    """Return the partitions of a card of ``card_bytes``.

    Raises:
        RefusedError: the card is too small; names both sizes.
    """
    needed = needed_bytes(board, target)
    if card_bytes < needed:
        raise RefusedError(
            f"the card has {format_size(card_bytes)} ({card_bytes} bytes), and {target.name}"
            f" needs {format_size(needed)} ({needed} bytes): use a larger card, or smaller"
            " root_size and docker_data_size"
        )
    card_sectors = card_bytes // SECTOR
    first = board.first_partition_sector
    root = SectorRange(sector=first, sectors=root_bytes(target) // SECTOR)
    usable_end = min(card_sectors, MAX_SECTORS) // ALIGNMENT * ALIGNMENT
    rest = usable_end - root.end
    asked = _docker_data_bytes(target)
    sectors = rest if asked is None else min(asked // SECTOR, rest)
    return Geometry(card_sectors, root, SectorRange(sector=root.end, sectors=sectors))
