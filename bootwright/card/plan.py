"""Deciding, in order, everything that makes one card. Pure."""

from dataclasses import dataclass
from pathlib import Path

from bootwright.card.actions import (
    Action,
    CopyRootfs,
    Discard,
    FormatVolume,
    MapCard,
    MarkUnfinished,
    Personalise,
    VerifyCard,
    WriteCard,
    WriteTable,
)
from bootwright.card.geometry import Geometry
from bootwright.card.personalise import CardIdentity
from bootwright.core.board import PlacedBlob
from bootwright.core.extents import Extent
from bootwright.core.file_changes import Change
from bootwright.core.units import MIB, SECTOR
from bootwright.volume.luks_plan import LuksSpec


@dataclass(frozen=True)
class CardPlan:
    """A card in every detail: what is shown is what is executed."""

    geometry: Geometry
    identity: CardIdentity
    luks: LuksSpec
    blobs: tuple[PlacedBlob, ...]
    missing_blobs: tuple[str, ...]
    actions: tuple[Action, ...]

    @property
    def bootable_on_board(self) -> bool:
        """Whether the board itself can start from the card."""
        return not self.missing_blobs

    def describe(self) -> list[str]:
        """Return the plan as numbered lines."""
        return [f"{n}. {action.describe()}" for n, action in enumerate(self.actions, 1)]

    def warnings(self) -> list[str]:
        """Return what the operator should know before relying on the card."""
        lines = [
            f"{blob.name} ({blob.source}) has a digest that nobody has recorded for this board:"
            f" sha256 {blob.sha256}"
            for blob in self.blobs
            if not blob.known
        ]
        if self.missing_blobs:
            lines.append(
                f"boots in the emulator and NOT on the board: {', '.join(self.missing_blobs)}"
                " missing; give the vendor's files with --blobs DIR"
            )
        return lines


def plan_card(
    base: Path,
    geometry: Geometry,
    identity: CardIdentity,
    luks: LuksSpec,
    changes: tuple[Change, ...],
    blobs: tuple[PlacedBlob, ...],
    missing_blobs: tuple[str, ...],
) -> CardPlan:
    """Return the plan of a card. The partition table comes last, so that a card that
    was not finished does not look like one that was.
    """
    actions: tuple[Action, ...] = (
        CopyRootfs(base),
        Personalise(identity.root_uuid, identity.hash_seed, changes),
        FormatVolume(luks),
        MapCard(geometry, zeros(geometry), blobs),
        MarkUnfinished(),
        Discard(),
        WriteCard(),
        VerifyCard(),
        WriteTable(geometry, identity.disk_id),
    )
    return CardPlan(geometry, identity, luks, blobs, missing_blobs, actions)


def zeros(geometry: Geometry) -> tuple[Extent, ...]:
    """Return what must read as zero unless something else is written there.

    The boot area, where an old environment or GPT would be believed; and the first and
    last MiB of each partition and of the card, where old signatures (RAID, ZFS, a
    backup GPT) would be.
    """
    root, data = geometry.root, geometry.docker_data
    end = geometry.card_sectors * SECTOR
    spans = (
        (SECTOR, root.sector * SECTOR + MIB),
        (root.end * SECTOR - MIB, root.end * SECTOR),
        (data.end * SECTOR - MIB, data.end * SECTOR),
        (max(end - MIB, data.end * SECTOR), end),
    )
    return tuple(Extent(start, stop - start, None) for start, stop in spans if start < stop)
