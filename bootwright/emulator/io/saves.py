"""Saving a running emulator, and starting one from a save.

A save is three files in ``build/emulator/saves``: ``NAME.json``, and beside it the guest's
memory and disk (qcow2, on top of the card image) and what its console had printed. The
JSON file names the other two and is replaced last, in one step: a save that is interrupted
leaves the former one as it was.

The memory holds the key of the open volume, so all of it is for the operator alone.
"""

import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from bootwright.core.errors import BootwrightError, FailedError, InputError, RefusedError
from bootwright.core.io.fsync import sync_path
from bootwright.core.io.lock import exclusive
from bootwright.core.io.process import run
from bootwright.core.report import Reporter
from bootwright.emulator.io import qemu
from bootwright.emulator.io.card_image import read_card
from bootwright.emulator.io.qemu import Emulator
from bootwright.emulator.io.qmp import monitor_command, qmp_command
from bootwright.emulator.plan import OVERLAY, STATE_TAG, EmulatorSettings, emulator_plan
from bootwright.emulator.saves import (
    SCHEMA,
    Here,
    ImageIdentity,
    Save,
    check_name,
    obstacle,
    parse_save,
)

SAVE_S = 300.0
"""Seconds that QEMU may take to write the guest's memory; about 1.5 for 2 GiB."""

_PIECE = 4 * 1024 * 1024
"""Bytes read at a time."""

_NO_DIGEST = "0" * 64


def saves_dir() -> Path:
    """Return where saves are kept unless told otherwise."""
    return qemu.emulator_dir() / "saves"


def save(
    name: str, reporter: Reporter, *, directory: Path | None = None, saves: Path | None = None
) -> Save:
    """Save the emulator that runs; it goes on afterwards.

    Args:
        name: of the save; one that is there is replaced.
        reporter: where to tell what is done.
        directory: where the emulator's files are; ``build/emulator`` if ``None``.
        saves: where the save is kept; :func:`saves_dir` if ``None``.

    Raises:
        InputError: the name is none, or no emulator runs.
        RefusedError: the emulator writes to the card image itself.
        FailedError: QEMU or the disk failed; a former save is as it was.
    """
    check_name(name)
    saves = (saves or saves_dir()).absolute()
    emulator = qemu.status(directory)
    if emulator is None:
        raise InputError("no emulator runs; start one with `inv emulate --snapshot`")
    if not emulator.snapshot:
        raise RefusedError(
            "this emulator writes to the card image itself, which has to stay as it is for a save;"
            " start it with --snapshot"
        )
    saves.mkdir(parents=True, exist_ok=True, mode=0o700)
    with exclusive(saves / "lock", "saving or removing an emulator"):
        part = f"{name}-{secrets.token_hex(4)}"
        disk, console = saves / f"{part}.qcow2", saves / f"{part}.log"
        try:
            with reporter.step(f"Save the emulator as {name}"):
                with _stopped_with_state(emulator):
                    disk_sha256 = _copy(emulator.directory / OVERLAY, disk)
                    _copy(emulator.console_log, console)
                _check_disk(disk)
                made = Save(
                    schema=SCHEMA,
                    name=name,
                    saved_at=datetime.now(UTC).isoformat(timespec="seconds"),
                    qemu=qemu_version(),
                    machine=_settings_and_machine(emulator)[1],
                    ram=emulator.ram,
                    cpus=emulator.cpus,
                    image=_identity(emulator.image, _data_digest(emulator.image)),
                    disk=disk.name,
                    disk_size=disk.stat().st_size,
                    disk_sha256=disk_sha256,
                    console=console.name,
                    record=_record(emulator),
                )
                _replace(saves / f"{name}.json", made.model_dump_json(by_alias=True, indent=2))
        except OSError as error:
            raise FailedError(f"{saves}: cannot save there: {error.strerror}") from error
        finally:
            _remove_unnamed(saves)
    return made


