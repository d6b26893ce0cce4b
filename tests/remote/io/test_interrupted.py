"""A command that is ended while it connects leaves no folder behind, however it is ended."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootwright.remote.io import openssh
from bootwright.remote.io.openssh import Client
from tests.support.bench import INV, copy_checkout

pytestmark = pytest.mark.integration

TARGET = """
[targets.{name}]
board = "odroid-xu3"
rootfs = "debian"
host = "127.0.0.1"
port = {port}
groups = ["lab"]
"""

LONG_AGO = (1_000_000_000.0, 1_000_000_000.0)
"""A time of access and of change, in seconds since 1970."""


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for temporary files whose name is short enough for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="bw-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def silent() -> Iterator[socket.socket]:
    """A server that accepts connections and never greets."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(60)
        yield listening


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, silent: socket.socket) -> Path:
    """A checkout with two targets that are that server."""
    folder = tmp_path_factory.mktemp("interrupted") / "checkout"
    port = silent.getsockname()[1]
    copy_checkout(folder, "".join(TARGET.format(name=name, port=port) for name in ("one", "two")))
    return folder


def interrupt(
    silent: socket.socket, checkout: Path, temporary: Path, number: int, *argv: str
) -> int:
    """End `inv` by a signal while it waits for the greeting of each board; return its status."""
    env = {
        **os.environ,
        "TMPDIR": str(temporary),
        "BOOTWRIGHT_BUILD": str(checkout.parent / "build"),
        "PYTHONPATH": str(checkout),
    }
    child = subprocess.Popen(
        [str(INV), *argv],
        cwd=checkout,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        held = [silent.accept()[0] for name in argv if name in ("one", "two")]
        assert folders(temporary)
        child.send_signal(number)
        status = child.wait(30)
    finally:
        child.kill()
        child.wait()
    for connection in held:
        connection.close()
    return status


def folders(temporary: Path) -> list[Path]:
    return list(temporary.glob("bootwright-ssh-*"))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 4), (signal.SIGHUP, 129)])
def test_no_folder_is_left_of_a_command_that_is_ended(
    silent: socket.socket, checkout: Path, temporary: Path, number: int, status: int
) -> None:
    assert interrupt(silent, checkout, temporary, number, "status", "one") == status
    assert not folders(temporary)


def test_nor_of_a_command_for_several_boards(
    silent: socket.socket, checkout: Path, temporary: Path
) -> None:
    argv = ("audit", "one", "two")
    assert interrupt(silent, checkout, temporary, signal.SIGTERM, *argv) == 143
    assert not folders(temporary)


def test_what_a_killed_command_left_is_removed_by_the_next(
    silent: socket.socket, checkout: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(silent, checkout, temporary, signal.SIGKILL, "status", "one")
    (left,) = folders(temporary)
    others = temporary / "others"
    others.mkdir()
    (temporary / "bootwright-ssh-link").symlink_to(others)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    # It may be one that is just being made.
    openssh._remove_abandoned.cache_clear()
    Client().close()
    assert left.exists()
    os.utime(left, LONG_AGO)
    in_use = Client()
    os.utime(in_use.control_path.parent, LONG_AGO)
    openssh._remove_abandoned.cache_clear()
    Client().close()
    assert not left.exists()
    assert in_use.control_path.parent.exists()
    assert others.exists()
    in_use.close()
    (temporary / "bootwright-ssh-link").unlink()
    assert not folders(temporary)
