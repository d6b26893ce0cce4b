"""Deciding where the two partitions lie on a card. Pure; sectors of 512 bytes."""

from dataclasses import dataclass

from bootwright.board import Board, SectorRange
from bootwright.config import Target
from bootwright.errors import RefusedError
from bootwright.units import MIB, SECTOR, format_size, parse_size

ALIGNMENT = MIB // SECTOR
"""Partitions start and end on whole MiB, a multiple of every card's erase block seen."""

MIN_DOCKER_DATA = 64 * MIB
"""Bytes: the LUKS header takes 16 MiB of it, and ext4 wants room."""

MAX_SECTORS = 2**32 - 1
"""What a DOS partition entry can say: 2 TiB."""


@dataclass(frozen=True)
class Geometry:
    """A card of ``card_sectors`` and its partitions."""

    card_sectors: int
    root: SectorRange
    docker_data: SectorRange


def root_bytes(target: Target) -> int:
    """Return the bytes of the target's root partition, whole MiB."""
    return -(-parse_size(target.root_size) // MIB) * MIB


def needed_bytes(board: Board, target: Target) -> int:
    """Return the smallest card, in bytes, that takes the target's partitions."""
    size = target.docker_data_size
    docker_data = MIN_DOCKER_DATA if size == "rest" else parse_size(size)
    return board.first_partition_sector * SECTOR + root_bytes(target) + docker_data


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
    size = target.docker_data_size
    asked = usable_end - root.end if size == "rest" else parse_size(size) // SECTOR
    sectors = min(asked, usable_end - root.end)
    return Geometry(card_sectors, root, SectorRange(sector=root.end, sectors=sectors))
