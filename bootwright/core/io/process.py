"""The one gateway to child processes.

Commands are argument lists, never shell text. A child gets a small environment
made here, so that a variable of the operator cannot change what a tool does, and
a secret goes to standard input alone. A failing command is shown in a form that
can be pasted into a shell.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from bootwright.core.errors import FailedError
from bootwright.core.io.tool_list import debian_package
from bootwright.core.run_log import logged
from bootwright.core.secret import MASK, Secret
from bootwright.core.shell import quote_words

_PASSED_ON = ("HOME", "TMPDIR", "USER", "LOGNAME", "SUDO_USER", "http_proxy", "https_proxy")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Finished:
    """A child that has ended: what was run, its status and its output."""

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as UTF-8; undecodable bytes become U+FFFD."""
        return self.stdout.decode("utf-8", "replace")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment that children get: C.UTF-8, system path, little else."""
    env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
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
) -> Finished:
    """Run ``argv`` to its end and return what it wrote.

    Args:
        argv: program and arguments; nothing secret.
        stdin: what the child reads; empty when ``None``.
        check: raise when the status is not 0.
        env: added to the small environment that every child gets.
        pass_fds: descriptors that stay open in the child.
        timeout: seconds after which the child is ended.
        log_output: write the child's output to the log of the run; not if it may be secret.

    Raises:
        FailedError: the tool is missing, took too long, or (with ``check``) failed.
    """
    data = stdin.reveal() if isinstance(stdin, Secret) else stdin or b""
    try:
        with logged("process", argv[0], argv=argv, stdin=stdin, env=env or {}) as result:
            done = subprocess.run(
                list(argv),
                input=data,
                capture_output=True,
                env=environment(env),
                pass_fds=tuple(pass_fds),
                timeout=timeout,
            )
            out, err = done.stdout, done.stderr
            result |= {
                "status": done.returncode,
                "stdout": out if log_output else MASK,
                "stderr": err if log_output else MASK,
            }
    except FileNotFoundError:
        raise missing_tool(argv[0]) from None
    except OSError as error:
        raise FailedError(f"cannot run {argv[0]}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        # Not chained: TimeoutExpired carries the child's output.
        raise FailedError(f"no end after {timeout:.0f} s: {quote_words(argv)}") from None
    finished = Finished(tuple(argv), done.returncode, done.stdout, done.stderr)
    if check and done.returncode != 0:
        raise failure(finished)
    return finished


class Stream:
    """A child whose standard output is read while it runs; made by :func:`stream`."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self._stderr: bytes | None = None
        self.received = 0
        """Bytes of standard output that were read."""

    def read(self, limit: int) -> bytes:
        """Return what the child has written, after waiting for it; nothing at its end."""
        assert self._child.stdout is not None
        data = self._child.stdout.read(limit) or b""
        self.received += len(data)
        return data

    def finish(self) -> tuple[int, bytes]:
        """Wait for the child to end, and return its status and its standard error."""
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
    """Run ``argv`` and let its standard output be read meanwhile; it is ended with the context.

    Args:
        argv: program and arguments; nothing secret.
        stdin: what the child reads; less than a pipe holds (64 KiB).
        env: added to the small environment that every child gets.
        pass_fds: descriptors that stay open in the child.

    Raises:
        FailedError: the tool is missing, or cannot be run.
    """
    with logged("process", argv[0], argv=argv, stdin=stdin, env=env or {}) as result:
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
                with suppress(BrokenPipeError):  # it ended without reading all of it
                    child.stdin.write(stdin)
                child.stdin.close()
                yield running
            finally:
                child.kill()  # nothing happens to one that has ended
                result["status"], result["stderr"] = running.finish()
                result["received"] = running.received


def missing_tool(name: str) -> FailedError:
    """Return the error for a tool that this machine lacks."""
    package = debian_package(name)
    return FailedError(
        f"the tool {name!r} is missing: run scripts/setup, or install the package {package!r}"
    )


def failure(finished: Finished, hint: str = "") -> FailedError:
    """Return the error for a child that failed, with a line that can be pasted."""
    said = finished.stderr.decode("utf-8", "replace").strip() or finished.text.strip()
    lines = [f"exit {finished.returncode}: {quote_words(finished.argv)}"]
    lines += [f"  {line}" for line in said.splitlines()[-12:]]
    return FailedError("\n".join([*lines, hint] if hint else lines))
