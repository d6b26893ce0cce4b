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

    If the target has known host keys, no other key is accepted. Otherwise the client asks
    about the key as it always does, and adds an accepted one to ``known_hosts``.

    The key is looked up by the target's name, not by its address: the emulator has the same
    address and port for every card.

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
        # Otherwise the server may have the client add and remove keys.
        "UpdateHostKeys=no",
    ]
    if ssh.identity is not None:
        # A server ends the connection after a few wrong keys, such as those of an agent.
        options.append("IdentitiesOnly=yes")
    argv = ["ssh", "-p", str(ssh.port)]
    for option in options:
        argv += ["-o", option]
    if ssh.identity is not None:
        argv += ["-i", str(ssh.identity)]
    if ssh.user is not None:
        argv += ["-l", ssh.user]
    # After "--" a host that begins with "-" is not taken for an option.
    argv += ["--", ssh.host]
    if command is not None:
        argv.append(command)
    return tuple(argv)


def _quoted(path: Path) -> str:
    """Return ``path`` as one word of an option that takes several and expands ``%``."""
    return '"' + str(path).replace("%", "%%") + '"'
