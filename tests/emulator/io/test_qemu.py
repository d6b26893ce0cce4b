"""Starting, finding and ending the emulator's process, with a script instead of QEMU."""

import io
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootwright.console.boot import State
from bootwright.core.endpoints import SshEndpoint
from bootwright.core.errors import FailedError, RefusedError
from bootwright.core.report import TextReporter
from bootwright.core.units import GIB
from bootwright.emulator.io.qemu import Emulator, emulator_target, start, status, stop
from bootwright.emulator.io.qmp import qmp_command
from bootwright.emulator.io.wait import wait_until
from bootwright.remote.io.wait import wait_for_ssh
from tests.emulator.io.test_card_image import KEY, debian_tree, make_card

pytestmark = pytest.mark.integration

# Like QEMU with -daemonize it ends at once and leaves a process, which does nothing.
FAKE_QEMU = """#!/bin/sh
while [ $# -gt 0 ]; do
    case $1 in -pidfile) pidfile=$2 ;; esac
    shift
done
sleep 600 <&- >&- 2>&- &
echo $! > "$pidfile"
printf 'Linux\\r\\nboard login: ' > "${pidfile%/*}/console.log"
"""


def reporter() -> TextReporter:
    return TextReporter(io.StringIO())


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("card")
    debian_tree(folder / "tree")
    return make_card(folder / "tree", folder / "card.img")


@pytest.fixture
def qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of the script, which a test may overwrite."""
    program = tmp_path / "bin" / "qemu-system-arm"
    program.parent.mkdir()
    program.write_text(FAKE_QEMU)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "emulator"
    yield path
    stop(reporter(), path, power_down_s=0)


def boot(image: Path, directory: Path) -> Emulator:
    return start(
        image, ram=2 * GIB, cpus=8, reporter=reporter(), snapshot=True, directory=directory
    )


def test_start_status_stop(image: Path, qemu: Path, directory: Path) -> None:
    assert status(directory) is None
    emulator = boot(image, directory)
    assert status(directory) == emulator
    assert (directory / "vmlinuz").read_bytes() == b"kernel"
    assert (directory / "initrd.img").read_bytes() == b"initrd"
    assert emulator.serial_port != emulator.ssh_port
    with pytest.raises(RefusedError, match=r"runs already .* `inv emulate --stop`"):
        boot(image, directory)

    target = emulator_target(user="root", directory=directory)
    assert target.serial_url == f"socket://127.0.0.1:{emulator.serial_port}"
    assert target.console_history == directory / "console.log"
    assert target.ssh is not None
    assert target.ssh.known_host_keys == (KEY,)
    state = wait_until(emulator, "ready", timeout=10, reporter=reporter())
    assert state is State.LOGIN

    # It answers no command, so it has to be killed.
    assert stop(reporter(), directory)
    assert status(directory) is None
    with pytest.raises(FailedError, match="the emulator ended"):
        wait_until(emulator, "prompt", timeout=10, reporter=reporter())


def test_another_process_with_the_same_id_is_not_the_emulator(
    image: Path, qemu: Path, directory: Path
) -> None:
    boot(image, directory)
    path = directory / "state.json"
    fields = json.loads(path.read_text())
    real = fields["process_start"]
    path.write_text(json.dumps(fields | {"process_start": real - 1}))
    assert status(directory) is None
    path.write_text(json.dumps(fields | {"pid": os.getpid()}))
    assert not stop(reporter(), directory)
    path.write_text(json.dumps(fields))
    assert status(directory) is not None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "x", "pid": 1}'])
def test_a_state_file_that_cannot_be_understood(text: str, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(FailedError, match=r"state\.json: cannot be understood"):
        status(tmp_path)


def test_the_error_of_qemu_is_shown(image: Path, qemu: Path, directory: Path) -> None:
    qemu.write_text("#!/bin/sh\necho 'qemu-system-arm: no such machine' >&2\nexit 1\n")
    with pytest.raises(FailedError, match="no such machine"):
        boot(image, directory)
    assert status(directory) is None


def test_an_image_in_use_is_refused(image: Path, qemu: Path, directory: Path) -> None:
    message = 'qemu-system-arm: -device x: Failed to get "write" lock'
    qemu.write_text(f"#!/bin/sh\necho '{message}' >&2\nexit 1\n")
    with pytest.raises(RefusedError, match="another process uses this image"):
        boot(image, directory)


def test_waiting_ends(image: Path, qemu: Path, directory: Path) -> None:
    emulator = boot(image, directory)
    emulator.console_log.write_bytes(b"Linux\r\nhello\r\n")
    with pytest.raises(FailedError, match=r"no login prompt within 0 s[^\0]*\n  hello"):
        wait_until(emulator, "login", timeout=0, reporter=reporter())
    emulator.console_log.write_bytes(b"Linux\r\nYou are in emergency mode.\r\n")
    with pytest.raises(FailedError, match="the boot failed: You are in emergency mode"):
        wait_until(emulator, "login", timeout=10, reporter=reporter())


def test_qmp_through_a_path_longer_than_a_socket_address(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    asked: list[str] = []

    def serve() -> None:
        connection, _ = server.accept()
        with connection, connection.makefile("rw") as lines:
            lines.write('{"QMP": {}}\n')
            lines.flush()
            for answer in ('{"return": {}}\n', '{"event": "STOP"}\n{"return": {"status": "x"}}\n'):
                asked.append(json.loads(lines.readline())["execute"])
                lines.write(answer)
                lines.flush()

    fd = os.open(folder, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{fd}/qmp.sock")
        os.close(fd)
        server.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        assert qmp_command(folder / "qmp.sock", "query-status") == {"status": "x"}
        thread.join(timeout=10)
    assert asked == ["qmp_capabilities", "query-status"]
    with pytest.raises(FailedError, match="does not answer"):
        qmp_command(folder / "qmp.sock", "quit")


def test_waiting_for_ssh() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            # The emulator accepts, and hangs up while its guest has no server.
            for greeting in (b"", b"SSH-2.0-OpenSSH_9.2p1\r\n"):
                connection, _ = server.accept()
                with connection:
                    connection.sendall(greeting)

        thread = threading.Thread(target=serve)
        thread.start()
        wait_for_ssh(SshEndpoint("127.0.0.1", server.getsockname()[1]), timeout=10)
        thread.join(timeout=10)
        port = server.getsockname()[1]
    with pytest.raises(FailedError, match="no SSH server within 0 s"):
        wait_for_ssh(SshEndpoint("127.0.0.1", port), timeout=0)
