"""Running OpenSSH's client: a shell for the operator, a connection for scripts, its settings.

OpenSSH alone reads the SSH configuration, checks host keys and logs in. It gets the operator's
own environment: an agent, a ProxyCommand and ``Match exec`` need what is in it.
"""

import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import FailedError, InputError
from bootwright.core.io.fsync import replace_file
from bootwright.core.io.process import missing_tool
from bootwright.core.paths import build_dir
from bootwright.core.run_log import logged
from bootwright.core.text import sanitize_line
from bootwright.remote.openssh_argv import known_hosts_text, ssh_argv
from bootwright.remote.openssh_log import ClientLog, configuration_error, lines_of

SETTINGS_S = 30.0
"""Seconds to read the configuration, in which ``Match exec`` may run programs."""

_END_WITH_US = ("setpriv", "--pdeathsig", "TERM", "--")
"""Has the kernel end the client when the thread that started it has ended, however: after Ctrl-C
the threads of several boards clean nothing up. setpriv(1), prctl(2): PR_SET_PDEATHSIG."""

_SHORTEST_CREDENTIAL = 8
"""Characters of a credential that is masked in what the client writes."""

_ENDED_S = 3.0
"""Seconds for the client to end before it is killed."""

_LONGEST_TMPDIR = 50
"""Bytes of the name of a folder for temporary files in which there may be a socket."""

_FOLDER = "bootwright-ssh-"
"""What the name of a client's folder begins with."""

_ABANDONED_S = 60.0
"""Age in seconds from which on a folder without a lock was left behind: its owner locks it as soon
as it has made it."""

_CREDENTIAL_NAME = re.compile(
    r"(^|_)(PASSWORD|PASSWD|PASSPHRASE|PASS|TOKEN|SECRET|API_?KEY)$|^SSHPASS$", re.IGNORECASE
)
"""Environment variables with a password or the like, by their usual names."""

_POLL_S = 0.01
"""Seconds between two looks at whether the client has logged in."""

_MOST_LINES = 2000
"""Lines of the client's log that are kept; a connection through one jump host has 200."""


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
    try:
        with logged("process", argv[0], argv=argv) as result:
            status = subprocess.run(argv).returncode
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


def client_settings(argv: Sequence[str]) -> Mapping[str, str]:
    """Return what the client would do with these arguments: ``ssh -G``; ssh(1).

    Args:
        argv: the client's command line.

    Returns:
        Settings by their names in small letters, such as ``user``; of several lines the first.

    Raises:
        InputError: the configuration has an error.
        FailedError: there is no ``ssh`` on this machine, or it does not end.
    """
    asked = [argv[0], "-G", *argv[1:]]
    try:
        with logged("process", "ssh -G", argv=asked) as result:
            done = subprocess.run(
                asked,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=_english(),
                timeout=SETTINGS_S,
            )
            log = lines_of(done.stderr.splitlines(), _credentials())
            result |= {"status": done.returncode, "stderr": log.lines}
    except FileNotFoundError:
        raise missing_tool("ssh") from None
    except subprocess.TimeoutExpired:
        raise FailedError(
            f"your SSH configuration: no end after {SETTINGS_S:.0f} s; which program does Match"
            " exec in it run?"
        ) from None
    if done.returncode != 0:
        raise InputError(configuration_error(log))
    lines = (line.split(" ", 1) for line in done.stdout.decode("utf-8", "replace").splitlines())
    found: dict[str, str] = {}
    for name, *value in lines:
        found.setdefault(name, sanitize_line("".join(value)))
    return found


