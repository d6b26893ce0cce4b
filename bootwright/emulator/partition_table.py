"""The partition table of a card image, as ``sfdisk --json IMAGE`` prints it."""

import json
from dataclasses import dataclass

from bootwright.card.block_device import UNFINISHED_MARK
from bootwright.core.errors import InputError
from bootwright.core.units import SECTOR


@dataclass(frozen=True)
class CardPartition:
    """A partition: its number (from 1), its offset and size in bytes, its type in hexadecimal."""

    number: int
    offset: int
    size: int
    type: str


def check_first_sector(sector: bytes, where: str) -> None:
    """Raise unless ``sector`` can be the first sector of a finished card.

    Raises:
        InputError: the card is unfinished, or the image is too short.
    """
    if UNFINISHED_MARK in sector:
        raise InputError(
            f"{where}: this card is unfinished: writing it was interrupted; flash it again"
        )
    if len(sector) < SECTOR:
        raise InputError(f"{where}: too short for a card image; flash one with `inv flash`")


def card_partitions(text: str, where: str) -> tuple[CardPartition, ...]:
    """Return the partitions in the output of ``sfdisk --json``, sorted by number.

    Raises:
        InputError: the table is not a DOS one, or it has no partition.
    """
    table = json.loads(text)["partitiontable"]
    if table["label"] != "dos":
        raise InputError(
            f"{where}: has a {table['label'].upper()} partition table, a card needs a DOS one; "
            "flash it again"
        )
    sector = table.get("sectorsize", SECTOR)
    partitions = tuple(
        CardPartition(
            number=_number(item["node"], table["device"]),
            offset=item["start"] * sector,
            size=item["size"] * sector,
            type=item["type"],
        )
        for item in table.get("partitions", [])
    )
    if not partitions:
        raise InputError(f"{where}: the partition table is empty; flash the card again")
    return tuple(sorted(partitions, key=lambda partition: partition.number))


def _number(node: str, device: str) -> int:
    """Return 2 for ``card.img2`` of ``card.img``, and for ``card1p2`` of ``card1``."""
    return int(node.removeprefix(device).removeprefix("p"))
