"""Writing the log of a run: to a private file in ``build/log``, and to the terminal if wanted.

Each run has a file of its own, which is made at the first action of a gateway: a run that only
reads files of the checkout, such as ``inv config``, makes none. Records are written immediately, so
that the file is complete also after a run that was interrupted or killed. If the file cannot be
written, there is one warning, and the run continues.
"""

import errno
import fcntl
import logging
import os
import re
import stat
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bootwright.core.cli import OUR_BUG, exit_code
from bootwright.core.paths import display_path
from bootwright.core.run_log import LOGGER, JsonLines, event
from bootwright.core.text import sanitize_line

MAX_FILES = 50
"""How many files are kept."""

MAX_TOTAL_BYTES = 128 * 1024 * 1024
"""How many bytes all files that are kept may have."""

MAX_FILE_BYTES = 16 * 1024 * 1024
"""How many bytes one file may have; a long run then begins another file."""

LIBRARIES = ("paramiko",)
"""Libraries whose log messages are written too."""

_QUIET = ("run", "report")
"""Sources of records that alone are no reason to make a file."""


_NAME = re.compile(r"\d{8}T\d{6}Z-.*\.jsonl")
"""The names of logs; other files in the folder are not removed."""


class RunLog:
    """The log of this run.

    Args:
        directory: the folder of the logs, such as ``build/log``.
        name: the task, for the file's name.
        debug: whether each record is also printed on standard error.
    """

    def __init__(self, directory: Path, name: str, debug: bool) -> None:
        self._handlers: list[logging.Handler] = [_File(directory, name)]
        if debug:
            self._handlers.append(_Terminal())
        for handler in self._handlers:
            handler.setFormatter(JsonLines())

    @property
    def path(self) -> Path | None:
        """The file, if there is one; the last one of a run that has several."""
        file = self._handlers[0]
        assert isinstance(file, _File)
        return file.path

    @contextmanager
    def recording(self, **fields: Any) -> Iterator[None]:
        """Write a log while the context lasts.

        Args:
            fields: the command line and the like, for the first record.
        """
        loggers = [LOGGER, *map(logging.getLogger, LIBRARIES)]
        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.DEBUG if logger is LOGGER else logging.INFO)
            for handler in self._handlers:
                logger.addHandler(handler)
        start = time.monotonic()
        event("run", "start", pid=os.getpid(), user=os.geteuid(), cwd=Path.cwd(), **fields)
        result: dict[str, Any] = {"status": 0}
        try:
            yield
        except BaseException as error:
            result = {"status": exit_code(error), "error": f"{type(error).__name__}: {error}"}
            if result["status"] == OUR_BUG:
                result["traceback"] = "".join(traceback.format_exception(error))
            raise
        finally:
            level = logging.ERROR if result["status"] == OUR_BUG else logging.INFO
            seconds = round(time.monotonic() - start, 3)
            event("run", "end", level, seconds=seconds, **result)
            for logger, before in zip(loggers, levels, strict=True):
                logger.setLevel(before)
                for handler in self._handlers:
                    logger.removeHandler(handler)
            for handler in self._handlers:
                handler.close()


class _Terminal(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "gateway", "") == "report":
            return  # a reporter has printed it
        try:
            # Not kept in a variable: while a progress bar is shown, sys.stderr is another stream,
            # which prints above the bar.
            print(sanitize_line(self.format(record)), file=sys.stderr, flush=True)
        except OSError:
            pass  # standard error was closed
        except Exception:
            self.handleError(record)


class _File(logging.Handler):
    """A new file with mode 0600; made at the first record that is not from :data:`_QUIET`."""

    def __init__(self, directory: Path, name: str) -> None:
        super().__init__()
        self.path: Path | None = None
        self._directory, self._name = directory, name
        self._descriptor: int | None = None
        self._full: list[int] = []
        """The files of this run that have reached their size. They stay locked until its end."""
        self._waiting: list[bytes] = []
        self._size = 0
        self._ended = False

    def emit(self, record: logging.LogRecord) -> None:
        if self._ended:
            return
        try:
            self._waiting.append(self.format(record).encode() + b"\n")
            quiet = getattr(record, "gateway", "") in _QUIET and record.levelno < logging.ERROR
            if self._descriptor is None and quiet:
                return
            lines, self._waiting = b"".join(self._waiting), []
            self._append(lines)
        except OSError as error:
            self._stop(error)
        except Exception:
            # A bug in the logging must not end the run.
            self.handleError(record)

    def close(self) -> None:
        open_files = [*self._full, *([] if self._descriptor is None else [self._descriptor])]
        for descriptor in open_files:
            os.close(descriptor)
        self._full, self._descriptor = [], None
        self._ended = True
        super().close()

    def _append(self, lines: bytes) -> None:
        if self._descriptor is None or self._size + len(lines) > MAX_FILE_BYTES:
            self._open()
        assert self._descriptor is not None
        try:
            rest = lines
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            # Remove an incomplete line.
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(lines)

    def _open(self) -> None:
        owner = _prepare(self._directory)
        stem = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{self._name}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        for number in range(1, 1000):
            path = self._directory / f"{stem}{f'-{number}' if number > 1 else ''}.jsonl"
            with suppress(FileExistsError):
                descriptor = os.open(path, flags, 0o600)
                break
        else:
            raise FileExistsError(errno.EEXIST, "there are 999 logs of this second", str(path))
        if self._descriptor is not None:
            self._full.append(self._descriptor)
        self._descriptor, self._size, self.path = descriptor, 0, path
        # _rotate() does not remove a locked file. Some network file systems have no locks.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        if owner is not None:
            os.fchown(descriptor, *owner)
        _rotate(self._directory)

    def _stop(self, error: OSError) -> None:
        self._ended = True
        where = display_path(self.path or self._directory)
        with suppress(OSError):
            print(
                f"warning: {where}: {error.strerror}; the log of this run"
                f" {'ends there' if self.path else 'is not written'}",
                file=sys.stderr,
                flush=True,
            )


def _prepare(directory: Path) -> tuple[int, int] | None:
    """Make the folder of the logs; return the owner (user and group id) that new files get.

    ``None``: this user. If root runs this in a user's checkout, the files get that user as owner,
    so that the user can remove them.
    """
    missing = [one for one in (directory, *directory.parents) if not one.exists()]
    above = (missing or [directory])[-1].parent.stat()
    owner = (above.st_uid, above.st_gid) if os.geteuid() == 0 and above.st_uid != 0 else None
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for one in missing:
        if owner is not None:
            os.chown(one, *owner)
    # The permissions of a folder change here, and files in it are removed: not those of others.
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(
            errno.ENOTDIR, "is not a folder, or is a link to one", str(directory)
        )
    if found.st_uid not in (os.geteuid(), *(owner or ())[:1]):
        raise PermissionError(errno.EPERM, "belongs to another user", str(directory))
    if found.st_mode & 0o077:
        directory.chmod(0o700)
    return owner


def _rotate(directory: Path) -> None:
    """Remove the oldest logs that exceed the limits, except those of runs that have not ended.

    Their age is that of their last record: the clock may have been wrong when they were named.
    """
    logs = []
    for path in directory.iterdir():
        with suppress(OSError):
            found = path.lstat()
            if _NAME.fullmatch(path.name) and stat.S_ISREG(found.st_mode):
                logs.append((found.st_mtime_ns, found.st_size, path))
    total = 0
    for number, (_, size, path) in enumerate(sorted(logs, reverse=True)):
        total += size
        if number < MAX_FILES and total <= MAX_TOTAL_BYTES:
            continue
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(descriptor)