def resume(
    name: str,
    reporter: Reporter,
    *,
    directory: Path | None = None,
    saves: Path | None = None,
    serial_port: int | None = None,
    ssh_port: int | None = None,
) -> Emulator:
    """Start an emulator that goes on from a save; the save stays as it is.

    The guest's clock is that of the moment of saving: see
    :func:`bootwright.emulator.io.clock.set_clock`.

    Args:
        name: of the save.
        reporter: where to tell what is done.
        directory: where the emulator's files are; ``build/emulator`` if ``None``.
        saves: where saves are kept; :func:`saves_dir` if ``None``.
        serial_port: TCP port for the console on 127.0.0.1; a free one if ``None``.
        ssh_port: TCP port for the guest's SSH server, likewise.

    Raises:
        InputError: there is no such save.
        RefusedError: an emulator runs already; or the save cannot be resumed: the reason is given.
        FailedError: QEMU is missing or did not start.
    """
    saves = (saves or saves_dir()).absolute()
    saved = load(name, saves)
    directory = (directory or qemu.emulator_dir()).absolute()
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with exclusive(directory / "lock", "starting the emulator"):
        qemu.refuse_second(directory)
        if why := obstacle(saved, look_here(saved, saves)):
            raise RefusedError(f"the save {name} cannot be resumed: {why}")
        image = Path(saved.image.path)
        with reporter.step(f"Resume {name}"):
            _check_image(saved)
            card = read_card(image)
            settings = EmulatorSettings(
                ram=saved.ram,
                cpus=saved.cpus,
                host_cpus=saved.cpus,
                serial_port=serial_port or qemu.free_port(),
                ssh_port=ssh_port or qemu.free_port(),
                directory=directory,
                snapshot=True,
                resume=True,
            )
            plan = emulator_plan(card, settings)
            if plan.machine != saved.machine:
                raise RefusedError(
                    f"the save {name} cannot be resumed: it was saved by a Bootwright that starts"
                    " QEMU with other options; save it again"
                )
            qemu.clear(directory)
            assert plan.overlay is not None
            if _copy(saves / saved.disk, plan.overlay) != saved.disk_sha256:
                plan.overlay.unlink()
                raise RefusedError(
                    f"the save {name} cannot be resumed: its disk {saved.disk} is damaged;"
                    " save it again"
                )
            _copy(saves / saved.console, plan.console_log)
            (directory / qemu.CARD_RECORD).write_text(saved.record, encoding="utf-8")
            qemu.copy_boot_files(plan)
            emulator = qemu.launch(plan, card, settings)
            qmp_command(plan.control_socket, "cont")
            monitor_command(plan.control_socket, f"delvm {STATE_TAG}", timeout=SAVE_S)
    return emulator


