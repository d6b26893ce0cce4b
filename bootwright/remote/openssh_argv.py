"""The command lines of OpenSSH for a target: pure."""

from pathlib import Path

from bootwright.core.endpoints import SshEndpoint

KEEPALIVE_S = 15
"""Seconds without a sign of the server after which the client asks for one."""

KEEPALIVE_COUNT = 3
"""How many times it asks in vain until it ends the connection: a dead board is noticed after
60 s; ssh_config(5), ServerAliveCountMax."""

_CONNECTION_ONLY = (
    # Who cannot be asked gets an error: questions would be on another terminal, or on none.
    "BatchMode=yes",
    "ControlMaster=yes",
    "ControlPersist=no",
    "ClearAllForwardings=yes",
    "ForkAfterAuthentication=no",
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "Tunnel=no",
    f"ServerAliveInterval={KEEPALIVE_S}",
    f"ServerAliveCountMax={KEEPALIVE_COUNT}",
)
"""Options of a connection for scripts, whatever ``~/.ssh/config`` has for a person's shell."""


def known_hosts_text(name: str, ssh: SshEndpoint) -> str:
    """Return the known-hosts file that holds exactly the target's keys, under its name."""
    return "".join(f"{name} {key}\n" for key in ssh.known_host_keys)


def ssh_argv(
    name: str, ssh: SshEndpoint, known_hosts: Path, command: str | None = None
) -> tuple[str, ...]:
    """Return how to run ``ssh`` for a shell or for one command on a target.

    If the target has known host keys, no other key is accepted. Otherwise the client asks
    about the key as it always does, and adds an accepted one to ``known_hosts``.

    Args:
        name: the target's name.
        ssh: how its SSH server is reached.
        known_hosts: the known-hosts file to use instead of the user's.
        command: what the remote shell is to run; a login shell if ``None``.
    """
    strict = "yes" if ssh.known_host_keys else "ask"
    # A RemoteCommand of ~/.ssh/config is for a shell; with a command it would be an error.
    extra = () if command is None else ("RemoteCommand=none",)
    argv = _argv(name, ssh, (known_hosts,), strict, extra, ())
    return argv if command is None else (*argv, command)


def connection_argv(
    name: str,
    ssh: SshEndpoint,
    known_hosts: tuple[Path, ...],
    control_path: Path,
    *,
    accept_new: bool = False,
    connect_s: int,
) -> tuple[str, ...]:
    """Return how to run ``ssh`` so that it connects, logs in, and lets others use the connection.

    It writes what it does to standard error (``-v``), which :mod:`bootwright.remote.openssh_log`
    reads.

    Args:
        name: the target's name.
        ssh: how its SSH server is reached.
        known_hosts: the known-hosts files to use instead of the user's.
        control_path: the socket that it makes for those who use the connection.
        accept_new: write the server's host key to the first of the files if none is known.
        connect_s: seconds to connect, until the server's greeting.
    """
    strict = "accept-new" if accept_new else "yes"
    options = (f"ConnectTimeout={connect_s}", *_CONNECTION_ONLY)
    flags = ("-v", "-N", "-T", "-S", str(control_path).replace("%", "%%"))
    return _argv(name, ssh, known_hosts, strict, options, flags)


def _argv(
    name: str,
    ssh: SshEndpoint,
    known_hosts: tuple[Path, ...],
    strict: str,
    extra: tuple[str, ...],
    flags: tuple[str, ...],
) -> tuple[str, ...]:
    options = [
        "UserKnownHostsFile=" + " ".join(map(_quoted, known_hosts)),
        "GlobalKnownHostsFile=none",
        "KnownHostsCommand=none",
        # The key is looked up by the target's name, not by its address: the emulator has the same
        # address and port for every card.
        f"HostKeyAlias={name}",
        f"StrictHostKeyChecking={strict}",
        # A board may get an address that another one had, with its key.
        "CheckHostIP=no",
        # Otherwise the server may have the client add and remove keys.
        "UpdateHostKeys=no",
        *extra,
    ]
    if ssh.known_host_keys:
        # Otherwise a key in the DNS is accepted, too.
        options.append("VerifyHostKeyDNS=no")
    if ssh.identity is not None:
        # A server ends the connection after a few wrong keys, such as those of an agent.
        options.append("IdentitiesOnly=yes")
    argv = ["ssh", *flags]
    if ssh.port is not None:
        argv += ["-p", str(ssh.port)]
    for option in options:
        argv += ["-o", option]
    if ssh.identity is not None:
        argv += ["-i", str(ssh.identity)]
    if ssh.user is not None:
        argv += ["-l", ssh.user]
    # After "--" a host that begins with "-" is not taken for an option.
    return (*argv, "--", ssh.host)


def _quoted(path: Path) -> str:
    """Return ``path`` as one word of an option that takes several and expands ``%``."""
    return '"' + str(path).replace("%", "%%") + '"'
