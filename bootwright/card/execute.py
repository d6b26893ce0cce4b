"""Carrying out a card's plan: the only interpreter of its actions."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
from bootwright.card.block_device import DeviceFacts
from bootwright.card.io.card import Card, open_card
from bootwright.card.io.medium import data_of
from bootwright.card.io.mkimage import compile_boot_script
from bootwright.card.io.sfdisk import make_table
from bootwright.card.outcome import CardOutcome
from bootwright.card.personalise import BOOT_SCR, BOOT_TXT
from bootwright.card.plan import CardPlan
from bootwright.core.board_names import VOLUME
from bootwright.core.extents import Extent, flatten, total
from bootwright.core.file_changes import Change, FileChange
from bootwright.core.io.process import run
from bootwright.core.report import Reporter
from bootwright.core.secret import Secret
from bootwright.core.units import SECTOR
from bootwright.rootfs.ext4 import usage
from bootwright.rootfs.io import ext4_edit
from bootwright.volume.io import luks
from bootwright.volume.luks2_header import LuksFacts


def execute(
    plan: CardPlan,
    device: DeviceFacts,
    passphrase: Secret,
    workbench: Path,
    reporter: Reporter,
) -> CardOutcome:
    """Carry out ``plan`` on the card that ``device`` describes.

    Args:
        plan: every action, in order.
        device: what the guard approved; it is looked at again when it is opened.
        passphrase: opens the volume.
        workbench: an empty private folder for the parts of the card.
        reporter: hears what is done.

    Raises:
        RefusedError: the device is not what it was; nothing on it was changed.
        FailedError: a tool or the device failed; the card says that it is unfinished.
    """
    with ExitStack() as stack:
        worker = _Worker(plan, device, passphrase, workbench, reporter, stack)
        try:
            for action in plan.actions:
                worker.do(action)
        except KeyboardInterrupt:
            reporter.warn(worker.state())
            raise
        return worker.outcome()


class _Worker:
    def __init__(
        self,
        plan: CardPlan,
        device: DeviceFacts,
        passphrase: Secret,
        workbench: Path,
        reporter: Reporter,
        stack: ExitStack,
    ) -> None:
        self._plan, self._device, self._passphrase = plan, device, passphrase
        self._reporter, self._stack = reporter, stack
        self._rootfs = workbench / "rootfs.ext4"
        self._luks = workbench / "luks.header"
        self._workbench = workbench
        self._seconds: dict[str, float] = {}
        self._card: Card | None = None
        self._luks_facts: LuksFacts | None = None
        self._extents: tuple[Extent, ...] = ()
        self._sources: dict[str, Path] = {}

    @property
    def card(self) -> Card:
        assert self._card is not None, "a plan opens the card before it writes"
        return self._card

    def state(self) -> str:
        """Say what an interrupted run leaves behind."""
        if self._card is None:
            return f"{self._device.path}: nothing on it was changed"
        return f"{self._device.path}: the card is unfinished; the next run starts clean"

    def outcome(self) -> CardOutcome:
        assert self._luks_facts is not None, "a plan formats the volume"
        return CardOutcome(self.card.counters, self._luks_facts, self._seconds)

    def do(self, action: Action) -> None:
        match action:
            case CopyRootfs(base):
                with self._timed("copy"):
                    copy_sparse(base, self._rootfs)
            case Personalise():
                with self._timed("personalise"):
                    self._personalise(action)
            case FormatVolume(spec):
                with self._timed("luks"), self._reporter.step("Make the LUKS header"):
                    self._luks_facts = luks.make_header(self._luks, spec, self._passphrase, VOLUME)
            case MapCard():
                with self._timed("map"):
                    self._map(action)
            case MarkUnfinished():
                with self._timed("open"):
                    size = self._plan.geometry.card_sectors * SECTOR
                    self._card = self._stack.enter_context(open_card(self._device, size))
                    self.card.mark_unfinished()
            case Discard():
                with self._timed("discard"):
                    if not self.card.discard():
                        self._reporter.note("the card cannot discard; only mapped ranges change")
            case WriteCard():
                meter_of = self._reporter.meter("Write", total(self._extents))
                with self._timed("write"), meter_of as meter:
                    self.card.write(self._extents, self._sources, meter)
            case VerifyCard():
                meter_of = self._reporter.meter("Read back", total(self._extents))
                with self._timed("verify"), meter_of as meter:
                    self.card.verify(meter)
            case WriteTable(geometry, disk_id):
                with self._timed("table"):
                    if not self.card.write_table(make_table(geometry, disk_id)):
                        self._reporter.note(
                            "the kernel still shows the old partitions: pull the card out"
                        )

    def _personalise(self, action: Personalise) -> None:
        with self._reporter.step("Personalise the root file system"):
            ext4_edit.set_identity(self._rootfs, action.root_uuid, action.hash_seed)
            ext4_edit.apply_changes(self._rootfs, with_boot_script(action.changes))
            ext4_edit.check(self._rootfs)

    def _map(self, action: MapCard) -> None:
        root_at = action.geometry.root.sector * SECTOR
        data_at = action.geometry.docker_data.sector * SECTOR
        text = run(usage.command(str(self._rootfs))).text
        used = usage.parse(text, str(self._rootfs))
        sources = {"rootfs": self._rootfs, VOLUME: self._luks}
        layers: list[tuple[Extent, ...]] = [
            action.zeros,
            usage.extents(used, data_of(self._rootfs), "rootfs", root_at),
            (Extent(data_at, luks.HEADER_BYTES, VOLUME),),
        ]
        for blob in action.blobs:
            path = self._workbench / blob.name
            path.write_bytes(blob.content)
            sources[blob.name] = path
            sectors = -(-len(blob.content) // SECTOR)
            layers.append((Extent(blob.sector * SECTOR, sectors * SECTOR, blob.name),))
        self._extents, self._sources = flatten(layers), sources

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self._seconds[name] = time.monotonic() - start


def with_boot_script(changes: tuple[Change, ...]) -> tuple[Change, ...]:
    """Return the changes with a compiled ``boot.scr`` wherever they lay a ``boot.txt``."""
    compiled = [
        FileChange(BOOT_SCR, compile_boot_script(change.data))
        for change in changes
        if isinstance(change, FileChange) and change.path == BOOT_TXT
    ]
    return (*changes, *compiled)


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a file and its holes, within the kernel (shared blocks where it can)."""
    with source.open("rb") as old, target.open("xb") as new:
        os.ftruncate(new.fileno(), source.stat().st_size)
        for span in data_of(source):
            at = span.start
            while at < span.end:
                at += os.copy_file_range(
                    old.fileno(), new.fileno(), span.end - at, offset_src=at, offset_dst=at
                )
