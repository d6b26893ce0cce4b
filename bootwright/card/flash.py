"""``inv flash``: from a target and a device to a verified card and its manifest.

Facts → plan → execute → report. The operator is asked everything before the first long step.
When the device is opened, it is checked that it is still the one that was inspected.
"""

import json
import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from bootwright.card import guard
from bootwright.card.block_device import DeviceFacts, DeviceKind
from bootwright.card.boot_script import INITRD_MAX
from bootwright.card.execute import execute
from bootwright.card.geometry import Geometry, needed_bytes, plan_geometry
from bootwright.card.io.boot_files import missing_in, read_initrd
from bootwright.card.io.confirm import confirm_device
from bootwright.card.io.disk_by_sudo import DiskHelper, needs_helper, start_helper
from bootwright.card.io.identity import new_identity
from bootwright.card.io.inspect import inspect
from bootwright.card.io.operator_files import find_blobs, read_public_keys
from bootwright.card.io.room import hold_room
from bootwright.card.io.work_dir import make_work_dir
from bootwright.card.manifest import FlashDryRun, FlashResult, dry_run, manifest
from bootwright.card.outcome import CardOutcome
from bootwright.card.overlays import OverlayEntry
from bootwright.card.personalise import boot_files, needs_uinitrd, plan_personalisation
from bootwright.card.plan import CardPlan
from bootwright.card.references import check_references
from bootwright.core import paths
from bootwright.core.board import Board
from bootwright.core.config import Config, Target, load_config
from bootwright.core.errors import BootwrightError, FailedError, InputError
from bootwright.core.io.ask import terminal
from bootwright.core.io.fsync import replace_file
from bootwright.core.io.operator import give_back, sudo_operator
from bootwright.core.io.secret_input import read_passphrase
from bootwright.core.io.signals import exit_on_signal
from bootwright.core.report import Reporter
from bootwright.core.secret import Secret
from bootwright.core.templates import Renderer
from bootwright.core.units import parse_size
from bootwright.remote.io.key_files import OwnKeys, own_public_keys
from bootwright.remote.io.project_key import ensure_project_key, project_key
from bootwright.remote.io.wait import note_coming_up
from bootwright.rootfs.io import base_image, read_facts
from bootwright.rootfs.io.base_image import BaseImage, RootfsOptions
from bootwright.rootfs.source import Mmdebstrap, Tarball
from bootwright.volume.luks_plan import plan_luks
from bootwright.volume.passphrase_strength import WEAK, is_weak


@dataclass(frozen=True)
class FlashOptions:
    """The options of the command line, as the operator typed them."""

    device: str
    target: str = "odroid"
    rootfs: str | None = None
    rootfs_file: str | None = None
    rootfs_unverified: bool = False
    blobs: str | None = None
    size: str | None = None
    authorized_keys: tuple[str, ...] = ()
    passphrase_file: str | None = None
    fixed_disk_serial: str | None = None
    large: bool = False
    yes: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class _Request:
    """Everything that is known before the root file system is built or downloaded."""

    config: Config
    board: Board
    source: Mmdebstrap | Tarball
    keys: tuple[str, ...]
    left_out: tuple[str, ...]
    overlays: tuple[OverlayEntry, ...]
    device: DeviceFacts
    helper: DiskHelper | None
    geometry: Geometry
    rootfs: RootfsOptions
    blobs: Path | None

    @property
    def target(self) -> Target:
        return self.config.target

    @property
    def layout(self) -> str:
        return self.target.layout or self.board.layout_for(self.source.name)


def flash(options: FlashOptions, reporter: Reporter) -> FlashResult | FlashDryRun:
    """Make the card and return its manifest; or, for a dry run, what would be done.

    Raises:
        InputError: an option, the configuration or an input file is wrong.
        RefusedError: the guard or the operator refuses; nothing was changed.
        FailedError: a tool or the device failed; the card is marked as unfinished.
        SystemExit: SIGTERM or SIGHUP was received; it is cleaned up as after Ctrl-C.
    """
    with ExitStack() as stack:
        request = _prepare(options, stack, reporter)
        if options.dry_run:
            return _dry_run(request, paths.cache_dir())
        operator = sudo_operator(os.environ, os.geteuid())
        try:
            with exit_on_signal():
                return _make(request, options, reporter)
        finally:
            if operator is not None and request.device.kind is DeviceKind.NEW:
                give_back(operator, Path(request.device.resolved))


