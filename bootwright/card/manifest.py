"""What ``inv flash`` returns: the manifest of a finished card, or what a dry run would do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bootwright.card.block_device import DeviceFacts, DeviceKind
from bootwright.card.geometry import Geometry
from bootwright.card.guard import describe
from bootwright.card.outcome import CardOutcome, Counters
from bootwright.card.plan import CardPlan
from bootwright.core.board import Board
from bootwright.core.config import Target
from bootwright.core.paths import display_path
from bootwright.core.result import to_document
from bootwright.core.units import SECTOR, format_size
from bootwright.rootfs.origin import Origin

SCHEMA = "bootwright.flash/1"

PLAN_SCHEMA = "bootwright.flash-plan/1"


@dataclass(frozen=True)
class CardDevice:
    """The block device or image file that is the card.

    An image file has no model and no serial number: both are ``None``.
    """

    path: str
    kind: Literal["block", "file"]
    size_bytes: int
    model: str | None
    serial: str | None


@dataclass(frozen=True)
class LuksVolume:
    """The LUKS2 header of docker-data: its cipher, and the parameters of its key derivation."""

    uuid: str
    cipher: str
    sector_size: int
    pbkdf: str
    memory_kib: int
    iterations: int
    threads: int


@dataclass(frozen=True)
class WrittenPartition:
    """A partition that was written; sectors have 512 bytes."""

    number: int
    start_sector: int
    sectors: int
    role: Literal["root", "docker-data"]
    filesystem: Literal["ext4", "crypto_LUKS"]
    uuid: str
    luks: LuksVolume | None


@dataclass(frozen=True)
class WrittenBlob:
    """A boot blob that was written; ``known``: ``board.toml`` lists its digest."""

    name: str
    sector: int
    bytes: int
    sha256: str
    known: bool


@dataclass(frozen=True)
class FlashResult:
    """A finished card.

    Attributes:
        target: its name.
        board: the name of the board that the card is for.
        rootfs: where the root file system came from.
        device: the card.
        table: the kind of the partition table.
        partitions: root, then docker-data.
        boot_blobs: in the order of their sectors.
        missing_boot_blobs: names of the blobs that the board needs and the card lacks.
        bootable_on_board: whether the board itself can start from the card.
        mac: the board's Ethernet address.
        ssh_host_keys: public keys of the card's SSH server.
        bytes: how many bytes were mapped, written and read back.
        seconds: how long each step took, and ``total``.
        verified: everything that was written was read back and is equal.
    """

    target: str
    board: str
    rootfs: Origin
    device: CardDevice
    table: Literal["dos"]
    partitions: tuple[WrittenPartition, WrittenPartition]
    boot_blobs: tuple[WrittenBlob, ...]
    missing_boot_blobs: tuple[str, ...]
    bootable_on_board: bool
    mac: str
    ssh_host_keys: tuple[str, ...]
    bytes: Counters
    seconds: Mapping[str, float]
    verified: bool

    def document(self) -> dict[str, Any]:
        """Return the manifest as one JSON document."""
        return to_document(SCHEMA, self)

    def lines(self) -> list[str]:
        """Return the manifest as lines for the operator."""
        root, volume = self.partitions
        assert volume.luks is not None
        lines = [
            f"{display_path(self.device.path)} is finished and verified:"
            f" {format_size(self.bytes.verified)} read back equal,"
            f" {self.seconds['total']:.1f} s in all",
            f"root     {format_size(root.sectors * SECTOR)} ext4, UUID {root.uuid}",
            f"docker   {format_size(volume.sectors * SECTOR)} LUKS2"
            f" {volume.luks.cipher}, UUID {volume.uuid}",
            f"MAC      {self.mac}",
        ]
        if not self.bootable_on_board:
            missing = ", ".join(self.missing_boot_blobs)
            lines.append(
                f"boots in the emulator and NOT on the board: {missing} missing (--blobs DIR)"
            )
        return lines


@dataclass(frozen=True)
class FlashDryRun:
    """What would be done to a card, for ``--dry-run``.

    Attributes:
        target: its name.
        board: the name of the board that the card is for.
        device: the destination.
        contents: what is on the device now, as lines.
        steps: what would be done, as lines.
        warnings: what the operator should know before relying on the card.
    """

    target: str
    board: str
    device: CardDevice
    contents: tuple[str, ...]
    steps: tuple[str, ...]
    warnings: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return it as one JSON document."""
        return to_document(PLAN_SCHEMA, self)

    def lines(self) -> list[str]:
        """Return it as lines for the operator."""
        return [
            *self.contents,
            "This would be done:",
            *(f"  {step}" for step in self.steps),
            *(f"warning: {warning}" for warning in self.warnings),
            "Nothing was changed.",
        ]


