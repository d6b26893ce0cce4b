"""Executing a card's plan, step by step."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bootwright.card.block_device import DeviceFacts
from bootwright.card.io.card import open_card
from bootwright.card.io.disk_by_sudo import DiskHelper
from bootwright.card.io.medium import file_data_spans
from bootwright.card.io.mkimage import compile_boot_script
from bootwright.card.io.room import check_image_room
from bootwright.card.mbr import make_mbr
from bootwright.card.outcome import CardOutcome
from bootwright.card.personalise import BOOT_SCR, BOOT_TXT
from bootwright.card.plan import CardPlan, zero_extents
from bootwright.core.board_names import VOLUME
from bootwright.core.file_changes import Change, FileChange
from bootwright.core.io.process import run
from bootwright.core.io.signals import without_signals
from bootwright.core.report import Reporter
from bootwright.core.secret import Secret
from bootwright.core.units import SECTOR
from bootwright.rootfs.byte_ranges import Extent, flatten, total
from bootwright.rootfs.ext4 import usage
from bootwright.rootfs.io import ext4_edit
from bootwright.volume.io import luks


class StepTimes:
    """How long each step took: seconds, by the step's name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure a step, which is the body of the context; a step that fails is not recorded."""
        start = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - start


def execute(
    plan: CardPlan,
    device: DeviceFacts,
    passphrase: Secret,
    work_dir: Path,
    reporter: Reporter,
    record: Callable[[CardOutcome], None],
    check_base: Callable[[], None],
    helper: DiskHelper | None = None,
) -> None:
    """Execute ``plan`` on the card that ``device`` describes.

    The steps are those that :meth:`CardPlan.describe` lists, in the same order. The first four
    make the parts of the card in ``work_dir``; the device is opened in the fifth.

    Args:
        plan: what is written.
        device: the device that the guard approved; opening it fails if it is another one now.
        passphrase: the passphrase of the encrypted volume.
        work_dir: an empty private folder for the parts of the card.
        reporter: shows the progress and warnings.
        record: is called with what was written as soon as the card is finished. A signal
            that comes between the partition table and the end of this call is delayed.
        check_base: is called before the device is opened; raises if ``plan.base`` was damaged.
        helper: opens the device, if this user may not.

    Raises:
        RefusedError: it is not the device that was inspected, and nothing on it was changed; or
            it is smaller than it claims, and is marked as unfinished.
        FailedError: a tool or the device failed; the card is marked as unfinished. Or the disk of
            an image has no room for it; nothing was changed.
        SystemExit: SIGTERM or SIGHUP was received.
    """
    rootfs, header = work_dir / "rootfs.ext4", work_dir / "luks.header"
    times = StepTimes()
    state = "nothing on it was changed"
    with ExitStack() as stack:
        try:
            with times.step("copy"):
                copy_sparse(plan.base, rootfs)
            with times.step("personalise"), reporter.step("Personalise the root file system"):
                personalise(plan, rootfs)
            with times.step("luks"), reporter.step("Make the LUKS header"):
                luks_facts = luks.make_header(header, plan.luks, passphrase, VOLUME)
            with times.step("map"):
                sources = {"rootfs": rootfs, VOLUME: header, **_blob_files(plan, work_dir)}
                extents = map_card(plan, rootfs)
                check_base()
                check_image_room(device, extents)
            with times.step("open"):
                size = plan.geometry.card_sectors * SECTOR
                card = stack.enter_context(open_card(device, size, helper))
                state = "the card is unfinished; the next run starts clean"
                card.mark_unfinished()
            with times.step("size"), ExitStack() as shown:
                if card.is_device:
                    shown.enter_context(reporter.step("Check the size of the card"))
                if warning := card.check_size():
                    reporter.warn(warning)
            with times.step("discard"):
                if not card.discard():
                    reporter.note(
                        "the card cannot discard; only the ranges of the plan are overwritten"
                    )
            with times.step("write"), reporter.meter("Write", total(extents)) as meter:
                card.write(extents, sources, meter)
            with times.step("verify"), reporter.meter("Read back", total(extents)) as meter:
                card.verify(meter)
            with without_signals():
                with times.step("table"):
                    table = make_mbr(plan.geometry, plan.identity.disk_id)
                    is_reread = card.write_table(table)
                state = "the card is finished"
                record(CardOutcome(card.counters, luks_facts, times.seconds))
            if not is_reread:
                reporter.note(
                    "the kernel still shows the old partitions: remove the card and insert it"
                )
        except (KeyboardInterrupt, SystemExit):
            reporter.warn(f"{device.path}: {state}")
            raise


def personalise(plan: CardPlan, rootfs: Path) -> None:
    """Write this card's files and identity into a copy of the root file system, and check it.

    Raises:
        FailedError: a tool failed, or the file system is damaged.
    """
    ext4_edit.set_identity(rootfs, plan.identity.root_uuid, plan.identity.hash_seed)
    ext4_edit.apply_changes(rootfs, with_boot_script(plan.changes))
    ext4_edit.check(rootfs)


def map_card(plan: CardPlan, rootfs: Path) -> tuple[Extent, ...]:
    """Return what is written where: zeros, root file system, LUKS header, boot blobs.

    The extents name their sources ``rootfs``, :data:`VOLUME`, and by the names of the boot blobs.

    Args:
        plan: the plan.
        rootfs: the finished ext4 image, whose unused blocks are left out.
    """
    root_offset = plan.geometry.root.sector * SECTOR
    data_offset = plan.geometry.docker_data.sector * SECTOR
    used = usage.parse(run(usage.command(str(rootfs))).text, str(rootfs))
    layers: list[tuple[Extent, ...]] = [
        zero_extents(plan.geometry),
        usage.extents(used, file_data_spans(rootfs), "rootfs", root_offset),
        (Extent(data_offset, luks.HEADER_BYTES, VOLUME),),
    ]
    for blob in plan.blobs:
        sectors = -(-len(blob.content) // SECTOR)
        layers.append((Extent(blob.sector * SECTOR, sectors * SECTOR, blob.name),))
    return flatten(layers)


def _blob_files(plan: CardPlan, work_dir: Path) -> dict[str, Path]:
    """Write each boot blob to a file; return the files by the blobs' names."""
    files = {blob.name: work_dir / blob.name for blob in plan.blobs}
    for blob in plan.blobs:
        files[blob.name].write_bytes(blob.content)
    return files


def with_boot_script(changes: tuple[Change, ...]) -> tuple[Change, ...]:
    """Return the changes with a compiled ``boot.scr`` wherever they write a ``boot.txt``."""
    compiled = [
        FileChange(BOOT_SCR, compile_boot_script(change.data))
        for change in changes
        if isinstance(change, FileChange) and change.path == BOOT_TXT
    ]
    return (*changes, *compiled)


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a file with its holes, within the kernel (with shared blocks if the file system can)."""
    with source.open("rb") as old, target.open("xb") as new:
        os.ftruncate(new.fileno(), source.stat().st_size)
        for span in file_data_spans(source):
            at = span.start
            while at < span.end:
                at += os.copy_file_range(
                    old.fileno(), new.fileno(), span.end - at, offset_src=at, offset_dst=at
                )