def _make(request: _Request, options: FlashOptions, reporter: Reporter) -> FlashResult:
    """Ask the operator, make the card, and return its manifest."""
    cache = paths.cache_dir()
    folders = _record_folders()
    for reason in request.left_out:
        reporter.warn(f"left out: {reason}")
    if not request.keys:
        request = replace(request, keys=(ensure_project_key(),))
        reporter.warn(
            f"you have no usable SSH key in ~/.ssh; {paths.display_path(project_key())} may log in,"
            " and inv ssh uses it"
        )
    confirm_device(request.device, terminal(), options.yes)
    passphrase = read_passphrase(request.target, options.passphrase_file, twice=True)
    if is_weak(passphrase, (request.target.name, request.target.hostname, request.board.name)):
        reporter.warn(WEAK)
    start = time.monotonic()  # From here on the operator is asked nothing.
    for is_last in (False, True):
        base = base_image.obtain(
            request.board, request.target, request.source, request.rootfs, cache, reporter
        )
        try:
            return _write(request, base, passphrase, folders, start, reporter)
        except BootwrightError:
            if is_last or not base.is_damaged():
                raise
            # Nothing was written to the card. What was read from such an image is no reason.
            reporter.warn(f"{base.path}: it was damaged after it was built; it is built again")
            base.discard()
    raise AssertionError("the last attempt has returned or raised")


def _write(
    request: _Request,
    base: BaseImage,
    passphrase: Secret,
    folders: tuple[Path, Path],
    start: float,
    reporter: Reporter,
) -> FlashResult:
    """Make the card of a prepared root file system, and return its manifest."""
    rootfs_ready = time.monotonic()
    plan = _plan(request, base)
    for warning in (*plan.warnings(), *_unused_blobs(request, plan)):
        reporter.warn(warning)
    if Path(f"{request.device.resolved}boot0").exists():
        reporter.warn(
            "this is an eMMC, which boots from its hardware boot area; that area is not written:"
            " see docs/flash.md"
        )
    results: list[FlashResult] = []

    def record(outcome: CardOutcome) -> None:
        seconds = {
            "rootfs": rootfs_ready - start,
            **outcome.seconds,
            "total": time.monotonic() - start,
        }
        result = manifest(
            request.target, request.board, base.origin, request.device, plan, outcome, seconds
        )
        results.append(result)
        give_room_back()
        try:
            _write_records(result, plan, folders)
        except OSError as error:
            reporter.warn(f"the card is finished, but its record cannot be written: {error}")

    with (
        hold_room(folders[0]) as give_room_back,
        make_work_dir(paths.cache_dir() / "work") as work_dir,
    ):
        execute(
            plan,
            request.device,
            passphrase,
            work_dir,
            reporter,
            record,
            base.check,
            request.helper,
        )
    note_coming_up(request.target.name)
    return results[0]


def _prepare(options: FlashOptions, stack: ExitStack, reporter: Reporter) -> _Request:
    """Read and check all that the operator has given; a helper ends with ``stack``."""
    if not options.device:
        raise InputError("--device is missing: name the card (/dev/sdX) or an image file (x.img)")
    base_image.check_cache(paths.cache_dir())
    if options.rootfs_file and not Path(options.rootfs_file).exists():
        raise InputError(f"--rootfs-file {options.rootfs_file}: no such file")
    if options.blobs and not Path(options.blobs).is_dir():
        raise InputError(f"--blobs {options.blobs}: no such folder")
    root = paths.checkout()
    overrides = {"rootfs": options.rootfs, "authorized_keys": options.authorized_keys or None}
    config = load_config(root, options.target, overrides)
    target = config.target
    board, source, overlays = check_references(root, target)
    if options.rootfs_file and target.packages:
        raise InputError(
            f"packages: --rootfs-file is used as it is, without {', '.join(target.packages)}; leave"
            " out --rootfs-file, or remove packages from the target"
        )
    device = inspect(options.device)
    request = guard.GuardRequest(
        needed=needed_bytes(board, target),
        image_size=parse_size(options.size) if options.size else None,
        allow_large=options.large,
        fixed_disk_serial=options.fixed_disk_serial,
    )
    by_sudo = needs_helper(device)
    if not by_sudo:
        guard.check(device, request)
    elif device.device_type != "loop":
        # What this user sees is enough to refuse most disks before sudo asks for a password; not
        # what a loop device is attached to.
        guard.check(replace(device, may_write=True), request)
    base = Path.cwd() if options.authorized_keys else root
    named = read_public_keys(target.authorized_keys, paths.home(), base)
    own = OwnKeys(named, ()) if named else own_public_keys(paths.home())
    helper = None
    if by_sudo:
        reporter.note(f"{options.device}: you may not write to it; sudo starts a helper to open it")
        helper = stack.enter_context(start_helper())
        device = helper.inspect(device, request)
        guard.check(device, request)
    return _Request(
        config=config,
        board=board,
        source=source,
        keys=own.keys,
        left_out=own.left_out,
        overlays=overlays,
        device=device,
        helper=helper,
        geometry=plan_geometry(board, target, guard.card_size(device, request)),
        rootfs=RootfsOptions(
            Path(options.rootfs_file) if options.rootfs_file else None, options.rootfs_unverified
        ),
        blobs=Path(options.blobs) if options.blobs else None,
    )


