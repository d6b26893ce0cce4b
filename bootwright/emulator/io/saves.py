"""Saving a running emulator, and starting one from a save.

A save is three files in ``build/emulator/saves``: the description ``NAME.json``, the guest's
memory and disk (qcow2, based on the card image), and what its console had printed. The
description contains the names of the other two and is replaced last, in one step: if saving is
interrupted, an earlier save of that name is unchanged.

The memory contains the key of the open volume, so only the operator may read these files.
"""

import contextlib
import errno
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from bootwright.core.errors import BootwrightError, FailedError, InputError, RefusedError
from bootwright.core.io.fsync import replace_file, sync_path
from bootwright.core.io.lock import exclusive
from bootwright.core.io.process import run
from bootwright.core.io.signals import exit_on_signal, without_signals
from bootwright.core.report import Reporter
from bootwright.emulator.io import qemu
from bootwright.emulator.io.card_image import read_card
from bootwright.emulator.io.qemu import Emulator
from bootwright.emulator.io.qmp import monitor_command, qmp_command
from bootwright.emulator.plan import (
    CONSOLE_LOG,
    OVERLAY,
    STATE_TAG,
    EmulatorSettings,
    emulator_plan,
    machine_options,
)
from bootwright.emulator.saves import (
    SCHEMA,
    CurrentState,
    ImageIdentity,
    Save,
    SavedFile,
    check_name,
    is_name,
    obstacle,
    parse_save,
    unused_files,
)

SAVE_TIMEOUT_S = 300.0
"""Seconds that QEMU may take to write the guest's memory; about 1.5 for 2 GiB."""

_BLOCK = 4 * 1024 * 1024
"""Bytes read at a time."""


def saves_dir() -> Path:
    """Return the default directory of the saves."""
    return qemu.emulator_dir() / "saves"


def save(
    name: str, reporter: Reporter, *, directory: Path | None = None, saves: Path | None = None
) -> Save:
    """Save the running emulator, which continues afterwards.

    Call it in the main thread only, because it handles signals: after SIGTERM or SIGHUP it cleans
    up, as after Ctrl-C.

    Args:
        name: of the save; an earlier save of that name is replaced.
        reporter: shows the progress.
        directory: where the emulator's files are; ``build/emulator`` if ``None``.
        saves: the directory of the saves; :func:`saves_dir` if ``None``.

    Raises:
        InputError: ``name`` is not valid, or no emulator runs.
        RefusedError: the emulator writes to the card image itself.
        FailedError: QEMU or the disk failed; an earlier save of that name is unchanged.
        SystemExit: SIGTERM or SIGHUP came; an earlier save of that name is unchanged.
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
    with exit_on_signal(), exclusive(saves / "lock", "saving or removing an emulator"):
        part = f"{name}-{secrets.token_hex(4)}"
        try:
            with reporter.step(f"Save the emulator as {name}"):
                with _paused_with_state(emulator):
                    disk = _copy(emulator.directory / OVERLAY, saves / f"{part}.qcow2")
                    console = _copy(emulator.console_log, saves / f"{part}.log")
                _check_disk(saves / disk.name)
                made = Save(
                    schema=SCHEMA,
                    name=name,
                    saved_at=datetime.now(UTC).isoformat(timespec="seconds"),
                    qemu=_running_version(emulator),
                    machine=machine_options(read_card(emulator.image), emulator.ram, emulator.cpus),
                    ram=emulator.ram,
                    cpus=emulator.cpus,
                    image=_identity(emulator.image),
                    disk=disk,
                    console=console,
                    record=_record(emulator),
                )
                text = made.model_dump_json(by_alias=True, indent=2) + "\n"
                replace_file(saves / f"{name}.json", text, 0o600)
        except OSError as error:
            raise FailedError(f"{saves}: cannot save there: {error.strerror}") from error
        finally:
            _remove_unused(saves)
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
    """Start an emulator that continues from a save; the save itself is not changed.

    The guest's clock shows the time of saving: see :func:`bootwright.remote.io.clock.set_clock`.
    Call it in the main thread only, as :func:`save`. If it fails, it leaves no running emulator
    and no disk of an emulator.

    Args:
        name: of the save.
        reporter: shows the progress.
        directory: where the emulator's files are; ``build/emulator`` if ``None``.
        saves: the directory of the saves; :func:`saves_dir` if ``None``.
        serial_port: TCP port for the console on 127.0.0.1; a free one if ``None``.
        ssh_port: TCP port for the guest's SSH server on 127.0.0.1; a free one if ``None``.

    Raises:
        InputError: there is no save of that name.
        RefusedError: an emulator runs already; or the save cannot be resumed, for a reason in the
            message.
        FailedError: QEMU is missing or did not start, or a file could not be read or written.
        SystemExit: SIGTERM or SIGHUP came.
    """
    saves = (saves or saves_dir()).absolute()
    saved = load(name, saves)
    directory = (directory or qemu.emulator_dir()).absolute()
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with exit_on_signal(), exclusive(directory / "lock", "starting the emulator"):
        qemu.refuse_if_running(directory)
        try:
            with reporter.step(f"Resume {name}"):
                current = current_state(saved, saves, qemu_version())
                why = obstacle(saved, current)
                if why or current.card is None:
                    raise RefusedError(f"the save {name} cannot be resumed: {why}")
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
                plan = emulator_plan(current.card, settings)
                with _clean_up_on_failure(directory, reporter):
                    qemu.remove_leftovers(directory)
                    _copy_checked(saved, saves, directory)
                    (directory / qemu.CARD_RECORD).write_text(saved.record, encoding="utf-8")
                    qemu.copy_boot_files(plan)
                    emulator = qemu.launch(plan, current.card, settings)
                    qmp_command(plan.control_socket, "cont")
                    monitor_command(
                        plan.control_socket, f"delvm {STATE_TAG}", timeout=SAVE_TIMEOUT_S
                    )
        except OSError as error:
            raise FailedError(
                f"the save {name} cannot be resumed in {directory}: {error.strerror}"
            ) from error
    return emulator


def load(name: str, saves: Path | None = None) -> Save:
    """Return the description of a save.

    Raises:
        InputError: there is no save of that name.
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
    stems = [path.stem for path in (saves or saves_dir()).glob("*.json")]
    return sorted(stem for stem in stems if is_name(stem))


