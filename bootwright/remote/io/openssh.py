"""Running OpenSSH's client for the operator: a shell or one command on a target.

The client is a program of its own, because a shell needs what it gives: a real terminal, the
agent, the user's configuration.
"""

import os
import subprocess
from pathlib import Path

from bootwright.core.endpoints import Endpoint
from bootwright.core.io.fsync import replace_file
from bootwright.core.io.process import environment, missing_tool
from bootwright.core.paths import build_dir
from bootwright.core.run_log import logged
from bootwright.remote.openssh_argv import known_hosts_text, ssh_argv

_PASSED_ON = ("TERM", "COLORTERM", "SSH_AUTH_SOCK", "SSH_ASKPASS", "DISPLAY", "XAUTHORITY")
"""Environment variables that the client gets beside those that every program gets."""


def ssh(endpoint: Endpoint, command: str | None = None, directory: Path | None = None) -> int:
    """Run a shell, or ``command``, on a target; return the exit status of ``ssh``.

    Standard input, output and error are this process's own. The status is the
    command's; 255 means that the connection failed.

    Args:
        endpoint: the target.
        command: what its shell is to run; a login shell if ``None``.
        directory: where known-hosts files are kept; ``build/ssh`` if ``None``.

    Raises:
        InputError: the target has no SSH server.
        FailedError: there is no ``ssh`` on this machine.
    """
    server = endpoint.ssh_server()
    known_hosts = write_known_hosts(endpoint, directory)
    argv = ssh_argv(endpoint.name, server, known_hosts, command)
    extra = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    try:
        with logged("process", argv[0], argv=argv) as result:
            status = subprocess.run(argv, env=environment(extra)).returncode
            result["status"] = status
        return status
    except FileNotFoundError:
        raise missing_tool("ssh") from None


def write_known_hosts(endpoint: Endpoint, directory: Path | None = None) -> Path:
    """Return the known-hosts file for a target, with its known keys written to it.

    A target without known keys has a file that the client itself adds to.
    """
    directory = (directory or build_dir() / "ssh").absolute()
    directory.mkdir(parents=True, exist_ok=True)
    if endpoint.ssh is None or not endpoint.ssh.known_host_keys:
        return directory / "known_hosts"
    path = directory / f"known_hosts.{endpoint.name}"
    # Another ssh may be reading the old one.
    replace_file(path, known_hosts_text(endpoint.name, endpoint.ssh))
    return path