def _plan(request: _Request, base: BaseImage) -> CardPlan:
    target, board = request.target, request.board
    facts = read_facts.read_rootfs_facts(base.path, target.timezone)
    identity = new_identity(target.mac, target.hostname)
    luks = plan_luks(board, target, facts, identity.luks_uuid)
    script = board.layouts[request.layout].boot_script
    needed = boot_files(board, request.source, facts, script)
    missing_files = missing_in(base.path, needed)
    initrd = b""
    if needs_uinitrd(facts, script) and request.source.initrd and not missing_files:
        initrd = read_initrd(base.path, request.source.initrd, INITRD_MAX)
    changes = plan_personalisation(
        board,
        target,
        request.source,
        facts,
        identity,
        luks,
        request.keys,
        request.overlays,
        Renderer(paths.checkout() / "templates"),
        script,
        missing_files,
        initrd,
    )
    blobs, missing = find_blobs(board, request.layout, request.blobs, base.path)
    return CardPlan(base.path, request.geometry, identity, luks, changes, blobs, missing)


def _unused_blobs(request: _Request, plan: CardPlan) -> list[str]:
    """Return a warning if nothing of the operator's ``--blobs`` folder is written."""
    folder = request.blobs
    if folder is None or any(Path(blob.source).parent == folder for blob in plan.blobs):
        return []
    wanted = [name for blob in request.board.layouts[request.layout].blobs for name in blob.files]
    return [
        f"--blobs {folder}: nothing in it is used; the layout {request.layout} wants files named"
        f" {', '.join(wanted)}"
    ]


def _dry_run(request: _Request, cache: Path) -> FlashDryRun:
    base = base_image.cached(request.board, request.target, request.source, request.rootfs, cache)
    if not request.keys:
        request = replace(request, keys=("ssh-ed25519 made-by-the-run",))
    plan = _plan(request, base) if base else None
    return dry_run(request.target, request.board, request.device, request.geometry, plan)


def _record_folders() -> tuple[Path, Path]:
    """Make the folders for manifests and for host keys; return both.

    This is done first: if they cannot be written, the operator learns it before the long work.
    """
    folders = (paths.build_dir() / "cards", paths.build_dir() / "host-keys")
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FailedError(
                f"{folder}: cannot make it: {error.strerror}; set BOOTWRIGHT_BUILD to a folder"
                " of your own"
            ) from error
        if not os.access(folder, os.W_OK):
            raise FailedError(
                f"{folder}: you cannot write there; set BOOTWRIGHT_BUILD to a folder of your own"
            )
    return folders


def _write_records(result: FlashResult, plan: CardPlan, folders: tuple[Path, Path]) -> None:
    """Write the manifest, and the host keys by which later commands recognise the board."""
    cards, host_keys = folders
    text = json.dumps(result.document(), indent=2) + "\n"
    replace_file(cards / f"{plan.luks.uuid}.json", text)
    lines = "".join(f"{key.public}\n" for key in plan.identity.host_keys)
    replace_file(host_keys / result.target, lines)