def load(name: str, saves: Path | None = None) -> Save:
    """Return a save.

    Raises:
        InputError: there is none of that name.
        RefusedError: it is damaged.
    """
    saves = saves or saves_dir()
    path = saves / f"{check_name(name)}.json"
    try:
        return parse_save(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError:
        there = ", ".join(names(saves)) or "none"
        raise InputError(f"there is no save {name!r}; there are: {there}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot read it: {error.strerror}") from error
    except UnicodeDecodeError:
        raise RefusedError(f"{path}: this save is damaged; save it again") from None


def names(saves: Path | None = None) -> list[str]:
    """Return the names of all saves."""
    return sorted(path.stem for path in (saves or saves_dir()).glob("*.json"))


def remove(name: str, saves: Path | None = None) -> None:
    """Remove a save.

    Raises:
        InputError: there is none of that name.
    """
    saves = saves or saves_dir()
    path = saves / f"{check_name(name)}.json"
    with exclusive(saves / "lock", "saving or removing an emulator"):
        try:
            path.unlink()
        except FileNotFoundError:
            there = ", ".join(names(saves)) or "none"
            raise InputError(f"there is no save {name!r}; there are: {there}") from None
        _remove_unnamed(saves)


def look_here(saved: Save, saves: Path) -> Here:
    """Return what :func:`bootwright.emulator.saves.obstacle` compares a save with."""
    disk, image = saves / saved.disk, Path(saved.image.path)
    return Here(
        qemu=qemu_version(),
        image=_identity(image, _NO_DIGEST) if image.is_file() else None,
        disk_size=disk.stat().st_size if disk.is_file() else None,
    )


def qemu_version() -> str:
    """Return the version of this machine's QEMU, such as ``7.2.22``.

    Raises:
        FailedError: QEMU is missing.
    """
    printed = run(["qemu-system-arm", "--version"]).text
    found = re.search(r"version (\S+(?: \([^)]*\))?)", printed)
    return found[1] if found else printed.strip().partition("\n")[0]


@contextlib.contextmanager
def _stopped_with_state(emulator: Emulator) -> Iterator[None]:
    """Hold the guest still, with its memory in the overlay, and let it go on afterwards."""
    control = emulator.directory / "qmp.sock"
    qmp_command(control, "stop")
    try:
        monitor_command(control, f"savevm {STATE_TAG}", timeout=SAVE_S)
        try:
            yield
        finally:
            monitor_command(control, f"delvm {STATE_TAG}", timeout=SAVE_S)
    finally:
        qmp_command(control, "cont")


def _settings_and_machine(emulator: Emulator) -> tuple[EmulatorSettings, tuple[str, ...]]:
    settings = EmulatorSettings(
        ram=emulator.ram,
        cpus=emulator.cpus,
        host_cpus=emulator.cpus,
        serial_port=emulator.serial_port,
        ssh_port=emulator.ssh_port,
        directory=emulator.directory,
        snapshot=True,
    )
    return settings, emulator_plan(read_card(emulator.image), settings).machine


def _record(emulator: Emulator) -> str:
    with contextlib.suppress(FileNotFoundError):
        return (emulator.directory / qemu.CARD_RECORD).read_text(encoding="utf-8")
    return "{}\n"


def _check_image(saved: Save) -> None:
    image = Path(saved.image.path)
    if saved.image.unchanged(_identity(image, saved.image.sha256)):
        return
    if _data_digest(image) != saved.image.sha256:
        raise RefusedError(
            f"the save {saved.name} cannot be resumed: its card image {image} has changed since;"
            " save it again"
        )


def _identity(image: Path, digest: str) -> ImageIdentity:
    found = image.stat()
    return ImageIdentity(
        path=str(image),
        size=found.st_size,
        mtime_ns=found.st_mtime_ns,
        ctime_ns=found.st_ctime_ns,
        inode=found.st_ino,
        sha256=digest,
    )


def _stretches(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Return offset and end of each stretch of a file that is not a hole; lseek(2)."""
    end = 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError:
            return
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end


def _data_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for start, end in _stretches(file.fileno(), path.stat().st_size):
            file.seek(start)
            while start < end:
                piece = file.read(min(_PIECE, end - start))
                # A hole may be filled with zeros by a copy, and the other way round.
                if piece.strip(b"\0"):
                    digest.update(b"%d:" % start)
                    digest.update(piece)
                start += len(piece)
    return digest.hexdigest()


def _copy(source: Path, target: Path) -> str:
    """Copy a file for the operator alone; return the digest of all that was read.

    Holes stay holes. The copy is on the disk afterwards.
    """
    digest = hashlib.sha256()
    with source.open("rb") as reading:
        target.touch(mode=0o600, exist_ok=False)
        with target.open("r+b") as writing:
            while piece := reading.read(_PIECE):
                digest.update(piece)
                if piece.strip(b"\0"):
                    writing.write(piece)
                else:
                    writing.seek(len(piece), os.SEEK_CUR)
            writing.truncate()
    sync_path(target)
    return digest.hexdigest()


def _check_disk(disk: Path) -> None:
    done = run(["qemu-img", "check", "-q", str(disk)], check=False)
    # qemu-img(1): 3 is leaked clusters, which waste space and harm nothing.
    if done.returncode not in (0, 3):
        message = done.stderr.decode("utf-8", "replace").strip()
        raise FailedError(f"the copy of the emulator's disk is not sound: {message}")


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text + "\n", encoding="utf-8")
    new.chmod(0o600)
    sync_path(new)
    new.replace(path)
    sync_path(path.parent)


def _remove_unnamed(saves: Path) -> None:
    """Remove the files that no save names: what was replaced, or left by an interruption.

    Nothing is removed while the description of a save cannot be read: it may be mended.
    """
    try:
        every = [load(name, saves) for name in names(saves)]
    except BootwrightError:
        return
    named = {name for saved in every for name in (saved.disk, saved.console)}
    for path in saves.iterdir():
        if path.suffix in (".qcow2", ".log", ".new") and path.name not in named:
            path.unlink(missing_ok=True)
