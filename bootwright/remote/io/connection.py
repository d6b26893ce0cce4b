"""The one gateway for running scripts on a board over SSH, by Fabric over OpenSSH.

OpenSSH connects, checks the host key and logs in; each script is a session of its own over that
connection ([0034](docs/decisions/0034-openssh-connects.md)). Scripts are for a POSIX shell: Arch
Linux ARM has no Python. A secret goes to a script only by its standard input. `inv ssh`, which
gives the operator a shell, is in :mod:`bootwright.remote.io.openssh`.
"""

import logging
import re
import select
import threading
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from paramiko import Channel, Transport
from paramiko.ssh_exception import ChannelException, SSHException

from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import FailedError, InputError
from bootwright.core.io.ask import Ask
from bootwright.core.report import Reporter
from bootwright.core.run_log import logged
from bootwright.core.secret import Secret, mask
from bootwright.core.shell import quote_words
from bootwright.core.text import sanitize_line
from bootwright.remote.io.host_keys import HostKeys
from bootwright.remote.io.multiplexed import MultiplexedConnection
from bootwright.remote.io.openssh import Client, client_settings
from bootwright.remote.io.wait import PAUSE_S, usual_wait
from bootwright.remote.openssh_argv import connection_argv, ssh_argv
from bootwright.remote.openssh_log import (
    Failure,
    agent_hangs,
    configuration_error,
    failure_of,
    login_refused,
    why_unreachable,
)
from bootwright.remote.sections import Section, parse_sections
from bootwright.remote.sudo import as_root, check_sudo, input_of

CONNECT_S = 20.0
"""Seconds to connect until the server's greeting; an emulated board takes 2."""

AUTHENTICATE_S = 30.0
"""Seconds to log in, the SSH agent's answers included."""

LEAST_S = 5.0
"""Seconds to connect at least, even if less is left of the time to wait."""

MAX_OUTPUT = 1024 * 1024
"""Bytes of each of a script's two outputs; no script of ours writes nearly as much."""

_CHUNK = 32 * 1024

_SHOWN_LINES = 10
"""Lines of each output that an error shows."""

_SHOWN_BYTES = 8192
"""Bytes of each output in which these lines are."""

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

    def failure(self, first: str) -> str:
        """Return an error: ``first``, the exit status, and the last lines of both outputs.

        Of standard output only what is before the first section: a section may be secret.
        """
        lines = _written(self.stdout, self.stderr)
        return "\n".join([f"{first} (exit status {self.returncode})", *lines])


