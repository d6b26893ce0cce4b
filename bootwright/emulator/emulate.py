"""``inv emulate``: boot a card image under QEMU, save it while it runs, resume it later."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bootwright.card.record import RECORD_PATH
from bootwright.console.boot import State
from bootwright.core import paths
from bootwright.core.board import load_board
from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import BootwrightError, InputError
from bootwright.core.io.fsync import replace_file
from bootwright.core.report import Reporter
from bootwright.core.result import to_document
from bootwright.core.units import MIB, format_size
from bootwright.emulator.io import qemu, saves
from bootwright.emulator.io.card_image import open_root
from bootwright.emulator.io.qemu import Emulator
from bootwright.emulator.io.wait import wait_until
from bootwright.remote.io.clock import CLOCK_TIMEOUT_S, set_clock
from bootwright.remote.io.connection import Remote

SCHEMA = "bootwright.emulator/1"

STOP_SCHEMA = "bootwright.emulator-stop/1"

SAVES_SCHEMA = "bootwright.emulator-saves/1"

DEFAULT_BOARD = "odroid-xu3"


@dataclass(frozen=True)
class EmulateOptions:
    """The options of the command line; ``timeout`` is in seconds."""

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
        state: which prompt the console shows: the passphrase prompt or the login prompt.
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
        """Return it as lines for the operator, with the commands that can follow."""
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
    """The result of ``--stop``.

    Attributes:
        stopped: an emulator was running and has ended; ``False`` if none was running.
    """

    stopped: bool

    def document(self) -> dict[str, Any]:
        """Return it as one JSON document."""
        return to_document(STOP_SCHEMA, self)

    def lines(self) -> list[str]:
        """Return it as a line for the operator."""
        return ["the emulator has ended" if self.stopped else "no emulator was running"]


@dataclass(frozen=True)
class ListedSave:
    """A save in the list of saves.

    Attributes:
        name: its name.
        saved_at: when it was saved, ISO 8601, UTC; empty if its description is damaged.
        image: the card image that it is based on; empty if its description is damaged.
        size: bytes that it uses on the disk.
        obstacle: why it cannot be resumed, and what to do; empty if it can be.
    """

    name: str
    saved_at: str
    image: str
    size: int
    obstacle: str


@dataclass(frozen=True)
class Saves:
    """All saves, or the one that was just made."""

    saves: tuple[ListedSave, ...]

    def document(self) -> dict[str, Any]:
        """Return them as one JSON document."""
        return to_document(SAVES_SCHEMA, self)

    def lines(self) -> list[str]:
        """Return them as lines for the operator."""
        if not self.saves:
            return ["there are no saves; inv emulate --save NAME saves the running emulator"]
        shown = []
        for saved in self.saves:
            about = f"{format_size(saved.size)}, {saved.saved_at or 'time not known'}"
            shown.append(f"{saved.name}  {about}  {paths.display_path(saved.image)}".rstrip())
            if saved.obstacle:
                shown.append(f"  cannot be resumed: {saved.obstacle}")
        return shown


_PORTS_AND_TIME = ("--serial-port", "--ssh-port", "--timeout")

_OPTIONS_OF = {
    "--device": ("--snapshot", *_PORTS_AND_TIME),
    "--resume": ("--identity", *_PORTS_AND_TIME),
    **dict.fromkeys(("--save", "--list", "--remove", "--stop"), ()),
}
"""The options that are allowed with each action; an action is named by its own option."""


def check_options(given: Mapping[str, object]) -> None:
    """Check that the command line has at most one action, and only options of that action.

    Args:
        given: all options by name, with their values; empty or ``False`` if absent.

    Raises:
        InputError: two actions were given, or an option of another action.
    """
    named = [option for option, value in given.items() if value]
    actions = [option for option in named if option in _OPTIONS_OF]
    if len(actions) > 1:
        raise InputError(f"{actions[0]} and {actions[1]} cannot be given together")
    for option in named:
        if actions and option != actions[0] and option not in _OPTIONS_OF[actions[0]]:
            owners = " and ".join(name for name, of_it in _OPTIONS_OF.items() if option in of_it)
            raise InputError(
                f"{option} cannot be given with {actions[0]}: it is an option of {owners}"
            )


def save(name: str, reporter: Reporter) -> Saves:
    """Save the running emulator.

    Raises:
        InputError, RefusedError, FailedError: as :func:`bootwright.emulator.io.saves.save`.
    """
    return Saves((_list_entry(saves.save(name, reporter).name),))


def remove(name: str) -> None:
    """Remove a save.

    Raises:
        InputError: there is no save of that name.
    """
    saves.remove(name)


def listed_saves() -> Saves:
    """Return all saves, the newest first.

    Raises:
        FailedError: QEMU is missing.
    """
    found = [_list_entry(name) for name in saves.names()]
    return Saves(tuple(sorted(found, key=lambda saved: saved.saved_at, reverse=True)))


def _list_entry(name: str) -> ListedSave:
    size = saves.disk_usage(name)
    try:
        saved = saves.load(name)
    except BootwrightError as error:
        return ListedSave(name, "", "", size, str(error))
    obstacle = saves.resume_obstacle(saved, saves.qemu_version())
    return ListedSave(name, saved.saved_at, saved.image.path, size, obstacle)


def resume(name: str, options: EmulateOptions, reporter: Reporter) -> EmulateResult:
    """Start the emulator from a save; return when the state of its console is known.

    Raises:
        InputError: there is no save of that name.
        RefusedError: an emulator runs already, or the save cannot be resumed.
        FailedError: QEMU did not start.
    """
    running = saves.resume(
        name, reporter, serial_port=options.serial_port, ssh_port=options.ssh_port
    )
    state = wait_until(running, "ready", timeout=options.timeout, reporter=reporter)
    return EmulateResult(running, state)


def set_clock_or_warn(find_endpoint: Callable[[], Endpoint], reporter: Reporter) -> None:
    """Set a resumed guest's clock; if that fails, warn, and show the command that sets it.

    Args:
        find_endpoint: returns the guest's endpoint; may raise a ``BootwrightError``.
        reporter: shows the progress and the warning.
    """
    try:
        with (
            Remote(find_endpoint(), wait=CLOCK_TIMEOUT_S) as remote,
            reporter.step("Set its clock"),
        ):
            set_clock(remote)
    except BootwrightError as error:
        reporter.warn(
            f"the guest's clock still shows the time of saving; it could not be set: {error}\n"
            'set it, as root, with: inv ssh emulator --command "date -u -s @$(date +%s)"'
        )


def stop(reporter: Reporter) -> StopResult:
    """End the running emulator, if there is one.

    Raises:
        FailedError: it could not be ended.
    """
    return StopResult(qemu.stop(reporter))


def emulate(options: EmulateOptions, reporter: Reporter) -> EmulateResult:
    """Boot the image in the background; return when it shows the passphrase or the login prompt.

    Raises:
        InputError: the file is not a card image, is unfinished, or its kernel has no virtio.
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
    replace_file(running.directory / qemu.CARD_RECORD, json.dumps(record) + "\n")
    with reporter.step("Boot to the first prompt"):
        state = wait_until(running, "ready", timeout=options.timeout, reporter=reporter)
    return EmulateResult(running, state)


def _record(image: Path) -> dict[str, Any]:
    root = open_root(image.absolute())
    if not root.exists(RECORD_PATH):
        return {}
    try:
        record: dict[str, Any] = json.loads(root.read_file(RECORD_PATH))
    except ValueError as error:
        raise InputError(f"{image}: {RECORD_PATH} on it is damaged: {error}") from None
    return record
