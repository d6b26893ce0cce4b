"""The emulator: one QEMU in the background that boots a card image.

Its files are in ``build/emulator``: kernel and initial RAM disk copied out of the
image, ``console.log``, the control socket, and ``state.json``, by which later
commands find it again. The time at which the process started distinguishes it from a
later one with the same id.
"""

import contextlib
import json
import os
import select
import signal
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bootwright.console.boot import BootWatcher
from bootwright.console.io.log_file import ConsoleLog
from bootwright.core.endpoints import Endpoint, SshEndpoint
from bootwright.core.errors import FailedError, RefusedError
from bootwright.core.io.fsync import replace_file
from bootwright.core.io.lock import exclusive
from bootwright.core.io.process import failure, run
from bootwright.core.paths import build_dir
from bootwright.core.report import Reporter
from bootwright.core.result import to_json
from bootwright.core.run_log import event
from bootwright.core.target_names import EMULATOR
from bootwright.emulator.io.card_image import open_root, read_card
from bootwright.emulator.io.qmp import qmp_command
from bootwright.emulator.plan import (
    CONSOLE_LOG,
    OVERLAY,
    CardFacts,
    EmulatorPlan,
    EmulatorSettings,
    emulator_plan,
    used_cpus,
)

CARD_RECORD = "card.json"
"""The file, in the emulator's directory, that says which target and board the card is for."""

LOOPBACK = "127.0.0.1"

POWER_DOWN_S = 90.0
"""Seconds that the guest gets to shut down; about 10 under emulation, more with containers."""

QUIT_S = 10.0
"""Seconds that QEMU gets to end after the command to do so."""


@dataclass(frozen=True)
class Emulator:
    """A running emulator.

    Attributes:
        pid: its process.
        process_start: when that process started, in the kernel's clock ticks since boot.
        image: the card image it boots.
        snapshot: what the guest writes is discarded at the end.
        ram: bytes of memory.
        cpus: cores of the guest.
        serial_port: TCP port of the serial console on 127.0.0.1.
        ssh_port: TCP port on 127.0.0.1 that leads to the guest's SSH server.
        started_at: when it was started, ISO 8601, UTC.
        host_keys: the SSH server's public keys as they were in the image at the start.
        directory: where its files are.
    """

    pid: int
    process_start: int
    image: Path
    snapshot: bool
    ram: int
    cpus: int
    serial_port: int
    ssh_port: int
    started_at: str
    host_keys: tuple[str, ...]
    directory: Path

    @property
    def console_log(self) -> Path:
        """The file that holds all that the console printed."""
        return self.directory / CONSOLE_LOG

    @property
    def alive(self) -> bool:
        """Whether its process still runs."""
        return _process_start(self.pid) == self.process_start


def emulator_dir() -> Path:
    """Return where the emulator's files are by default."""
    return build_dir() / "emulator"


def start(
    image: Path,
    *,
    ram: int,
    cpus: int,
    reporter: Reporter,
    snapshot: bool = False,
    serial_port: int | None = None,
    ssh_port: int | None = None,
    directory: Path | None = None,
) -> Emulator:
    """Boot a card image in the background and return at once.

    Args:
        image: the card image file.
        ram: bytes of memory, the board's.
        cpus: cores of the board; no more than this machine has are used.
        reporter: shows the progress.
        snapshot: discard what the guest writes when it ends.
        serial_port: TCP port for the console on 127.0.0.1; a free one if ``None``.
        ssh_port: TCP port for the guest's SSH server, likewise.
        directory: where to keep its files; ``build/emulator`` if ``None``.

    Raises:
        InputError: the image cannot be booted in the emulator.
        RefusedError: an emulator runs already, or another process uses the image.
        FailedError: QEMU is missing or did not start.
    """
    directory = (directory or emulator_dir()).absolute()
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with exclusive(directory / "lock", "starting the emulator"):
        refuse_second(directory)
        with reporter.step("Reading the card image"):
            card = read_card(image)
            settings = EmulatorSettings(
                ram=ram,
                cpus=cpus,
                host_cpus=os.cpu_count() or 1,
                serial_port=serial_port or free_port(),
                ssh_port=ssh_port or free_port(),
                directory=directory,
                snapshot=snapshot,
            )
            plan = emulator_plan(card, settings)
            copy_boot_files(plan)
        with reporter.step("Starting QEMU"):
            clear(directory)
            if plan.overlay is not None:
                make_overlay(plan.image, plan.overlay)
            return launch(plan, card, settings)


def copy_boot_files(plan: EmulatorPlan) -> None:
    """Copy kernel and initial RAM disk out of the image."""
    open_root(plan.image).dump({plan.kernel: plan.kernel_copy, plan.initrd: plan.initrd_copy})


def make_overlay(image: Path, overlay: Path) -> None:
    """Make an empty file that takes what is written to ``image``, which then stays as it is."""
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(image), str(overlay)])
    overlay.chmod(0o600)


def refuse_second(directory: Path) -> None:
    """Pass when no emulator runs there.

    Raises:
        RefusedError: one does.
    """
    if running := status(directory):
        raise RefusedError(
            f"an emulator runs already (process {running.pid}, {running.image}); "
            "stop it with `inv emulate --stop`"
        )


def clear(directory: Path) -> None:
    """Remove what an earlier emulator left: QEMU listens on the socket and appends to the log."""
    for name in ("state.json", "qmp.sock", "qemu.pid", CONSOLE_LOG, OVERLAY, CARD_RECORD):
        (directory / name).unlink(missing_ok=True)


