"""The one gateway for running scripts on a board over SSH, by Fabric.

Scripts are for a POSIX shell: Arch Linux ARM has no Python. A secret goes to a script only by
its standard input. `inv ssh`, which gives the operator a shell, is in
:mod:`bootwright.remote.io.openssh`.
"""

import logging
import select
import socket
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import fabric
from paramiko import Channel, MissingHostKeyPolicy, PKey, SSHClient, Transport
from paramiko.auth_strategy import AuthFailure
from paramiko.ssh_exception import (
    ConfigParseError,
    IncompatiblePeer,
    NoValidConnectionsError,
    ProxyCommandFailure,
    SSHException,
)

from bootwright.core import paths
from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import FailedError, InputError
from bootwright.core.io.ask import Ask
from bootwright.core.report import Reporter
from bootwright.core.run_log import logged
from bootwright.core.secret import Secret
from bootwright.core.shell import quote_words
from bootwright.core.text import sanitize_line
from bootwright.remote.io.client_keys import USUAL, OfferedKeys, refusal
from bootwright.remote.io.host_keys import HostKeys
from bootwright.remote.io.wait import PAUSE_S
from bootwright.remote.sudo import as_root, check_sudo, input_of

CONNECT_S = 20.0
"""Seconds to connect until the server's greeting; an emulated board takes 2."""

AUTHENTICATE_S = 30.0
"""Seconds for a server to check one key."""

LEAST_S = 5.0
"""Seconds for each of the two at least, even if less is left of the time to wait."""

KEEPALIVE_S = 15
"""Seconds between two keepalive messages on a connection that is only waited on."""

MAX_OUTPUT = 1024 * 1024
"""Bytes of each of a script's two outputs; no script of ours writes nearly as much."""

_CHUNK = 32 * 1024

# Without a handler, Python itself prints paramiko's errors with their tracebacks.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class UnreachableError(FailedError):
    """No SSH server answers (yet)."""


@dataclass(frozen=True)
class RemoteFinished:
    """A script that has ended: its status and its output."""

    returncode: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as UTF-8; undecodable bytes become U+FFFD."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def stderr_text(self) -> str:
        """Standard error likewise, without blanks around it, and safe to show on a terminal."""
        lines = self.stderr.decode("utf-8", "replace").strip().splitlines()
        return "\n".join(map(sanitize_line, lines))


