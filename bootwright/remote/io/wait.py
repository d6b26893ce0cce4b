"""Waiting for an SSH server to answer."""

import socket
import time

from bootwright.core.endpoints import SshEndpoint
from bootwright.core.errors import FailedError

CONNECT_S = 5.0
"""Seconds for the greeting on one connection; QEMU accepts it before the guest runs."""

PAUSE_S = 0.5
"""Seconds between tries."""


def wait_for_ssh(ssh: SshEndpoint, timeout: float) -> None:
    """Return as soon as the server sends its greeting.

    That a connection is accepted proves nothing: the emulator does it before its guest runs.

    Args:
        ssh: the server.
        timeout: seconds to wait at most.

    Raises:
        FailedError: it did not answer in that time.
    """
    end = time.monotonic() + timeout
    while not answers(ssh):
        if time.monotonic() > end:
            raise FailedError(f"{ssh.host} port {ssh.port}: no SSH server within {timeout:.0f} s")
        time.sleep(PAUSE_S)


def answers(ssh: SshEndpoint, within: float = CONNECT_S) -> bool:
    """Return whether the server sends its greeting within that many seconds."""
    end = time.monotonic() + within
    try:
        with socket.create_connection((ssh.host, ssh.port), timeout=within) as connection:
            connection.settimeout(max(end - time.monotonic(), 0.01))
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
