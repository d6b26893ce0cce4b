"""A board whose console can be read only while connected: a lost line, and another reboot."""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bootwright.console.boot import BootWatcher
from bootwright.console.transcript import read_transcript
from bootwright.core import paths
from tests.support.bench import WORD
from tests.support.hostboard import Board
from tests.support.machine import BOOT_S, Machine

pytestmark = pytest.mark.emulator


class Cable:
    """The serial line between a client on this machine and QEMU; it can be disconnected."""

    def __init__(self, port: int) -> None:
        self._board = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._plugged = threading.Event()
        self._plugged.set()
        self._ended = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def pull(self) -> None:
        self._plugged.clear()

    def plug(self) -> None:
        self._plugged.set()

    def end(self) -> None:
        self._ended = True
        self.pull()
        self._thread.join()
        self._server.close()

    def _serve(self) -> None:
        while not self._ended:
            if not self._plugged.wait(0.1) or not select.select([self._server], [], [], 0.1)[0]:
                continue
            client, _ = self._server.accept()
            with client, socket.create_connection(("127.0.0.1", self._board)) as board:
                self._join(client, board)

    def _join(self, client: socket.socket, board: socket.socket) -> None:
        other = {client: board, board: client}
        while self._plugged.is_set():
            for ready in select.select(list(other), [], [], 0.1)[0]:
                data = ready.recv(4096)
                if not data:
                    return
                other[ready].sendall(data)


def wait_for(machine: Machine, begin: int, what: Callable[[BootWatcher], bool]) -> None:
    """Wait until ``what`` is true for the console log of QEMU from byte ``begin`` on."""
    end = time.monotonic() + BOOT_S
    watcher = BootWatcher("docker-data", "/mnt/docker-data")
    with (machine.directory / "console.log").open("rb") as log:
        log.seek(begin)
        while True:
            watcher.feed(log.read())
            if what(watcher):
                return
            assert time.monotonic() < end, watcher.last_line
            time.sleep(0.05)


@contextmanager
def watching(machine: Machine, cable: Cable, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run `inv unlock --watch` as a service would."""
    passphrase = folder / "passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text(WORD)
    argv = [
        *(str(Path(sys.executable).parent / "inv"), "unlock", "emulator", "--watch"),
        *("--port", f"socket://127.0.0.1:{cable.port}", "--passphrase-file", str(passphrase)),
        *("--via", "serial", "--transcript", str(folder / "watch.cast")),
    ]
    process = subprocess.Popen(
        argv,
        cwd=paths.checkout(),
        env=os.environ | {"BOOTWRIGHT_BUILD": str(machine.directory.parent)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=(folder / "watch.log").open("w"),
        text=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def test_a_watch_goes_on_after_a_lost_line_and_another_reboot(
    unlocked: Board, tmp_path: Path
) -> None:
    machine = unlocked.machine
    cable = Cable(machine.emulator.serial_port)
    reboot = "(sleep 1; reboot) >/dev/null 2>&1 &"
    mounted = "findmnt --noheadings --output SOURCE /var/lib/docker"
    try:
        with watching(machine, cable, tmp_path) as process:
            begin = len(machine.console())
            unlocked.sh(reboot)
            # Out when the board restarts, in again when systemd starts.
            wait_for(machine, begin, lambda boot: boot.boots > 0)
            cable.pull()
            wait_for(
                machine, begin, lambda boot: "Welcome to" in boot.last_line or boot.prompts_seen > 0
            )
            cable.plug()
            wait_for(machine, begin, lambda boot: boot.login_seen)
            assert unlocked.sh(mounted).startswith("/dev/mapper/docker-data[")

            begin = len(machine.console())
            unlocked.sh(reboot)
            wait_for(machine, begin, lambda boot: boot.prompts_seen > 0)
            wait_for(machine, begin, lambda boot: boot.login_seen)
            assert unlocked.sh(mounted).startswith("/dev/mapper/docker-data[")
            assert process.poll() is None
    finally:
        cable.end()
    log = (tmp_path / "watch.log").read_text()
    assert log.count("the boot reported the volume open; waiting for the next boot") == 2
    assert "the serial line was lost" in log
    assert "the serial line is back" in log
    cast = (tmp_path / "watch.cast").read_text()
    assert WORD not in log + cast
    typed = [event.data for event in read_transcript(cast, "x") if event.kind == "i"]
    assert typed.count(b"\x15***\n") == 2