class Remote:
    """A connection to a target; a context manager that connects, and closes the connection.

    ``~/.ssh/config`` and the agent count, as for Fabric.

    Args:
        endpoint: the target.
        ask: how to ask about a host key that is not known; ``None`` without a terminal.
        directory: where known-hosts files are kept; ``build/ssh`` if ``None``.
        wait: seconds to wait for a server that does not answer yet. Logging in has to end in
            what is left of them, or in :data:`LEAST_S` if that is more.
        sudo_password: the password of the login user, where sudo asks for it.

    Raises:
        InputError: the target has no SSH server, or its key file cannot be used.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        ask: Ask | None = None,
        directory: Path | None = None,
        wait: float = 0.0,
        sudo_password: Secret | None = None,
    ) -> None:
        self._ssh = endpoint.ssh_server()
        self._name = endpoint.name
        self._host_keys = HostKeys(endpoint, ask, directory)
        self._wait = wait
        self._sudo_password = sudo_password
        self._connection = self._new_connection()

    @property
    def where(self) -> str:
        """The target with its address, for messages."""
        made = self._connection
        return f"{self._name} ({made.user}@{made.host} port {made.port})"

    @property
    def may_ask(self) -> bool:
        """Whether connecting may ask the operator about the host key."""
        return self._host_keys.may_ask

    def step(self, reporter: Reporter, title: str) -> AbstractContextManager[None]:
        """Return the step of connecting; only a note if the operator may be asked meanwhile.

        A step that is drawn on the terminal would be drawn over the question.
        """
        if not self.may_ask:
            return reporter.step(title)
        reporter.note(f"{title} …")
        return nullcontext()

    def connect(self) -> None:
        """Connect; wait for a server that does not answer, for ``wait`` seconds at most.

        Raises:
            UnreachableError: no server answered in time.
            RefusedError: the server's host key is not the target's.
            InputError: the target's key file cannot be used.
            FailedError: the server accepts none of the keys, or has no algorithm that we have.
        """
        end = time.monotonic() + self._wait
        while True:
            try:
                return self._connect(end - time.monotonic())
            except UnreachableError:
                self.close()
                if time.monotonic() > end:
                    raise
            except BaseException:
                self.close()
                raise
            time.sleep(PAUSE_S)
            self._connection = self._new_connection()

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, if there is one."""
        self._connection.client.close()

    def wait_until_lost(self, timeout: float | None = None) -> bool:
        """Wait until the connection has ended, because the board or the network is down.

        Args:
            timeout: seconds to wait at most; without end if ``None``.

        Returns:
            Whether it has ended.
        """
        transport: Transport = self._connection.transport
        transport.set_keepalive(KEEPALIVE_S)
        with logged("ssh", "wait until the connection is lost", board=self.where):
            transport.join(timeout)
        return not transport.is_active()

    def run(
        self,
        script: str,
        *,
        title: str,
        stdin: bytes | Secret | None = None,
        sudo: bool = False,
        timeout: float,
    ) -> RemoteFinished:
        """Run ``script`` by ``sh -c`` on the board and return what it wrote.

        Args:
            script: for a POSIX shell; nothing secret.
            title: what the script does, for an error.
            stdin: what the script reads; empty when ``None``.
            sudo: run as root, by sudo if somebody else logged in.
            timeout: seconds after which the connection is closed. The script may go on.

        Raises:
            SudoPasswordError: sudo asks for a password, and none was given.
            FailedError: the connection was lost, the time is over, there was more than
                :data:`MAX_OUTPUT`, or sudo is missing or refuses.
        """
        data = stdin.reveal() if isinstance(stdin, Secret) else stdin or b""
        shell = quote_words(["sh", "-c", script])
        if sudo:
            shell = as_root(script, self._sudo_password)
            data = input_of(data, self._sudo_password)
        with logged(
            *("ssh", title), board=self.where, script=script, stdin=stdin, sudo=sudo
        ) as result:
            finished = self._run_shell(shell, data, title, timeout)
            result |= {"status": finished.returncode}
            result |= {"stdout": finished.stdout, "stderr": finished.stderr}
        if sudo:
            check_sudo(finished.stderr, self.where, self._connection.user, self._sudo_password)
        return finished

    def _run_shell(self, shell: str, data: bytes, title: str, timeout: float) -> RemoteFinished:
        transport: Transport = self._connection.transport
        finished, why = None, "it was closed"
        end = time.monotonic() + timeout
        # paramiko waits for some answers without a limit; a closed transport ends every wait.
        guard = threading.Timer(timeout, transport.close)
        guard.start()
        try:
            with transport.open_session(timeout=CONNECT_S) as channel:
                channel.exec_command(shell)
                finished = _converse(channel, data)
        except _TooMuchError:
            self.close()
            raise FailedError(
                f"{self.where}: {title}: more than {MAX_OUTPUT // 1024} KiB of output"
            ) from None
        except (SSHException, EOFError, OSError) as error:
            why = _text(error)
        finally:
            guard.cancel()
        if finished is None:
            raise self._unfinished(title, transport, why, timeout, time.monotonic() >= end)
        return finished

    def _unfinished(
        self, title: str, transport: Transport, why: str, timeout: float, late: bool
    ) -> FailedError:
        if late:
            how = f"no end after {timeout:.0f} s"
        elif transport.is_active():
            return FailedError(f"{self.where}: {title}: ended by a signal; run it again")
        else:
            how = f"the connection was lost ({why})"
        return FailedError(
            f"{self.where}: {title}: {how}. What was under way on the board may go on; run it again"
        )

    def _new_connection(self) -> fabric.Connection:
        try:
            connection = fabric.Connection(
                self._ssh.host,
                port=self._ssh.port,
                user=self._ssh.user,
                forward_agent=False,
            )
        except ConfigParseError as error:
            raise InputError(f"your ~/.ssh/config cannot be understood: {error}") from None
        connection.client.set_missing_host_key_policy(_Policy(self._host_keys))
        return connection

    def _connect(self, left: float) -> None:
        made = self._connection
        most = max(LEAST_S, left) if self._wait else AUTHENTICATE_S
        made.connect_timeout = int(min(CONNECT_S, most))
        configured = [paths.expand_user(path) for path in made.ssh_config.get("identityfile", [])]
        usual = [paths.home() / ".ssh" / name for name in USUAL]
        keys = OfferedKeys(made.user, self._ssh.identity, configured or usual, not configured)
        made.connect_kwargs = {
            "auth_strategy": keys,
            "banner_timeout": min(CONNECT_S, most),
            "auth_timeout": min(AUTHENTICATE_S, most),
            "channel_timeout": CONNECT_S,
            "transport_factory": self._transport,
        }
        try:
            with logged("ssh", "connect", board=self.where):
                made.open()
        except AuthFailure:
            raise self._refused(keys) from None
        except socket.gaierror as error:
            raise self._unreachable(f"the name cannot be resolved: {error.strerror}") from None
        except NoValidConnectionsError as error:
            raise self._unreachable(_reasons(error)) from None
        except TimeoutError:
            raise self._unreachable("no answer") from None
        except IncompatiblePeer as error:
            raise FailedError(
                f"{self.where}: the server has no algorithm that we have: {_text(error)}"
            ) from None
        except ProxyCommandFailure as error:
            raise self._unreachable(f"the proxy of ~/.ssh/config failed: {_text(error)}") from None
        except (SSHException, EOFError) as error:
            raise self._unreachable(f"no SSH server answers there ({_text(error)})") from None
        except OSError as error:
            raise self._unreachable(error.strerror or str(error)) from None

    def _transport(self, *args: object, **kwargs: object) -> Transport:
        """Return a new transport that asks for a host key of a type that is known."""
        transport = Transport(*args, **kwargs)  # type: ignore[arg-type]
        options = transport.get_security_options()
        known = set(self._host_keys.types)
        if "ssh-rsa" in known:  # RFC 8332: the same key under newer signatures.
            known |= {"rsa-sha2-512", "rsa-sha2-256"}
        offered = list(options.key_types)
        options.key_types = [*(kind for kind in offered if kind in known)] + [
            kind for kind in offered if kind not in known
        ]
        return transport

    def _refused(self, keys: OfferedKeys) -> FailedError:
        transport = self._connection.client.get_transport()
        # Not get_banner(): it returns none after the server has closed the connection.
        banner = getattr(transport and transport.auth_handler, "banner", None) or b""
        if b"pam_nologin" in banner:
            return self._unreachable("it is starting or shutting down: only root may log in")
        return refusal(keys, self.where)

    def _unreachable(self, why: str) -> UnreachableError:
        return UnreachableError(
            f"{self.where}: {why}. Is the board on and in the network, and its address right?"
        )


