"""``inv emulate``: boot a card image under QEMU, save it while it runs, resume it later."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bootwright.card.record import RECORD_PATH
from bootwright.console.boot import State
from bootwright.core import paths
from bootwright.core.board import load_board
from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import BootwrightError, InputError
from bootwright.core.report import Reporter
from bootwright.core.result import to_document
from bootwright.core.units import MIB, format_size
from bootwright.emulator.io import qemu, saves
from bootwright.emulator.io.card_image import open_root
from bootwright.emulator.io.clock import CLOCK_S, set_clock
from bootwright.emulator.io.qemu import Emulator
from bootwright.emulator.io.wait import wait_until
from bootwright.emulator.saves import obstacle
from bootwright.remote.io.connection import Remote

SCHEMA = "bootwright.emulator/1"

STOP_SCHEMA = "bootwright.emulator-stop/1"

SAVES_SCHEMA = "bootwright.emulator-saves/1"

DEFAULT_BOARD = "odroid-xu3"


@dataclass(frozen=True)
class EmulateOptions:
    """What the command line says. ``timeout`` in seconds."""

    device: str
    snapshot: bool = False
    serial_port: int | None = None
    ssh_port: int | None = None
    timeout: float = 600.0


@dataclass(frozen=True)
class EmulateResult:
    """A running emulator that has booted to its first prompt.

    Attributes:
        emulator: the process, its ports and its files.
        state: what the console waits for: the passphrase, or a login.
    """

    emulator: Emulator
    state: State

    @property
    def is_up(self) -> bool:
        """Whether the guest has booted, so that its SSH server can be reached."""
        return self.state is State.LOGIN

    def document(self) -> dict[str, Any]:
        """Return it as one JSON document."""
        return {
            **to_document(SCHEMA, self.emulator),
            "console_log": str(self.emulator.console_log),
            "state": self.state.value,
        }

    def lines(self) -> list[str]:
        """Return it as lines for the operator, with the commands to go on with."""
        asks = self.state is State.PROMPT
        following = "inv unlock emulator" if asks else "inv ssh emulator"
        waits = "asks for the passphrase" if asks else "is up"
        return [
            f"the emulator {waits}; go on with: {following}",
            f"serial console  socket://127.0.0.1:{self.emulator.serial_port}"
            f" (log: {paths.display_path(self.emulator.console_log)})",
            f"SSH             127.0.0.1 port {self.emulator.ssh_port}",
            "stop it with    inv emulate --stop",
        ]


@dataclass(frozen=True)
class StopResult:
    """Whether an emulator ran, which has ended then."""

    stopped: bool

    def document(self) -> dict[str, Any]:
        """Return it as one JSON document."""
        return to_document(STOP_SCHEMA, self)

    def lines(self) -> list[str]:
        """Return it as a line for the operator."""
        return ["the emulator has ended" if self.stopped else "no emulator was running"]


@dataclass(frozen=True)
class ListedSave:
    """A save as it is listed.

    Attributes:
        name: its name.
        saved_at: when it was saved, ISO 8601, UTC; empty if that cannot be read.
        image: the card image that it is based on, likewise.
        size: bytes that it takes on the disk.
        obstacle: why it cannot be resumed, and what to do; empty if it can be.
    """

    name: str
    saved_at: str
    image: str
    size: int
    obstacle: str


@dataclass(frozen=True)
class Saves:
    """The saves that there are, or the one that was made."""

    saves: tuple[ListedSave, ...]

    def document(self) -> dict[str, Any]:
        """Return them as one JSON document."""
        return to_document(SAVES_SCHEMA, self)

    def lines(self) -> list[str]:
        """Return what a person reads."""
        if not self.saves:
            return ["nothing is saved; inv emulate --save NAME saves the emulator that runs"]
        shown = []
        for saved in self.saves:
            about = f"{format_size(saved.size)}, {saved.saved_at or 'when is not known'}"
            shown.append(f"{saved.name}  {about}  {paths.display_path(saved.image)}".rstrip())
            if saved.obstacle:
                shown.append(f"  cannot be resumed: {saved.obstacle}")
        return shown


def check_one_action(given: Mapping[str, object]) -> None:
    """Pass when the command line asks for no more than one thing.

    Args:
        given: the options that say what to do, and their values.

    Raises:
        InputError: two of them were given.
    """
    named = [option for option, value in given.items() if value]
    if len(named) > 1:
        raise InputError(f"{named[0]} and {named[1]} cannot be given together")


def save(name: str, reporter: Reporter) -> Saves:
    """Save the emulator that runs.

    Raises:
        InputError, RefusedError, FailedError: as :func:`bootwright.emulator.io.saves.save`.
    """
    return Saves((_listed(saves.save(name, reporter).name),))


def remove(name: str) -> None:
    """Remove a save.

    Raises:
        InputError: there is none of that name.
    """
    saves.remove(name)


def listed_saves() -> Saves:
    """Return the saves that there are, the newest first.

    Raises:
        FailedError: QEMU is missing.
    """
    found = [_listed(name) for name in saves.names()]
    return Saves(tuple(sorted(found, key=lambda saved: saved.saved_at, reverse=True)))


def _listed(name: str) -> ListedSave:
    folder = saves.saves_dir()
    size = sum(
        path.stat().st_blocks * 512
        for path in folder.iterdir()
        if path.name == f"{name}.json" or path.name.startswith(f"{name}-")
    )
    try:
        saved = saves.load(name)
    except BootwrightError as error:
        return ListedSave(name, "", "", size, str(error))
    why = obstacle(saved, saves.look_here(saved, folder))
    return ListedSave(name, saved.saved_at, saved.image.path, size, why)


def resume(name: str, options: EmulateOptions, reporter: Reporter) -> EmulateResult:
    """Start the emulator from a save; return once its state is known.

    Raises:
        InputError: there is no such save.
        RefusedError: an emulator runs already, or the save cannot be resumed.
        FailedError: QEMU did not start.
    """
    running = saves.resume(
        name, reporter, serial_port=options.serial_port, ssh_port=options.ssh_port
    )
    state = wait_until(running, "ready", timeout=options.timeout, reporter=reporter)
    return EmulateResult(running, state)


def set_clock_or_warn(endpoint: Endpoint, reporter: Reporter) -> None:
    """Give a resumed guest the time; where that cannot be done, say how it is done by hand."""
    try:
        with Remote(endpoint, wait=CLOCK_S) as remote, reporter.step("Set its clock"):
            set_clock(remote)
    except BootwrightError as error:
        reporter.warn(
            f"its clock is that of the moment of saving ({error}); set it with"
            f" inv ssh emulator --command 'sudo date -s @SECONDS'"
        )


def stop(reporter: Reporter) -> StopResult:
    """End the emulator, if one runs.

    Raises:
        FailedError: it could not be ended.
    """
    return StopResult(qemu.stop(reporter))


def emulate(options: EmulateOptions, reporter: Reporter) -> EmulateResult:
    """Boot the image in the background; return when it asks for a passphrase or a login.

    Raises:
        InputError: the image is none, is unfinished, or its kernel has no virtio.
        RefusedError: an emulator runs already.
        FailedError: QEMU did not start, or the boot failed.
    """
    if not options.device:
        raise InputError("--device is missing: name the card image to boot (x.img)")
    image = Path(options.device)
    record = _record(image)
    board = load_board(paths.checkout() / "board", record.get("board", DEFAULT_BOARD))
    running = qemu.start(
        image,
        ram=board.ram_mib * MIB,
        cpus=board.cores,
        reporter=reporter,
        snapshot=options.snapshot,
        serial_port=options.serial_port,
        ssh_port=options.ssh_port,
    )
    (running.directory / qemu.CARD_RECORD).write_text(json.dumps(record) + "\n", encoding="utf-8")
    with reporter.step("Boot to the first prompt"):
        state = wait_until(running, "ready", timeout=options.timeout, reporter=reporter)
    return EmulateResult(running, state)


def _record(image: Path) -> dict[str, Any]:
    root = open_root(image.absolute())
    if not root.exists(RECORD_PATH):
        return {}
    record: dict[str, Any] = json.loads(root.read_file(RECORD_PATH))
    return record