def manifest(
    target: Target,
    board: Board,
    origin: Origin,
    device: DeviceFacts,
    plan: CardPlan,
    outcome: CardOutcome,
    seconds: Mapping[str, float],
) -> FlashResult:
    """Return the manifest of a finished, verified card."""
    luks = outcome.luks
    root, data = plan.geometry.root, plan.geometry.docker_data
    volume = LuksVolume(
        uuid=luks.uuid,
        cipher=luks.cipher,
        sector_size=luks.sector_size,
        pbkdf=luks.pbkdf,
        memory_kib=luks.memory_kib,
        iterations=luks.iterations,
        threads=luks.threads,
    )
    return FlashResult(
        target=target.name,
        board=board.name,
        rootfs=origin,
        device=_device(device, plan.geometry),
        table="dos",
        partitions=(
            WrittenPartition(
                1, root.sector, root.sectors, "root", "ext4", plan.identity.root_uuid, None
            ),
            WrittenPartition(
                2, data.sector, data.sectors, "docker-data", "crypto_LUKS", luks.uuid, volume
            ),
        ),
        boot_blobs=tuple(
            WrittenBlob(blob.name, blob.sector, len(blob.content), blob.sha256, blob.known)
            for blob in plan.blobs
        ),
        missing_boot_blobs=plan.missing_blobs,
        bootable_on_board=plan.bootable_on_board,
        mac=plan.identity.mac,
        ssh_host_keys=tuple(key.public for key in plan.identity.host_keys),
        bytes=outcome.counters,
        seconds={name: round(value, 2) for name, value in seconds.items()},
        verified=outcome.counters.verified >= outcome.counters.mapped,
    )


def dry_run(
    target: Target,
    board: Board,
    device: DeviceFacts,
    geometry: Geometry,
    plan: CardPlan | None,
) -> FlashDryRun:
    """Return what would be done.

    Without a ``plan`` the root file system is not in the cache yet, so the steps that depend on
    it are not known.
    """
    steps = (
        plan.describe()
        if plan
        else [
            f"obtain the root file system {target.rootfs} (not in the cache); the cipher, the"
            " boot blobs and the files written depend on it",
            f"write root at sector {geometry.root.sector} ({geometry.root.sectors} sectors) and"
            f" docker-data at {geometry.docker_data.sector}"
            f" ({geometry.docker_data.sectors} sectors), read everything back,"
            " and write the partition table last",
        ]
    )
    return FlashDryRun(
        target=target.name,
        board=board.name,
        device=_device(device, geometry),
        contents=tuple(describe(device)),
        steps=tuple(steps),
        warnings=tuple(plan.warnings() if plan else ()),
    )


def _device(device: DeviceFacts, geometry: Geometry) -> CardDevice:
    return CardDevice(
        path=device.resolved,
        kind="block" if device.kind is DeviceKind.BLOCK else "file",
        size_bytes=geometry.card_sectors * SECTOR,
        model=device.identity.model or None,
        serial=device.identity.serial or None,
    )