class _Policy(MissingHostKeyPolicy):
    """Has :class:`HostKeys` check every server's key; paramiko itself knows no keys."""

    def __init__(self, host_keys: HostKeys) -> None:
        self._host_keys = host_keys

    def missing_host_key(self, client: SSHClient, hostname: str, key: PKey) -> None:  # noqa: ARG002
        self._host_keys.check(f"{key.get_name()} {key.get_base64()}")


class _TooMuchError(Exception):
    """A script wrote more than :data:`MAX_OUTPUT`."""


def _converse(channel: Channel, data: bytes) -> RemoteFinished | None:
    """Send ``data`` to a script, and return its output and status.

    ``None`` if the server reports no status. Both directions at the same time: a script that
    writes much before it reads must not block.
    """
    out, err = bytearray(), bytearray()
    unsent = memoryview(data)
    if not data:
        channel.shutdown_write()
    while True:
        # Before anything is received: if the end is known now, all output is ready to receive.
        ended = channel.eof_received or channel.closed
        ready = channel.recv_ready() or channel.recv_stderr_ready()
        if channel.recv_ready():
            out += channel.recv(_CHUNK)
        if channel.recv_stderr_ready():
            err += channel.recv_stderr(_CHUNK)
        if len(out) > MAX_OUTPUT or len(err) > MAX_OUTPUT:
            raise _TooMuchError
        if unsent and channel.send_ready():
            unsent = _send(channel, unsent)
        if ended and not ready:
            break
        if not ready:
            # select() waits until there is something to receive, not until we may send.
            select.select([channel], [], [], 0.02 if unsent else None)
    channel.status_event.wait()
    if channel.exit_status < 0:
        return None
    return RemoteFinished(channel.exit_status, bytes(out), bytes(err))


def _send(channel: Channel, unsent: memoryview) -> memoryview:
    try:
        sent = channel.send(unsent[:_CHUNK].tobytes())
    except OSError:  # The script has ended without reading everything, which is no error.
        return unsent[len(unsent) :]
    if sent == len(unsent):
        channel.shutdown_write()
    return unsent[sent:]


def _reasons(error: NoValidConnectionsError) -> str:
    texts = {getattr(reason, "strerror", None) or str(reason) for reason in error.errors.values()}
    return ", ".join(sorted(texts))


def _text(error: BaseException) -> str:
    # It may quote text of the server.
    return sanitize_line(" ".join(str(error).split())) or type(error).__name__