def remove(name: str, saves: Path | None = None) -> None:
    """Remove a save.

    Raises:
        InputError: there is no save of that name.
    """
    saves = saves or saves_dir()
    path = saves / f"{check_name(name)}.json"
    with exclusive(saves / "lock", "saving or removing an emulator"):
        try:
            path.unlink()
        except FileNotFoundError:
            there = ", ".join(names(saves)) or "none"
            raise InputError(f"there is no save {name!r}; there are: {there}") from None
        _remove_unused(saves)


def disk_usage(name: str, saves: Path | None = None) -> int:
    """Return the bytes that a save uses on the disk, with all its files."""
    saves = saves or saves_dir()
    paths = [saves / f"{name}.json"]
    with contextlib.suppress(BootwrightError):
        paths += [saves / file.name for file in load(name, saves).files]
    # stat(2) counts blocks of 512 bytes.
    return sum(path.stat().st_blocks * 512 for path in paths if path.is_file())


def resume_obstacle(saved: Save, version: str, saves: Path | None = None) -> str:
    """Return why :func:`resume` would refuse a save; empty if it would not.

    The digests of the save's own files are not compared, because that takes a second for each
    save; :func:`resume` compares them.

    Args:
        saved: the save.
        version: of this machine's QEMU; see :func:`qemu_version`.
        saves: the directory of the saves; :func:`saves_dir` if ``None``.
    """
    try:
        return obstacle(saved, current_state(saved, saves or saves_dir(), version))
    except BootwrightError as error:
        return str(error)
    except OSError as error:
        return f"{error.filename or saved.image.path}: cannot read it: {error.strerror}"


def current_state(saved: Save, saves: Path, version: str) -> CurrentState:
    """Return the facts that :func:`bootwright.emulator.saves.obstacle` compares a save with.

    The image is read (about 0.4 s) only if its size or times differ from those in the save.

    Raises:
        BootwrightError: the image has the right data, but cannot be read as a card.
        OSError: the image cannot be read.
    """
    image = Path(saved.image.path)
    found = _identity(image, saved.image) if image.is_file() else None
    same = found is not None and found.sha256 == saved.image.sha256
    return CurrentState(
        qemu=version,
        sizes={
            file.name: (saves / file.name).stat().st_size
            for file in saved.files
            if (saves / file.name).is_file()
        },
        image=found,
        card=read_card(image) if same else None,
    )


def qemu_version() -> str:
    """Return the version of this machine's QEMU, such as ``7.2.22``.

    Raises:
        FailedError: QEMU is missing.
    """
    printed = run(["qemu-system-arm", "--version"]).text
    found = re.search(r"version (\d+\.\d+\.\d+)", printed)
    if found is None:
        raise FailedError(f"qemu-system-arm --version prints no version: {printed.strip()!r}")
    return found[1]


def _running_version(emulator: Emulator) -> str:
    """Return the version of the running QEMU; the program on the disk may be newer."""
    numbers = qmp_command(emulator.directory / "qmp.sock", "query-version")["qemu"]
    return f"{numbers['major']}.{numbers['minor']}.{numbers['micro']}"


