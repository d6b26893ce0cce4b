"""The data of a board: reading and checking ``board/<name>/board.toml``."""

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from bootwright.core.errors import InputError, RefusedError
from bootwright.core.toml_model import StrictModel, check_table, merge_tables, read_toml
from bootwright.core.units import SECTOR

Positive = Annotated[int, Field(gt=0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class SectorRange(StrictModel):
    """A range of sectors of 512 bytes: the first one, and how many."""

    sector: Annotated[int, Field(ge=0)]
    sectors: Positive

    @property
    def end(self) -> int:
        """The first sector after the range."""
        return self.sector + self.sectors


class KnownBlob(StrictModel):
    """A blob that is known to boot, by its digest and length in bytes.

    A U-Boot is listed only if it was seen to start a kernel from a card of this layout. The
    vendor's signed stages, which only a board can run, are those that the vendor publishes for it.
    """

    sha256: Sha256
    bytes: Positive


class BadBlob(StrictModel):
    """A blob that is known not to boot, by its digest, and what it does instead."""

    sha256: Sha256
    reason: Annotated[str, Field(min_length=1)]


class Blob(SectorRange):
    """Where a boot blob is on the card, and the files that it may come from.

    ``spill_bytes`` is how many bytes it may extend into the next blob's first sector. The next
    blob is written later and overwrites them.
    """

    name: str
    spill_bytes: Annotated[int, Field(ge=0, lt=SECTOR)] = 0
    files: tuple[str, ...]
    rootfs_files: tuple[str, ...] = ()
    known: tuple[KnownBlob, ...]
    bad: tuple[BadBlob, ...] = ()

    @property
    def max_bytes(self) -> int:
        """The longest blob that fits, in bytes."""
        return self.sectors * SECTOR + self.spill_bytes

    @model_validator(mode="after")
    def _known_blobs_fit(self) -> Self:
        for known in self.known:
            if known.bytes > self.max_bytes:
                raise ValueError(
                    f"{self.name}: the known blob of {known.bytes} bytes does not fit"
                    f" into {self.max_bytes}"
                )
        return self

    @model_validator(mode="after")
    def _known_or_bad(self) -> Self:
        for both in {item.sha256 for item in self.known} & {item.sha256 for item in self.bad}:
            raise ValueError(f"{self.name}: {both} is both in known and in bad")
        return self


class Layout(StrictModel):
    """Where the boot blobs and U-Boot's environment are on the card."""

    title: str
    boot_script: Literal["boot.scr", "boot.ini"]
    environment: SectorRange
    blobs: tuple[Blob, ...]

    def reserved(self) -> list[tuple[str, SectorRange]]:
        """Return all reserved ranges with their names, sorted by first sector."""
        named: list[tuple[str, SectorRange]] = [(blob.name, blob) for blob in self.blobs]
        named.append(("environment", self.environment))
        return sorted(named, key=lambda item: item[1].sector)

    @model_validator(mode="after")
    def _nothing_overlaps(self) -> Self:
        named = self.reserved()
        if named and named[0][1].sector < 1:
            raise ValueError(f"{named[0][0]} covers sector 0, which holds the partition table")
        for (name, first), (other, second) in pairwise(named):
            if first.end > second.sector:
                raise ValueError(
                    f"{name} (sectors {first.sector} to {first.end - 1}) overlaps"
                    f" {other} (from sector {second.sector})"
                )
        for blob in self.blobs:
            follower = [other for other in self.blobs if other.sector == blob.end]
            if blob.spill_bytes and not follower:
                raise ValueError(f"{blob.name} has spill_bytes, but no blob follows it directly")
        return self


class Console(StrictModel):
    """The serial console: kernel device name and baud rate."""

    device: str
    baud: Positive

    @property
    def kernel_argument(self) -> str:
        """The value of the kernel's ``console=``."""
        return f"{self.device},{self.baud}n8"


class Kdf(StrictModel):
    """The cost of Argon2id for a LUKS2 key, which the board has to pay at each unlock."""

    memory_kib: Annotated[int, Field(ge=32, le=4 * 1024 * 1024)]
    iterations: Annotated[int, Field(ge=4)]  # cryptsetup's minimum
    threads: Annotated[int, Field(ge=1, le=4)]  # LUKS2 allows at most 4


class Ext4(StrictModel):
    """File system features that the board's boot loader can read."""

    features: tuple[str, ...]


class OtherSuite(StrictModel):
    """Packages that a Debian root file system gets from another suite of the same archive.

    Nothing but these packages is taken from there.
    """

    suite: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    components: Annotated[tuple[str, ...], Field(min_length=1)]
    packages: Annotated[tuple[str, ...], Field(min_length=1)]


class RootfsOnBoard(StrictModel):
    """What a root file system needs to know about this board."""

    platform: str | None = None
    layout: str | None = None
    packages: tuple[str, ...] = ()
    other_suites: tuple[OtherSuite, ...] = ()


class Board(StrictModel):
    """A kind of board: everything in which boards differ."""

    name: str
    title: str
    architecture: Literal["armhf"]
    ram_mib: Positive
    cores: Positive
    aes_instructions: bool
    first_partition_sector: Positive
    default_layout: str
    device_trees: tuple[str, ...]
    ethernet_driver: str
    initramfs_modules: tuple[str, ...]
    console: Console
    kdf: Kdf
    ext4: Ext4
    layouts: dict[str, Layout]
    rootfs: dict[str, RootfsOnBoard]

    def layout_for(self, rootfs: str) -> str:
        """Return the name of the boot layout that the root file system ``rootfs`` gets."""
        own = self.rootfs.get(rootfs, RootfsOnBoard()).layout
        return own or self.default_layout

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        asked = {f"rootfs.{name}.layout": self.layout_for(name) for name in self.rootfs}
        for key, name in {"default_layout": self.default_layout, **asked}.items():
            if name not in self.layouts:
                raise ValueError(f"{key}: {name!r} is none of: {', '.join(self.layouts)}")
        for name, layout in self.layouts.items():
            last, reserved = layout.reserved()[-1]
            if reserved.end > self.first_partition_sector:
                raise ValueError(
                    f"layouts.{name}: {last} ends at sector {reserved.end - 1}, inside the"
                    f" first partition, which starts at {self.first_partition_sector}"
                )
        if self.kdf.memory_kib > self.ram_mib * 1024 // 4:
            raise ValueError(
                f"kdf.memory_kib: {self.kdf.memory_kib} is more than a quarter of the"
                f" board's {self.ram_mib} MiB"
            )
        return self


def available_boards(root: Path) -> list[str]:
    """Return the names of the boards under ``root`` (the checkout's ``board/``)."""
    return sorted(path.parent.name for path in root.glob("*/board.toml"))


def load_board(root: Path, name: str) -> Board:
    """Return the board ``name`` from ``root/name/board.toml``.

    With ``extends = "other"`` in the file, its keys replace those of the other board, one by one.

    Raises:
        InputError: no such board, a wrong key, or ranges that overlap.
    """
    path = root / name / "board.toml"
    tables = _read_extended(root, name, seen=())
    return check_table(Board, {**tables, "name": name}, str(path))


def _read_extended(root: Path, name: str, seen: tuple[str, ...]) -> dict[str, Any]:
    path = root / name / "board.toml"
    if not path.is_file():
        raise InputError(f"no board {name!r}; there are: {', '.join(available_boards(root))}")
    tables = read_toml(path)
    base = tables.pop("extends", None)
    if base is None:
        return tables
    if not isinstance(base, str) or base in (*seen, name):
        raise InputError(f"{path}: extends: {base!r} is not another board's name")
    return merge_tables(_read_extended(root, base, (*seen, name)), tables)


@dataclass(frozen=True)
class PlacedBlob:
    """A blob's content with its first sector (of 512 bytes) on the card."""

    name: str
    sector: int
    content: bytes
    source: str
    known: bool

    @property
    def sha256(self) -> str:
        """The digest of the content."""
        return hashlib.sha256(self.content).hexdigest()


def place_blob(
    board: Board, layout_name: str, blob: Blob, content: bytes, source: str
) -> PlacedBlob:
    """Return ``content`` with the position of ``blob``, after checking that it belongs there.

    Raises:
        InputError: it is empty, too long, or known to belong to another layout.
        RefusedError: it is known not to boot.
    """
    if not content:
        raise InputError(f"{source}: {blob.name} is empty")
    if len(content) > blob.max_bytes:
        raise InputError(
            f"{source}: {blob.name} has {len(content)} bytes, but layout {layout_name} of"
            f" {board.name} has room for {blob.max_bytes}"
        )
    digest = hashlib.sha256(content).hexdigest()
    for layout in board.layouts.values():
        for candidate in layout.blobs:
            for bad in candidate.bad:
                if (candidate.name, bad.sha256) == (blob.name, digest):
                    raise RefusedError(
                        f"{source}: this {blob.name} does not start {board.name}: {bad.reason}"
                        f" (SHA-256 {digest}); give another {blob.name} with --blobs"
                    )
    known = digest in {item.sha256 for item in blob.known}
    elsewhere = [
        other_name
        for other_name, other in board.layouts.items()
        for candidate in other.blobs
        if candidate.name == blob.name and digest in {item.sha256 for item in candidate.known}
    ]
    if elsewhere and not known:
        raise InputError(
            f"{source}: this {blob.name} is for layout {elsewhere[0]}, and the card gets layout"
            f" {layout_name}: the board would not start"
        )
    return PlacedBlob(blob.name, blob.sector, content, source, known)
