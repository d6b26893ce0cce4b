"""What making a card can consist of: a small closed set of frozen actions.

An action is data: it says what is done, :mod:`bootwright.card.execute` does it.
"""

from dataclasses import dataclass
from pathlib import Path

from bootwright.card.geometry import Geometry
from bootwright.core.board import PlacedBlob
from bootwright.core.extents import Extent
from bootwright.core.file_changes import Change, FileChange
from bootwright.volume.luks_plan import LuksSpec


@dataclass(frozen=True)
class CopyRootfs:
    """Copy the unpersonalised ext4 ``base``, whose cached original stays as it is."""

    base: Path

    def describe(self) -> str:
        """Say it in a line."""
        return f"copy the prepared root file system {self.base.name}"


@dataclass(frozen=True)
class Personalise:
    """Make the copy this card's own."""

    root_uuid: str
    hash_seed: str
    changes: tuple[Change, ...]

    def describe(self) -> str:
        """Say it in a line."""
        files = sum(isinstance(change, FileChange) for change in self.changes)
        return f"lay {files} files on it and give it the UUID {self.root_uuid}"


@dataclass(frozen=True)
class FormatVolume:
    """Make the LUKS2 header of docker-data."""

    spec: LuksSpec

    def describe(self) -> str:
        """Say it in a line."""
        kdf = self.spec.kdf
        return (
            f"make a LUKS2 header: {self.spec.cipher}, argon2id {kdf.memory_kib // 1024} MiB"
            f" × {kdf.iterations}, UUID {self.spec.uuid}"
        )


@dataclass(frozen=True)
class MapCard:
    """Find out which sectors get what: zeros, root file system, LUKS header, boot blobs."""

    geometry: Geometry
    zeros: tuple[Extent, ...]
    blobs: tuple[PlacedBlob, ...]

    def describe(self) -> str:
        """Say it in a line."""
        names = ", ".join(f"{blob.name} at {blob.sector}" for blob in self.blobs) or "no boot blobs"
        return (
            f"map the card: the root file system at sector {self.geometry.root.sector}, the LUKS"
            f" header at {self.geometry.docker_data.sector}, {names}"
        )


@dataclass(frozen=True)
class MarkUnfinished:
    """Open the card for us alone and make sector 0 say that it is unfinished."""

    def describe(self) -> str:
        """Say it in a line."""
        return "open the card exclusively and mark it as unfinished"


@dataclass(frozen=True)
class Discard:
    """Tell the card that its old content is not needed."""

    def describe(self) -> str:
        """Say it in a line."""
        return "discard what is on it, where it can"


@dataclass(frozen=True)
class WriteCard:
    """Write everything that is mapped: all but sector 0."""

    def describe(self) -> str:
        """Say it in a line."""
        return "write what is mapped, and zeros where old data would be believed"


@dataclass(frozen=True)
class VerifyCard:
    """Read every written range back from the device and compare it."""

    def describe(self) -> str:
        """Say it in a line."""
        return "read every written range back and compare it"


@dataclass(frozen=True)
class WriteTable:
    """Write the partition table: the last thing, which makes the card a finished one."""

    geometry: Geometry
    disk_id: str

    def describe(self) -> str:
        """Say it in a line."""
        root, data = self.geometry.root, self.geometry.docker_data
        return (
            f"write the DOS partition table 0x{self.disk_id}: root {root.sector}+{root.sectors},"
            f" docker-data {data.sector}+{data.sectors}"
        )


Action = (
    CopyRootfs
    | Personalise
    | FormatVolume
    | MapCard
    | MarkUnfinished
    | Discard
    | WriteCard
    | VerifyCard
    | WriteTable
)
