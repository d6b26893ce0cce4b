"""Waiting for an SSH server to answer, and how long a command waits."""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bootwright.core.endpoints import Endpoint, SshEndpoint
from bootwright.core.errors import FailedError
from bootwright.core.paths import build_dir
from bootwright.remote.io.openssh import Client, client_settings
from bootwright.remote.openssh_argv import connection_argv, ssh_argv
from bootwright.remote.openssh_log import Failure, failure_of

CONNECT_S = 5.0
"""Seconds for the greeting on one connection; QEMU accepts it before the guest runs."""

PAUSE_S = 0.5
"""Seconds between tries."""

WAIT_S = 10.0
"""Seconds that a command waits for a board's SSH server unless ``--wait`` says otherwise."""

COMING_UP_WAIT_S = 120.0
"""The same for a board that this machine has just unlocked or flashed. A board's SSH server starts
10 to 20 s after its volume is open; a new card's first boot takes longer."""

COMING_UP_S = 900.0
"""For how many seconds that counts as just now: time to move a card and to switch a board on."""

_PROXY_S = 5.0
"""Seconds more for a server behind a jump host or a ProxyCommand."""


def wait_for_ssh(ssh: SshEndpoint, timeout: float) -> None:
    """Return as soon as the server sends its greeting.

    That a connection is accepted proves nothing: the emulator does it before its guest runs.

    Args:
        ssh: the server.
        timeout: seconds to wait at most.

    Raises:
        FailedError: it did not answer in that time.
        InputError: the SSH configuration has an error.
    """
    end = time.monotonic() + timeout
    probe = _probe(ssh)
    while not probe(CONNECT_S):
        if time.monotonic() > end:
            raise FailedError(f"{ssh.address}: no SSH server within {timeout:.0f} s")
        time.sleep(PAUSE_S)


def answers(ssh: SshEndpoint, within: float = CONNECT_S) -> bool:
    """Return whether the server sends its greeting within that many seconds.

    A server behind a jump host or a ProxyCommand has a few more.
    """
    return _probe(ssh)(within)


def has_proxy(ssh: SshEndpoint) -> bool:
    """Return whether the SSH configuration reaches a server by a jump host or a ProxyCommand."""
    return _proxied(client_settings(_argv(ssh)))


def wait_before_ssh(endpoint: Endpoint, seconds: float | None) -> None:
    """Wait for a target's server before OpenSSH's client is run for the operator.

    Args:
        endpoint: the target.
        seconds: how long; ``None``: as long as usual. Then it is no error if the server does not
            answer, because the client itself says why; and a server behind a jump host is not
            waited for: the operator may have to log in there.

    Raises:
        FailedError: the server did not answer in ``seconds``.
        InputError: the SSH configuration has an error.
    """
    if endpoint.ssh is None or seconds == 0:
        return
    if seconds is not None:
        wait_for_ssh(endpoint.ssh, seconds)
    elif not has_proxy(endpoint.ssh):
        with contextlib.suppress(FailedError):
            wait_for_ssh(endpoint.ssh, usual_wait(endpoint.name))


def note_coming_up(name: str, directory: Path | None = None) -> None:
    """Note that a target has been unlocked or flashed, and that its SSH server will start.

    Args:
        name: the target's name.
        directory: where this is kept; ``build/ssh`` if ``None``.
    """
    # Without the note a later command waits for a shorter time, which is no failure of this one.
    with contextlib.suppress(OSError):
        path = _note(name, directory)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def usual_wait(name: str, directory: Path | None = None) -> float:
    """Return how many seconds a command waits for a target's SSH server.

    Args:
        name: the target's name.
        directory: see :func:`note_coming_up`.
    """
    with contextlib.suppress(OSError):
        if 0 <= time.time() - _note(name, directory).stat().st_mtime < COMING_UP_S:
            return COMING_UP_WAIT_S
    return WAIT_S


def _note(name: str, directory: Path | None) -> Path:
    return (directory or build_dir() / "ssh") / "coming-up" / name


def _probe(ssh: SshEndpoint) -> Callable[[float], bool]:
    """Return what tells whether the server sends its greeting within a number of seconds."""
    settings = client_settings(_argv(ssh))
    if _proxied(settings):
        return lambda within: _answers_to_client(ssh, within + _PROXY_S)
    address = settings["hostname"], int(settings["port"])
    return lambda within: _greets(address, within)


def _proxied(settings: Mapping[str, str]) -> bool:
    return "proxyjump" in settings or "proxycommand" in settings


def _argv(ssh: SshEndpoint) -> tuple[str, ...]:
    return ssh_argv("probe", ssh, Path(os.devnull))


def _greets(address: tuple[str, int], within: float) -> bool:
    end = time.monotonic() + within
    try:
        with socket.create_connection(address, timeout=within) as connection:
            connection.settimeout(max(end - time.monotonic(), 0.01))
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _answers_to_client(ssh: SshEndpoint, within: float) -> bool:
    """Have OpenSSH connect without any known host key, so that it ends after the greeting."""
    client = Client()
    try:
        argv = connection_argv(
            "probe",
            ssh,
            (Path(os.devnull),),
            client.control_path,
            connect_s=max(1, int(within)),
        )
        if client.connect(argv, within):
            return True
        unreachable = failure_of(client.log) in (Failure.UNREACHABLE, Failure.CONFIGURATION)
        return not client.late and not client.log.proxy_failed and not unreachable
    finally:
        client.close()
