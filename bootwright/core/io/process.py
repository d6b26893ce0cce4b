"""The only module that runs child processes.

Commands are lists of arguments, never text for a shell. A child gets a small environment,
so that the operator's variables cannot change what a tool does. A secret is only ever
written to standard input. The error for a failed command quotes it so that it can be
pasted into a shell.
"""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from bootwright.core.errors import FailedError
from bootwright.core.io.tool_list import debian_package
from bootwright.core.run_log import logged
from bootwright.core.secret import MASK, Secret
from bootwright.core.shell import quote_words

_INHERITED = ("HOME", "TMPDIR", "USER", "LOGNAME", "SUDO_USER", "http_proxy", "https_proxy")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class NotFinishedError(FailedError):
    """A child took too long, and was killed.

    Attributes:
        stderr: what it had written to standard error.
    """

    def __init__(self, text: str, stderr: bytes) -> None:
        super().__init__(text)
        self.stderr = stderr


@dataclass(frozen=True)
class Finished:
    """A child that has ended: its arguments, its exit status and its output."""

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as UTF-8; undecodable bytes become U+FFFD."""
        return self.stdout.decode("utf-8", "replace")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of children: the locale C.UTF-8, a PATH, and few other variables."""
    env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    path = os.environ.get("PATH", "")
    env |= {"PATH": f"{path}:{_PATH}" if path else _PATH, "LC_ALL": "C.UTF-8"}
    return env | dict(extra or {})


def run(
    argv: Sequence[str],
    *,
    stdin: bytes | Secret | None = None,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    timeout: float | None = None,
    log_output: bool = True,
    log_arguments: bool = True,
    as_operator: bool = False,
) -> Finished:
    """Run a program until it ends, and return its status and output.

    Args:
        argv: program and arguments; nothing secret.
        stdin: what the child reads; empty when ``None``.
        check: raise an error if the status is not 0.
        env: added to the small environment that every child gets.
        pass_fds: descriptors that stay open in the child.
        timeout: seconds after which the child is killed; with ``as_operator``, it gets no terminal
            then, and what it has started is killed, too.
        log_arguments: write the arguments to the log of the run; not if they may be secret.
        log_output: write the child's output to the log of the run; ``False`` if it may be secret.
        as_operator: give the child the operator's whole environment, which is not logged, and the
            terminal as its standard input: for the operator's own programs, which may ask. Its
            standard error is the terminal, too, where ours is: it is not returned then.

    Raises:
        FailedError: the tool is missing, or (with ``check``) failed.
        NotFinishedError: it took too long.
    """
    data = stdin.reveal() if isinstance(stdin, Secret) else stdin or b""
    own_group = as_operator and timeout is not None
    try:
        arguments = argv if log_arguments else [argv[0], MASK]
        with logged(
            *("process", argv[0]), argv=arguments, stdin=stdin, env=_logged_env(env)
        ) as result:
            with subprocess.Popen(
                list(argv),
                stdin=None if as_operator else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if as_operator and os.isatty(2) else subprocess.PIPE,
                env=os.environ | (env or {}) if as_operator else environment(env),
                pass_fds=tuple(pass_fds),
                start_new_session=own_group,
            ) as child:
                try:
                    out, err = child.communicate(None if as_operator else data, timeout)
                except BaseException:
                    _kill(child, own_group)
                    raise
            err = err or b""
            result |= {
                "status": child.returncode,
                "stdout": out if log_output else MASK,
                "stderr": err if log_output else MASK,
            }
    except FileNotFoundError:
        raise missing_tool(argv[0]) from None
    except OSError as error:
        raise FailedError(f"cannot run {argv[0]}: {error.strerror}") from None
    except subprocess.TimeoutExpired as late:
        # Not chained: TimeoutExpired contains the child's output.
        raise NotFinishedError(
            f"not finished after {timeout:.0f} s: {quote_words(argv)}", late.stderr or b""
        ) from None
    finished = Finished(tuple(argv), child.returncode, out, err)
    if check and child.returncode != 0:
        raise failure(finished)
    return finished


def _kill(child: "subprocess.Popen[bytes]", group: bool) -> None:
    """Kill a child; with ``group`` all that it has started, too."""
    with suppress(ProcessLookupError):
        if group:
            os.killpg(child.pid, signal.SIGKILL)
    child.kill()  # no effect if it has ended


class Stream:
    """A child whose standard output is read while it runs; made by :func:`stream`."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self._stderr: bytes | None = None
        self.received = 0
        """How many bytes of standard output were read."""

    def read(self, limit: int) -> bytes:
        """Wait for output of the child and return up to ``limit`` bytes; empty after its end."""
        assert self._child.stdout is not None
        data = self._child.stdout.read(limit) or b""
        self.received += len(data)
        return data

    def finish(self) -> tuple[int, bytes]:
        """Wait for the child to end; return its exit status and its standard error."""
        assert self._child.stderr is not None
        if self._stderr is None:
            self._stderr = self._child.stderr.read()
        return self._child.wait(), self._stderr


@contextmanager
def stream(
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> Iterator[Stream]:
    """Run a program whose standard output is read while it runs; it is killed with the context.

    Args:
        argv: program and arguments; nothing secret.
        stdin: what the child reads; less than fits into a pipe (64 KiB).
        env: added to the small environment that every child gets.
        pass_fds: descriptors that stay open in the child.

    Raises:
        FailedError: the tool is missing, or cannot be run.
    """
    with logged("process", argv[0], argv=argv, stdin=stdin, env=_logged_env(env)) as result:
        try:
            child = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=environment(env),
                pass_fds=tuple(pass_fds),
            )
        except FileNotFoundError:
            raise missing_tool(argv[0]) from None
        except OSError as error:
            raise FailedError(f"cannot run {argv[0]}: {error.strerror}") from None
        with child:
            running = Stream(child)
            try:
                assert child.stdin is not None
                with suppress(BrokenPipeError):  # it has ended without reading all input
                    child.stdin.write(stdin)
                child.stdin.close()
                yield running
            finally:
                child.kill()  # no effect if it has ended
                result["status"], result["stderr"] = running.finish()
                result["received"] = running.received


def _logged_env(env: Mapping[str, str] | None) -> dict[str, str]:
    """Return variables for the log: the address of a proxy may have a password."""
    pairs = (env or {}).items()
    return {name: MASK if name.lower().endswith("_proxy") else value for name, value in pairs}


def missing_tool(name: str) -> FailedError:
    """Return the error for a tool that is not installed on this machine."""
    package = debian_package(name)
    return FailedError(
        f"the tool {name!r} is missing: run scripts/setup, or install the package {package!r}"
    )


def failure(finished: Finished, hint: str = "") -> FailedError:
    """Return the error for a failed child: its command line and the end of its messages."""
    message = finished.stderr.decode("utf-8", "replace").strip() or finished.text.strip()
    lines = [f"exit {finished.returncode}: {quote_words(finished.argv)}"]
    lines += [f"  {line}" for line in message.splitlines()[-12:]]
    return FailedError("\n".join([*lines, hint] if hint else lines))