def launch(plan: EmulatorPlan, card: CardFacts, settings: EmulatorSettings) -> Emulator:
    """Start QEMU as planned, and note how it is found again.

    Raises:
        RefusedError: another process uses the image.
        FailedError: QEMU is missing or did not start.
    """
    pid = _run_qemu(plan)
    emulator = Emulator(
        pid=pid,
        process_start=_process_start(pid) or 0,
        image=plan.image,
        snapshot=plan.overlay is not None,
        ram=settings.ram,
        cpus=used_cpus(settings),
        serial_port=plan.serial_port,
        ssh_port=plan.ssh_port,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        host_keys=card.host_keys,
        directory=plan.directory,
    )
    # Another command may be reading it.
    replace_file(_state_file(plan.directory), json.dumps(to_json(emulator), indent=2) + "\n")
    event("qemu", "running", **to_json(emulator))
    return emulator


def status(directory: Path | None = None) -> Emulator | None:
    """Return the emulator that runs, or ``None``."""
    directory = (directory or emulator_dir()).absolute()
    path = _state_file(directory)
    try:
        fields = json.loads(path.read_text())
        fields["image"] = Path(fields["image"])
        fields["directory"] = directory
        fields["host_keys"] = tuple(fields["host_keys"])
        emulator = Emulator(**fields)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FailedError(
            f"{path}: cannot be understood ({error}); if no QEMU runs, remove it"
        ) from error
    return emulator if emulator.alive else None


def stop(
    reporter: Reporter, directory: Path | None = None, power_down_s: float = POWER_DOWN_S
) -> bool:
    """End the emulator; return whether one ran.

    A guest that has booted is asked to shut down, as by the board's power button. One
    that has not (it waits for the passphrase, say) does not listen to that, and one
    with a snapshot loses its writes anyway: there QEMU itself is ended, which is like
    pulling the plug.

    Args:
        reporter: shows the progress.
        directory: where the emulator's files are.
        power_down_s: seconds that the guest gets to shut down.

    Raises:
        FailedError: it could not be ended.
    """
    emulator = status(directory)
    if emulator is None:
        return False
    with reporter.step("Stopping the emulator"):
        ended = False
        if not emulator.snapshot and _has_booted(emulator):
            _command(emulator, "system_powerdown")
            ended = _wait_end(emulator, power_down_s)
            if not ended:
                reporter.warn(
                    f"the guest did not shut down within {power_down_s:.0f} s; pulling the plug"
                )
        ended = ended or (_command(emulator, "quit") and _wait_end(emulator, QUIT_S))
        if not ended and not _kill(emulator):
            raise FailedError(f"QEMU does not end; try `kill -9 {emulator.pid}`")
        for name in ("state.json", "qmp.sock", "qemu.pid", OVERLAY):
            (emulator.directory / name).unlink(missing_ok=True)
    return True


def emulator_target(
    *, user: str | None = None, identity: Path | None = None, directory: Path | None = None
) -> Endpoint:
    """Return how the running emulator is reached.

    Args:
        user: the login name of the image's SSH server.
        identity: the private key file for it.
        directory: where the emulator's files are.

    Raises:
        FailedError: no emulator runs.
    """
    emulator = status(directory)
    if emulator is None:
        raise FailedError("no emulator runs; start one with `inv emulate`")
    return Endpoint(
        name=EMULATOR,
        serial_url=f"socket://{LOOPBACK}:{emulator.serial_port}",
        console_history=emulator.console_log,
        ssh=SshEndpoint(
            host=LOOPBACK,
            port=emulator.ssh_port,
            user=user,
            identity=identity,
            known_host_keys=emulator.host_keys,
        ),
    )


def _state_file(directory: Path) -> Path:
    return directory / "state.json"


def _run_qemu(plan: EmulatorPlan) -> int:
    """Start QEMU and return its process id."""
    done = run(_in_directory(plan.directory, plan.argv), check=False)
    if done.returncode != 0:
        message = done.stderr.decode("utf-8", "replace")
        if "Failed to get" in message and "lock" in message:
            raise RefusedError(f"{plan.image}: another process uses this image; end it first")
        raise failure(done, "QEMU did not start")
    return int(plan.pid_file.read_text())


def _in_directory(directory: Path, argv: tuple[str, ...]) -> list[str]:
    # The gateway has no working directory of its own; env(1) of coreutils does.
    return ["env", f"--chdir={directory}", *argv]


def free_port() -> int:
    """Return a TCP port that nothing listens on right now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _process_start(pid: int) -> int | None:
    """Return when process ``pid`` started, or ``None`` if it does not run."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # proc(5): field 2 is the name in brackets, 3 the state, 22 the start time.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _has_booted(emulator: Emulator) -> bool:
    watcher = BootWatcher("", "/")
    with ConsoleLog(emulator.console_log) as log:
        while data := log.read():
            watcher.feed(data)
    return watcher.login_seen


def _command(emulator: Emulator, command: str) -> bool:
    # A QEMU that ends before it answers has done what was asked.
    with contextlib.suppress(FailedError):
        qmp_command(emulator.directory / "qmp.sock", command)
        return True
    return not emulator.alive


def _wait_end(emulator: Emulator, timeout: float) -> bool:
    try:
        process = os.pidfd_open(emulator.pid)
    except ProcessLookupError:
        return True
    try:
        if emulator.alive:
            select.select([process], [], [], timeout)
        return not emulator.alive
    finally:
        os.close(process)


def _kill(emulator: Emulator) -> bool:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if emulator.alive:
            os.kill(emulator.pid, number)
        if _wait_end(emulator, QUIT_S):
            return True
    return False
