"""Which serial lines are accepted, and who else uses one."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootwright.console.io.port_users import holder_of
from bootwright.console.io.serial_port import NoPortError, SerialPort, check_port
from bootwright.core.errors import InputError
from tests.support.namespace import need_namespaces


@pytest.fixture
def device() -> Iterator[str]:
    ours, theirs = pty.openpty()
    yield os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("scheme", ["spy", "loop", "alt", "hwgrep", "nonsense"])
def test_other_urls_of_pyserial_are_refused(scheme: str, tmp_path: Path) -> None:
    """spy:// would write the passphrase to a file."""
    url = f"{scheme}:///dev/ttyS0?file={tmp_path}/spy"
    for use in (check_port, lambda url: SerialPort(url, 115200)):
        with pytest.raises(InputError, match=f"{scheme}:// is not supported.*socket://host:port"):
            use(url)
    assert not (tmp_path / "spy").exists()


def test_a_port_is_checked_without_opening_it(tmp_path: Path) -> None:
    with pytest.raises(NoPortError, match="no such serial port"):
        check_port(str(tmp_path / "ttyNOPE"))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="not a serial port"):
        check_port(str(tmp_path / "file"))
    with pytest.raises(InputError, match="write it like socket://host:port"):
        check_port("socket://board")
    check_port("socket://127.0.0.1:1")


def test_a_lock_of_another_program_is_honoured(device: str, tmp_path: Path) -> None:
    """As minicom and picocom write it; a program of another user shows nothing else."""
    lock = tmp_path / f"LCK..{device.removeprefix('/dev/').replace('/', '_')}"
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        # It has its own name only when it runs.
        other.stdin.write(b"x")
        other.stdin.flush()
        assert other.stdout.read(1) == b"x"
        for content in (
            f"{other.pid:>10}\n".encode(),
            f"{other.pid:>10} minicom root\n".encode(),
            other.pid.to_bytes(4, sys.byteorder),
        ):
            lock.write_bytes(content)
            assert holder_of(Path(device), [tmp_path]) == f"process {other.pid} (cat)"
        other.kill()
    # Left by a program that has ended; ours; no lock at all.
    for content in (f"{other.pid}\n".encode(), f"{os.getpid()}\n".encode(), b"", b"x", b"-1\n"):
        lock.write_bytes(content)
        holder = holder_of(Path(device), [tmp_path])
        assert holder is None or str(other.pid) not in holder


VANISHES = """
import socket, subprocess
from bootwright.console.io import serial_port

serial_port.KEEPALIVE.update(TCP_KEEPIDLE=1, TCP_KEEPINTVL=1, TCP_KEEPCNT=1, TCP_USER_TIMEOUT=1000)
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
with socket.create_server(("127.0.0.1", 0)) as server:
    url = f"socket://127.0.0.1:{server.getsockname()[1]}"
    ports = [serial_port.SerialPort(url, 115200) for _ in range(2)]
    peers = [server.accept()[0] for _ in ports]
    subprocess.run(["ip", "link", "set", "lo", "down"], check=True)
    # What was sent and is not acknowledged puts the keep-alive of TCP off.
    ports[0].write(b"typed")
    for port in ports:
        try:
            while True:
                port.read()
        except serial_port.LineLostError as error:
            print(error)
"""


@pytest.mark.integration
def test_a_server_that_vanishes_is_noticed_also_while_something_is_sent() -> None:
    need_namespaces("ip")
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", VANISHES],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.count("the serial line was lost") == 2