class Client:
    """OpenSSH's client with a connection that is used over its control socket.

    It ends at the latest with the thread that started it.
    """

    def __init__(self) -> None:
        # A socket's path has at most 107 bytes, and the client adds 17 for a moment.
        usual = tempfile.gettempdir()
        folder = usual if len(os.fsencode(usual)) <= _LONGEST_TMPDIR else "/tmp"
        _remove_abandoned(Path(folder))
        # Python removes it at its end, too: after Ctrl-C, threads of several boards do not.
        self._folder = tempfile.TemporaryDirectory(
            prefix=_FOLDER, dir=folder, ignore_cleanup_errors=True
        )
        # Held until this process ends, however that happens; no other process inherits it.
        self._lock: int | None = os.open(self._folder.name, os.O_RDONLY | os.O_DIRECTORY)
        # A file system that cannot lock it (some over NFS) only means that it may seem abandoned.
        with contextlib.suppress(OSError):
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.control_path = Path(self._folder.name, "control")
        self.new_keys = Path(self._folder.name, "known_hosts")
        """Where the client may write a host key that nobody has confirmed yet."""
        self._child: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._lines: deque[bytes] = deque(maxlen=_MOST_LINES)

    def connect(self, argv: Sequence[str], timeout: float) -> bool:
        """Run the client until it has connected and logged in.

        Args:
            argv: from :func:`bootwright.remote.openssh_argv.connection_argv`.
            timeout: seconds for that.

        Returns:
            Whether it has; if not, :attr:`log` says why.

        Raises:
            FailedError: there is no ``ssh`` or no ``setpriv`` on this machine.
        """
        if shutil.which(argv[0]) is None:  # setpriv would say that only on standard error
            raise missing_tool(argv[0])
        self._lines.clear()
        end = time.monotonic() + timeout
        try:
            # In a session of its own: it has no terminal, and Ctrl-C is for this process, which
            # may still need the connection.
            child = subprocess.Popen(
                [*_END_WITH_US, *argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=_english(),
                start_new_session=True,
            )
        except FileNotFoundError:
            raise missing_tool(_END_WITH_US[0]) from None
        self._child = child
        self._reader = reader = threading.Thread(target=self._read, args=(child,), daemon=True)
        reader.start()
        # It listens there as soon as it has logged in.
        while not self.control_path.is_socket():
            if child.poll() is not None:
                self.wait_for_last_words()
                return False
            if time.monotonic() > end:
                return False
            time.sleep(_POLL_S)
        return True

    def wait_for_last_words(self) -> None:
        """Wait until :attr:`log` has all that the client wrote, which has ended or is ending."""
        if self._reader is not None:
            # Not longer: a process that the client started may keep standard error open.
            self._reader.join(1.0)

    @property
    def late(self) -> bool:
        """Whether the client still runs."""
        return self._child is not None and self._child.poll() is None

    @property
    def log(self) -> ClientLog:
        """What the client has written."""
        return lines_of(tuple(self._lines), _credentials())

    def remove_socket(self) -> None:
        """Remove the control socket, and the folder that it is in: nobody else will connect."""
        self._folder.cleanup()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def close(self) -> None:
        """End the client and its ProxyCommand; remove its socket. May be repeated."""
        child, self._child = self._child, None
        # A client that has ended has ended its ProxyCommand, and its number may be another's now.
        if child is not None and child.poll() is None:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(_ENDED_S)
                    break
        self.remove_socket()

    def _read(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stderr is not None
        with child.stderr:
            # A bounded line: what a server says may have no end.
            while line := child.stderr.readline(8192):
                self._lines.append(line)


@cache
def _remove_abandoned(parent: Path) -> None:
    """Remove the folders of clients whose program was killed; once, the first time.

    Only this user's own folders in ``parent`` that no running program has locked.
    """
    for folder in parent.glob(f"{_FOLDER}*"):
        with contextlib.suppress(OSError):
            opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                about = os.fstat(opened)
                old = time.time() - about.st_mtime > _ABANDONED_S
                if old and about.st_uid == os.geteuid():
                    fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(opened)


def _credentials() -> tuple[str, ...]:
    """Return the credentials in the operator's environment: a ProxyCommand may print them.

    Words of the client's own messages and what is shorter than eight characters are left out: the
    messages could not be understood any more.
    """
    return tuple(
        value
        for name, value in os.environ.items()
        if _CREDENTIAL_NAME.search(name)
        and len(value) >= _SHORTEST_CREDENTIAL
        and value.lower() not in ("password", "publickey")
    )


def _english() -> dict[str, str]:
    """Return the operator's environment; the messages of the C library are in English."""
    env = {name: value for name, value in os.environ.items() if name != "LANGUAGE"}
    return env | {"LC_ALL": "C.UTF-8"}