class Remote:
    """A connection to a target; a context manager that connects, and closes the connection.

    OpenSSH makes it: the SSH configuration, jump hosts and the agent count as for ``inv ssh``.

    Args:
        endpoint: the target.
        ask: how to ask about a host key that is not known; ``None`` without a terminal.
        directory: where known-hosts files are kept; ``build/ssh`` if ``None``.
        wait: seconds to wait for a server that does not answer yet; as long as usual if ``None``,
            see :func:`bootwright.remote.io.wait.usual_wait`.
        login_in_wait: logging in has to end in them, too, or in :data:`LEAST_S` if that is more.
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
        wait: float | None = 0.0,
        login_in_wait: bool = False,
        sudo_password: Secret | None = None,
    ) -> None:
        self._ssh = endpoint.ssh_server()
        if self._ssh.identity is not None:
            _check_identity(self._ssh.identity)
        self._name = endpoint.name
        self._host_keys = HostKeys(endpoint, ask, directory)
        self._wait = usual_wait(endpoint.name, directory) if wait is None else wait
        self._login_in_wait = login_in_wait
        self._sudo_password = sudo_password
        self._client: Client | None = None
        self._connection: MultiplexedConnection | None = None

    @property
    def where(self) -> str:
        """The target with its address, for messages."""
        port = self._ssh.port or self._settings["port"]
        return f"{self._name} ({self._user}@{self._ssh.host} port {port})"

    @cached_property
    def _settings(self) -> Mapping[str, str]:
        return client_settings(ssh_argv(self._name, self._ssh, self._host_keys.file))

    @property
    def _user(self) -> str:
        """The login name."""
        return self._ssh.user or self._settings["user"]

    @property
    def _transport(self) -> Transport:
        assert self._connection is not None, "not connected"
        transport: Transport = self._connection.transport
        return transport

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
            RefusedError: the host key of the server, or of a jump host, is not the right one.
            InputError: the SSH configuration has an error.
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

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
        if self._client is not None:
            self._client.close()

    def wait_until_lost(self, timeout: float | None = None) -> bool:
        """Wait until the connection has ended, because the board or the network is down.

        Args:
            timeout: seconds to wait at most; without end if ``None``.

        Returns:
            Whether it has ended.
        """
        transport = self._transport
        # OpenSSH ends a connection on which nothing comes back.
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
            check_sudo(
                finished.returncode,
                finished.stderr,
                self.where,
                self._user,
                self._sudo_password,
            )
        return finished

    def report(
        self,
        script: str,
        *,
        title: str,
        stdin: bytes | Secret | None = None,
        sudo: bool = True,
        timeout: float,
    ) -> tuple[Section, ...]:
        """Run ``script``, which reports in sections, and return them; see :meth:`run`.

        Raises:
            FailedError: as for :meth:`run`, or the report has no end. Then what the script
                wrote is in the error.
        """
        done = self.run(script, title=title, stdin=stdin, sudo=sudo, timeout=timeout)
        return self.sections_of(done, title)

    def sections_of(self, done: RemoteFinished, title: str) -> tuple[Section, ...]:
        """Return the sections that a script has reported; see :meth:`report`."""
        try:
            return parse_sections(done.text)
        except FailedError as error:
            raise FailedError(done.failure(f"{self.where}: {title}: {error}")) from None

    def _run_shell(self, shell: str, data: bytes, title: str, timeout: float) -> RemoteFinished:
        transport = self._transport
        finished, why = None, ""
        out, err = bytearray(), bytearray()
        end = time.monotonic() + timeout
        # paramiko waits for some answers without a limit; a closed transport ends every wait.
        guard = threading.Timer(timeout, transport.close)
        guard.start()
        try:
            with transport.open_session(timeout=CONNECT_S) as channel:
                channel.exec_command(shell)
                finished = _converse(channel, data, out, err)
        except _TooMuchError:
            self.close()
            raise FailedError(
                f"{self.where}: {title}: more than {MAX_OUTPUT // 1024} KiB of output"
            ) from None
        except ChannelException as error:
            raise self._no_session(error) from None
        except (SSHException, EOFError, OSError) as error:
            why = _text(error)
        finally:
            guard.cancel()
        if finished is None:
            late = time.monotonic() >= end
            first = self._unfinished(title, transport, why, timeout, late)
            raise FailedError("\n".join([first, *_written(bytes(out), bytes(err))]))
        return finished

    def _no_session(self, error: ChannelException) -> FailedError:
        return FailedError(
            f"{self.where}: the login is accepted, but the server opens no session"
            f" ({sanitize_line(error.text)}). Is MaxSessions 0 in the board's sshd_config, or are"
            " too many open?"
        )

    def _unfinished(
        self, title: str, transport: Transport, why: str, timeout: float, late: bool
    ) -> str:
        if late:
            how = f"no end after {timeout:.0f} s"
        elif not transport.is_active():
            reason = ""
            if self._client is not None:
                self._client.wait_for_last_words()
                reason = self._client.log.lost
            how = f"the connection was lost ({reason or why or 'it was closed'})"
        elif why:
            return (
                f"{self.where}: {title}: the server did not start it ({why}). Does the board hang?"
                " Run it again"
            )
        else:
            return f"{self.where}: {title}: ended by a signal; run it again"
        return (
            f"{self.where}: {title}: {how}. What was under way on the board may go on; run it again"
        )

    def _connect(self, left: float) -> None:
        most = max(LEAST_S, left) if self._wait else CONNECT_S
        with logged("ssh", "connect", board=self.where) as result:
            accepted: tuple[str, str] | None = None
            while not self._try(most, accept_new=accepted is not None, result=result):
                accepted = self._after_failure(accepted)
            assert self._client is not None
            self._record(accepted)
            self._connection = MultiplexedConnection(
                self._ssh, self._user, self._client.control_path
            )
            try:
                self._connection.open()
            except OSError as error:
                raise self._unreachable(f"the SSH client has ended: {error}") from None
            self._client.remove_socket()

    def _try(self, most: float, *, accept_new: bool, result: dict[str, Any]) -> bool:
        """Have OpenSSH connect; return whether it has."""
        self.close()
        self._client = client = Client()
        connect_s = min(CONNECT_S, most)
        end = connect_s + AUTHENTICATE_S
        if self._login_in_wait:
            end = min(end, most)
        known = (client.new_keys, self._host_keys.file) if accept_new else (self._host_keys.file,)
        argv = connection_argv(
            self._name,
            self._ssh,
            known,
            client.control_path,
            accept_new=accept_new,
            connect_s=max(1, int(connect_s)),
        )
        connected = client.connect(argv, end)
        result |= {"argv": argv, "client": client.log.without_commands}
        return connected

    def _record(self, accepted: tuple[str, str] | None) -> None:
        """Make the host key known that the operator has accepted, if OpenSSH has met it again."""
        assert self._client is not None
        if accepted is not None and self._client.new_keys.is_file():
            self._host_keys.record(accepted, self._client.new_keys)

    def _after_failure(self, accepted: tuple[str, str] | None) -> tuple[str, str]:
        """Return the host key with which to try again, since the operator has accepted it.

        Raises:
            BootwrightError: says why there is no connection.
        """
        assert self._client is not None
        log = self._client.log
        self._record(accepted)
        if self._client.late:
            if hangs := agent_hangs(log):
                agent = self._settings.get("identityagent", "SSH_AUTH_SOCK")
                raise FailedError(f"{self.where}: {hangs} ({agent}). End it, or log in to it anew")
            raise self._unreachable("no answer")
        match failure_of(log):
            case Failure.UNKNOWN_KEY if accepted is None and log.host_key is not None:
                self._host_keys.check_may_be_new(log.host_key)
                return log.host_key
            case Failure.UNKNOWN_KEY | Failure.WRONG_KEY:
                raise self._host_keys.refused(log)
            case Failure.CONFIGURATION:
                raise InputError(configuration_error(log))
            case Failure.LOGIN:
                raise FailedError(login_refused(log, self.where))
            case Failure.ALGORITHMS:
                raise FailedError(
                    f"{self.where}: the server has no algorithm that we have: {log.messages[-1]}"
                )
            case Failure.UNREACHABLE:
                raise self._unreachable(why_unreachable(log))

    def _unreachable(self, why: str) -> UnreachableError:
        return UnreachableError(
            f"{self.where}: {why}. Is the board on and in the network, and its address right?"
        )


class _TooMuchError(Exception):
    """A script wrote more than :data:`MAX_OUTPUT`."""


def _converse(
    channel: Channel, data: bytes, out: bytearray, err: bytearray
) -> RemoteFinished | None:
    """Send ``data`` to a script, and return its output and status.

    ``None`` if the server reports no status; ``out`` and ``err`` have what came until then. Both
    directions at the same time: a script that writes much before it reads must not block.
    """
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


def _written(stdout: bytes, stderr: bytes) -> list[str]:
    """Return the last lines that a script wrote; see :meth:`RemoteFinished.failure`."""
    found = []
    before = re.split(rb"^== ", stdout, maxsplit=1, flags=re.MULTILINE)[0]
    for name, data in (("standard error", stderr), ("standard output", before)):
        text = mask(data[-_SHOWN_BYTES:].decode("utf-8", "replace"))
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        found += [f"  {name}: {sanitize_line(line)[:200]}" for line in lines[-_SHOWN_LINES:]]
    return found


def _check_identity(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise InputError(f"SSH key {path}: cannot be read: {error.strerror}") from None


def _text(error: BaseException) -> str:
    # It may quote text of the server.
    return sanitize_line(" ".join(str(error).split())) or type(error).__name__
