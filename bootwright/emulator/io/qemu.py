"""The emulator: one QEMU process in the background that boots a card image.

Its files are in ``build/emulator``: kernel and initial RAM disk copied out of the image,
``console.log``, the control socket, and ``state.json``, in which later commands find the process
and its ports. It contains the start time of the process too, because a later process can get the
same id.
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
"""The file, in the emulator's directory, that contains the target and board of the card."""

LOOPBACK = "127.0.0.1"
"""The address on which the emulator's ports are opened."""

POWER_DOWN_TIMEOUT_S = 90.0
"""Seconds that the guest may take to shut down; it takes about 10, with containers more."""

QUIT_TIMEOUT_S = 10.0
"""Seconds that QEMU may take to end after the command ``quit`` or a signal."""


@dataclass(frozen=True)
class Emulator:
    """A running emulator.

    Attributes:
        pid: its process id.
        process_start: when that process started, in the kernel's clock ticks since boot.
        image: the card image that it boots.
        snapshot: what the guest writes to its disk is discarded at the end.
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
        """The file with everything that the console printed."""
        return self.directory / CONSOLE_LOG

    @property
    def alive(self) -> bool:
        """Whether its process still runs."""
        return _process_start(self.pid) == self.process_start


def emulator_dir() -> Path:
    """Return the default directory of the emulator's files."""
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
    """Start booting a card image in the background; return without waiting for a prompt.

    Args:
        image: the card image file.
        ram: bytes of memory, the board's.
        cpus: cores of the board; the guest gets no more cores than this machine has.
        reporter: shows the progress.
        snapshot: when it ends, discard what the guest has written to its disk.
        serial_port: TCP port for the console on 127.0.0.1; a free one if ``None``.
        ssh_port: TCP port for the guest's SSH server on 127.0.0.1; a free one if ``None``.
        directory: for its files; ``build/emulator`` if ``None``.

    Raises:
        InputError: the image cannot be booted in the emulator.
        RefusedError: an emulator runs already, or another process uses the image.
        FailedError: QEMU is missing or did not start.
    """
    directory = (directory or emulator_dir()).absolute()
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with exclusive(directory / "lock", "starting the emulator"):
        refuse_if_running(directory)
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
            remove_leftovers(directory)
            if plan.overlay is not None:
                make_overlay(plan.image, plan.overlay)
            return launch(plan, card, settings)


def copy_boot_files(plan: EmulatorPlan) -> None:
    """Copy the kernel and the initial RAM disk out of the image."""
    open_root(plan.image).dump({plan.kernel: plan.kernel_copy, plan.initrd: plan.initrd_copy})


def make_overlay(image: Path, overlay: Path) -> None:
    """Make the file that receives the guest's writes, so that ``image`` is not changed."""
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(image), str(overlay)])
    overlay.chmod(0o600)


def refuse_if_running(directory: Path) -> None:
    """Raise if an emulator runs in ``directory``.

    Raises:
        RefusedError: one runs.
    """
    if running := status(directory):
        raise RefusedError(
            f"an emulator runs already (process {running.pid}, {running.image}); "
            "stop it with `inv emulate --stop`"
        )


def remove_leftovers(directory: Path) -> None:
    """Remove the files of an earlier emulator, above all its socket and its console log."""
    for name in ("state.json", "qmp.sock", "qemu.pid", CONSOLE_LOG, OVERLAY, CARD_RECORD):
        (directory / name).unlink(missing_ok=True)


def launch(plan: EmulatorPlan, card: CardFacts, settings: EmulatorSettings) -> Emulator:
    """Start QEMU as planned, and write ``state.json``, in which later commands find it.

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
    # Replaced in one step, because another command may be reading it.
    replace_file(_state_file(plan.directory), json.dumps(to_json(emulator), indent=2) + "\n")
    event("qemu", "running", **to_json(emulator))
    return emulator


def status(directory: Path | None = None) -> Emulator | None:
    """Return the running emulator; ``None`` if there is none."""
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
    reporter: Reporter, directory: Path | None = None, power_down_s: float = POWER_DOWN_TIMEOUT_S
) -> bool:
    """End the emulator; return whether one was running.

    A guest that has booted is shut down, as by the board's power button. A guest that has not
    booted (for example, it waits for the passphrase) does not react to that, and a guest with
    ``snapshot`` loses its writes anyway: in both cases QEMU itself is ended, which is like a
    power cut for the guest.

    Args:
        reporter: shows the progress.
        directory: where the emulator's files are.
        power_down_s: seconds that the guest may take to shut down.

    Raises:
        FailedError: it could not be ended.
    """
    emulator = status(directory)
    if emulator is None:
        return False
    with reporter.step("Stopping the emulator"):
        ended = False
        if not emulator.snapshot and _has_booted(emulator):
            _try_command(emulator, "system_powerdown")
            ended = _wait_end(emulator, power_down_s)
            if not ended:
                reporter.warn(
                    f"the guest did not shut down within {power_down_s:.0f} s; ending QEMU,"
                    " which is like a power cut for the guest"
                )
        ended = ended or (_try_command(emulator, "quit") and _wait_end(emulator, QUIT_TIMEOUT_S))
        if not ended and not _kill(emulator):
            raise FailedError(f"QEMU does not end; try `kill -9 {emulator.pid}`")
        for name in ("state.json", "qmp.sock", "qemu.pid", OVERLAY):
            (emulator.directory / name).unlink(missing_ok=True)
    return True


def emulator_target(
    *, user: str | None = None, identity: Path | None = None, directory: Path | None = None
) -> Endpoint:
    """Return the endpoint of the running emulator: its serial port and its SSH server.

    Args:
        user: the login name for SSH.
        identity: the private key file for SSH.
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
    # core.io.process cannot set a working directory; env(1) of coreutils can.
    return ["env", f"--chdir={directory}", *argv]


def free_port() -> int:
    """Return a TCP port that no program listens on at this moment."""
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
    """Return whether the console has shown a login prompt."""
    watcher = BootWatcher("", "/")
    with ConsoleLog(emulator.console_log) as log:
        while data := log.read():
            watcher.feed(data)
    return watcher.login_seen


def _try_command(emulator: Emulator, command: str) -> bool:
    """Run a QMP command that ends QEMU; return whether QEMU accepted it or has ended."""
    with contextlib.suppress(FailedError):
        qmp_command(emulator.directory / "qmp.sock", command)
        return True
    return not emulator.alive


def _wait_end(emulator: Emulator, timeout: float) -> bool:
    """Wait until the process has ended, at most ``timeout`` seconds; return whether it has."""
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
        if _wait_end(emulator, QUIT_TIMEOUT_S):
            return True
    return False
