"""The plan of one card: everything that is written to it, in order. Pure."""

from dataclasses import dataclass
from pathlib import Path

from bootwright.card.geometry import Geometry
from bootwright.card.personalise import CardIdentity
from bootwright.core.board import PlacedBlob
from bootwright.core.file_changes import Change, FileChange
from bootwright.core.units import MIB, SECTOR
from bootwright.rootfs.byte_ranges import Extent
from bootwright.volume.luks_plan import LuksSpec


@dataclass(frozen=True)
class CardPlan:
    """Everything that is written to a card. What :meth:`describe` shows is what is executed.

    Attributes:
        base: ext4 image of the root file system, the same for every card; it is not changed.
        geometry: where the partitions are.
        identity: what identifies this card.
        luks: the encrypted volume.
        changes: to the root file system, in order.
        blobs: the boot blobs that are written.
        missing_blobs: names of the boot blobs that the board needs and that were not found.
    """

    base: Path
    geometry: Geometry
    identity: CardIdentity
    luks: LuksSpec
    changes: tuple[Change, ...]
    blobs: tuple[PlacedBlob, ...]
    missing_blobs: tuple[str, ...]

    @property
    def bootable_on_board(self) -> bool:
        """Whether the board itself can start from the card."""
        return not self.missing_blobs

    def describe(self) -> list[str]:
        """Return the plan as numbered lines: the steps of :func:`bootwright.card.execute.execute`.

        The partition table is written last, so that an unfinished card does not look like a
        finished one.
        """
        root, data, kdf = self.geometry.root, self.geometry.docker_data, self.luks.kdf
        files = sum(isinstance(change, FileChange) for change in self.changes)
        blobs = ", ".join(f"{blob.name} at {blob.sector}" for blob in self.blobs)
        steps = [
            f"copy the prepared root file system {self.base.name}",
            f"write {files} files into the copy and give it the UUID {self.identity.root_uuid}",
            f"make a LUKS2 header: {self.luks.cipher}, argon2id {kdf.memory_kib // 1024} MiB"
            f" × {kdf.iterations}, UUID {self.luks.uuid}",
            f"map the card: the root file system at sector {root.sector}, the LUKS header at"
            f" {data.sector}, {blobs or 'no boot blobs'}",
            "open the card exclusively, mark it as unfinished, and check that a disk has the size"
            " that it claims",
            "discard the old content, if the card supports it",
            "write what is mapped, and zeros where old data could be taken for valid",
            "read every written range back and compare it",
            f"write the DOS partition table 0x{self.identity.disk_id}: root"
            f" {root.sector}+{root.sectors}, docker-data {data.sector}+{data.sectors}",
        ]
        return [f"{number}. {step}" for number, step in enumerate(steps, 1)]

    def warnings(self) -> list[str]:
        """Return what the operator should know before relying on the card."""
        lines = [
            f"{blob.name} ({blob.source}) has a digest that is not recorded for this board:"
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


def zero_extents(geometry: Geometry) -> tuple[Extent, ...]:
    """Return the ranges that must read as zero, unless something else is written there.

    They are the boot area, where U-Boot could find an old environment and a kernel an old GPT;
    and the first and last MiB of each partition and of the card, where old signatures (RAID,
    ZFS, a backup GPT) could be.
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
