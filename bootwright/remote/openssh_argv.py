"""The command line of OpenSSH for a target: pure."""

from pathlib import Path

from bootwright.core.endpoints import SshEndpoint


def known_hosts_text(name: str, ssh: SshEndpoint) -> str:
    """Return the known-hosts file that holds exactly the target's keys, under its name."""
    return "".join(f"{name} {key}\n" for key in ssh.known_host_keys)


def ssh_argv(
    name: str, ssh: SshEndpoint, known_hosts: Path, command: str | None = None
) -> tuple[str, ...]:
    """Return how to run ``ssh`` for a shell or for one command on a target.

    With known host keys nothing else is accepted. Without, the client asks about the
    key as it always does, and remembers the answer in ``known_hosts``.

    The key is looked up under the target's name: the emulator's address and port are
    those of another machine every time.

    Args:
        name: the target's name.
        ssh: how its SSH server is reached.
        known_hosts: the known-hosts file to use instead of the user's.
        command: what the remote shell is to run; a login shell if ``None``.
    """
    strict = "yes" if ssh.known_host_keys else "ask"
    options = [
        f"UserKnownHostsFile={_quoted(known_hosts)}",
        "GlobalKnownHostsFile=none",
        f"HostKeyAlias={name}",
        f"StrictHostKeyChecking={strict}",
        # The agent may add or remove keys behind our back otherwise.
        "UpdateHostKeys=no",
    ]
    if ssh.identity is not None:
        # A server hangs up after a few keys of an agent that are not the right one.
        options.append("IdentitiesOnly=yes")
    argv = ["ssh", "-p", str(ssh.port)]
    for option in options:
        argv += ["-o", option]
    if ssh.identity is not None:
        argv += ["-i", str(ssh.identity)]
    if ssh.user is not None:
        argv += ["-l", ssh.user]
    # A host cannot be taken for an option.
    argv += ["--", ssh.host]
    if command is not None:
        argv.append(command)
    return tuple(argv)


def _quoted(path: Path) -> str:
    """Return ``path`` as one word of an option that takes several and expands ``%``."""
    return '"' + str(path).replace("%", "%%") + '"'
