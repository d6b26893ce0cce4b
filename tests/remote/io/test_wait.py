"""How long a command waits for a board's SSH server, and by which way it asks."""

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from bootwright.core.endpoints import Endpoint, SshEndpoint
from bootwright.core.errors import FailedError
from bootwright.remote.io import wait
from bootwright.remote.io.connection import Remote
from bootwright.remote.io.wait import (
    COMING_UP_S,
    COMING_UP_WAIT_S,
    WAIT_S,
    answers,
    note_coming_up,
    usual_wait,
    wait_before_ssh,
)
from tests.support.sshserver import SshServer, own_client

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The client's configuration; and there is no agent."""
    return own_client(tmp_path, monkeypatch)


def test_a_board_that_was_just_unlocked_is_waited_for_longer(tmp_path: Path) -> None:
    assert usual_wait("board", tmp_path) == WAIT_S
    note_coming_up("board", tmp_path)
    assert usual_wait("board", tmp_path) == COMING_UP_WAIT_S
    assert usual_wait("other", tmp_path) == WAIT_S
    note = tmp_path / "coming-up" / "board"
    for age in (COMING_UP_S + 1, -3600):  # long ago; or the clock was set back
        os.utime(note, (0, time.time() - age))
        assert usual_wait("board", tmp_path) == WAIT_S
    # A folder that cannot be made costs the longer wait, and nothing else.
    (tmp_path / "file").touch()
    note_coming_up("board", tmp_path / "file")
    assert usual_wait("board", tmp_path / "file") == WAIT_S


def test_a_connection_waits_as_long_as_usual(tmp_path: Path) -> None:
    endpoint = Endpoint("board", ssh=SshEndpoint("127.0.0.1", 9, "root"))
    note_coming_up("board", tmp_path)
    assert Remote(endpoint, directory=tmp_path, wait=None)._wait == COMING_UP_WAIT_S
    assert Remote(endpoint, directory=tmp_path)._wait == 0


def test_a_server_is_asked_by_the_way_of_the_configuration(
    server: SshServer, config: Path, tmp_path: Path
) -> None:
    ssh = SshEndpoint("desk", server.port)
    assert not answers(ssh, 2.0)
    config.write_text("Host desk\n  HostName 127.0.0.1\n")
    assert answers(ssh, 2.0)
    relay = 'bash -c "exec 3<>/dev/tcp/%h/%p; cat <&3 & cat >&3"'
    config.write_text(f"Host desk\n  HostName 127.0.0.1\n  ProxyCommand {relay}\n")
    assert answers(ssh, 2.0)
    config.write_text("Host desk\n  ProxyCommand sh -c 'exit 1'\n")
    assert not answers(ssh, 2.0)


def test_a_shell_waits_for_a_server_that_comes_up(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        endpoint = Endpoint("board", ssh=SshEndpoint("127.0.0.1", listening.getsockname()[1]))
        asked = threading.Event()

        def serve() -> None:
            listening.accept()[0].close()
            asked.set()
            with listening.accept()[0] as client:
                client.sendall(b"SSH-2.0-x\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        wait_before_ssh(endpoint, None)
        assert asked.is_set()
        thread.join()
    # Nobody is there: the client says why, unless a time was given.
    monkeypatch.setattr(wait, "WAIT_S", 0.0)
    wait_before_ssh(endpoint, None)
    with pytest.raises(FailedError, match="no SSH server within 0 s"):
        wait_before_ssh(endpoint, 0.1)
    wait_before_ssh(endpoint, 0)
    # Behind a jump host the operator may have to log in: the client is run at once.
    config.write_text("ProxyCommand sh -c 'exit 1'\n")
    monkeypatch.setattr(wait, "wait_for_ssh", lambda *_: pytest.fail("waited"))
    wait_before_ssh(endpoint, None)