@contextlib.contextmanager
def _paused_with_state(emulator: Emulator) -> Iterator[None]:
    """Pause the guest and write its memory into the overlay; at the end, undo both."""
    control = emulator.directory / "qmp.sock"
    try:
        qmp_command(control, "stop")
        monitor_command(control, f"savevm {STATE_TAG}", timeout=SAVE_TIMEOUT_S)
        yield
    finally:
        with without_signals():
            try:
                # No error if there is no such state. QEMU answers only after `savevm` has ended.
                monitor_command(control, f"delvm {STATE_TAG}", timeout=SAVE_TIMEOUT_S)
            finally:
                qmp_command(control, "cont")


@contextlib.contextmanager
def _clean_up_on_failure(directory: Path, reporter: Reporter) -> Iterator[None]:
    """If the body of the context fails, end the emulator and remove its disk."""
    try:
        yield
    except BaseException:
        with without_signals():
            if not qemu.stop(reporter, directory, power_down_s=0):
                (directory / OVERLAY).unlink(missing_ok=True)
        raise


def _record(emulator: Emulator) -> str:
    with contextlib.suppress(FileNotFoundError):
        return (emulator.directory / qemu.CARD_RECORD).read_text(encoding="utf-8")
    return "{}\n"


def _identity(image: Path, known: ImageIdentity | None = None) -> ImageIdentity:
    """Return the identity of an image; the digest of ``known`` is used if all else is the same."""
    status = image.stat()
    found = ImageIdentity(
        path=str(image),
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        inode=status.st_ino,
        sha256=known.sha256 if known else "0" * 64,
    )
    if known and found.same_except_digest(known):
        return found
    return found.model_copy(update={"sha256": _data_digest(image)})


def _data_ranges(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield start and end, in bytes, of each part of a file that is not a hole; see lseek(2)."""
    end = 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError:
            return
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end


def _data_digest(path: Path) -> str:
    """Return the digest that :class:`ImageIdentity` describes."""
    size = path.stat().st_size
    digest = hashlib.sha256(b"%d bytes:" % size)
    with path.open("rb") as file:
        for start, end in _data_ranges(file.fileno(), size):
            file.seek(start)
            while start < end:
                block = file.read(min(_BLOCK, end - start))
                if not block:
                    raise OSError(errno.EIO, "it became shorter while it was read", str(path))
                # Zeros are left out: copying may turn holes into zeros, or zeros into holes.
                if block.strip(b"\0"):
                    digest.update(b"%d:" % start)
                    digest.update(block)
                start += len(block)
    return digest.hexdigest()


def _copy(source: Path, target: Path) -> SavedFile:
    """Copy a file so that only the operator may read it; return the copy's name, size and digest.

    Blocks of zeros become holes. The copy is on the disk when it returns.
    """
    digest = hashlib.sha256()
    with source.open("rb") as reading:
        target.touch(mode=0o600, exist_ok=False)
        with target.open("r+b") as writing:
            while block := reading.read(_BLOCK):
                digest.update(block)
                if block.strip(b"\0"):
                    writing.write(block)
                else:
                    writing.seek(len(block), os.SEEK_CUR)
            size = writing.truncate()
    sync_path(target)
    return SavedFile(name=target.name, size=size, sha256=digest.hexdigest())


def _copy_checked(saved: Save, saves: Path, directory: Path) -> None:
    """Copy the files of a save to the emulator's directory.

    Raises:
        RefusedError: one of them is damaged.
    """
    for file, target in ((saved.disk, OVERLAY), (saved.console, CONSOLE_LOG)):
        if _copy(saves / file.name, directory / target).sha256 != file.sha256:
            raise RefusedError(
                f"the save {saved.name} cannot be resumed: its file {file.name} is damaged;"
                " save it again"
            )


def _check_disk(disk: Path) -> None:
    done = run(["qemu-img", "check", "-q", str(disk)], check=False)
    # qemu-img(1): 3 is leaked clusters, which only waste space.
    if done.returncode not in (0, 3):
        message = done.stderr.decode("utf-8", "replace").strip()
        raise FailedError(f"the copy of the emulator's disk is damaged: {message}")


def _remove_unused(saves: Path) -> None:
    """Remove the files that belong to no save, because it was replaced or saving was interrupted.

    Nothing is removed while the description of a save cannot be read: the operator may repair it.
    """
    try:
        all_saves = [load(name, saves) for name in names(saves)]
    except BootwrightError:
        return
    for name in unused_files([path.name for path in saves.iterdir()], all_saves):
        (saves / name).unlink(missing_ok=True)
