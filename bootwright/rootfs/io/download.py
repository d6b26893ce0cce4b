"""Downloads by curl that continue after a broken connection and after a killed process.

A download is written to a partial file. Beside it are the headers of the server's answer, which
curl writes before the first byte. Their validators (ETag, Last-Modified) identify the version of
the remote file, so that the next run requests only the rest, and only if the remote file is still
that version (Range and If-Range). Some servers ignore If-Range, so the headers of the answer with
the rest are compared too, before its first byte is written.

curl writes no file but the headers, so that it never writes to one that a later run uses. Further
attempts are made here, because curl's ``--retry`` starts again where its first attempt started.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bootwright.core.errors import FailedError
from bootwright.core.io.process import Stream
from bootwright.core.report import Reporter
from bootwright.core.units import format_size
from bootwright.rootfs.http_answer import Answer, Validators, parse_headers
from bootwright.rootfs.io.curl import (
    NO_RANGE,
    TIMED_OUT,
    TOO_LARGE,
    DownloadUnreachableError,
    raise_failure,
    request,
    result_of,
)

TIMEOUT_S = 30.0
"""Seconds without a byte after which a connection counts as lost."""

ATTEMPTS = 5
"""The number of consecutive attempts without progress after which a download fails."""

PROGRESS_BYTES = 64 * 1024
"""New bytes that count as progress; with fewer for each attempt, the download fails too."""

_CHUNK = 1024 * 1024
# The statuses of an answer with the whole file, and with a part of it.
_WHOLE = (200, 203)
_PART = (206,)


@dataclass(frozen=True)
class Downloaded:
    """A completely downloaded file.

    Attributes:
        path: the file.
        sha256: in lower-case hexadecimal.
        md5: in lower-case hexadecimal.
        size: in bytes.
        validators: identify its version on the server.
        transferred: the bytes that this run has received, without those of earlier runs.
    """

    path: Path
    sha256: str
    md5: str
    size: int
    validators: Validators
    transferred: int


class _OtherVersionError(Exception):
    """The server sends another part than requested, or a part of another version."""


def download_small(url: str, limit: int = 64 * 1024) -> bytes | None:
    """Return the content of a small file; ``None`` if the server answers that there is none.

    Raises:
        DownloadUnreachableError: the server cannot be reached or cannot answer now.
        FailedError: it refuses, or the file is larger than ``limit`` bytes.
    """
    too_large = FailedError(f"{url}: larger than {format_size(limit)}, so not the expected file")
    data = b""
    with request(url, TIMEOUT_S, "--max-filesize", str(limit)) as running:
        while piece := running.read(_CHUNK):
            data += piece
            if len(data) > limit:  # curl checks only a length that the server announces
                raise too_large
        ended = result_of(running)
    if ended.code == TOO_LARGE:
        raise too_large
    if ended.status in (404, 410):
        return None
    raise_failure(url, ended)
    _check_status(url, ended.status, _WHOLE)
    return data


def unchanged(url: str, validators: Validators) -> bool:
    """Return whether the server still has the version that ``validators`` identify.

    Raises:
        DownloadUnreachableError: the server cannot be reached or cannot answer now.
        FailedError: it refuses, or no longer has the file.
    """
    headers = {}
    if validators.etag:
        headers["If-None-Match"] = validators.etag
    elif validators.last_modified:
        headers["If-Modified-Since"] = validators.last_modified
    with request(url, TIMEOUT_S, "--head", headers=headers) as running:
        answer = b"".join(iter(lambda: running.read(_CHUNK), b""))
        ended = result_of(running)
    if ended.code == 0 and ended.status == 304:
        return True
    raise_failure(url, ended)
    return validators.same(parse_headers(answer).validators)


def download(
    url: str,
    partial_dir: Path,
    reporter: Reporter,
    *,
    timeout: float = TIMEOUT_S,
    pause: Callable[[float], None] = time.sleep,
) -> Downloaded:
    """Download ``url`` into a file of ``partial_dir``; continue the download of an earlier run.

    The caller moves the file to its final path, or removes it with :func:`discard`. It also
    prevents other processes from downloading the same address at the same time
    (:func:`bootwright.core.io.lock.exclusive`).

    Args:
        url: an ``http`` or ``https`` address; redirections are followed.
        partial_dir: the directory; it is made if it is missing.
        reporter: shows the progress.
        timeout: seconds without a byte after which a connection counts as lost; a whole number.
        pause: waits some seconds between attempts.

    Raises:
        DownloadUnreachableError: the server cannot be reached, or the connection broke each time.
        FailedError: the server refuses, or the disk is full.
    """
    path = partial_path(url, partial_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Unbuffered, so that everything written is kept if this process is killed.
    with path.open("ab", buffering=0) as file:
        transfer = _Transfer(url, file, path, reporter, timeout)
        attempts, last_size = 0, transfer.size
        while True:
            try:
                transfer.attempt()
                return transfer.finish()
            except DownloadUnreachableError as problem:
                if transfer.size - last_size >= PROGRESS_BYTES:
                    attempts, last_size = 0, transfer.size
                attempts += 1
                if attempts >= ATTEMPTS:
                    raise
                reporter.note(f"{problem}; trying again")
            pause(2.0 ** (attempts - 1))


def partial_path(url: str, partial_dir: Path) -> Path:
    """Return the path of the partial file of ``url``."""
    return partial_dir / hashlib.sha256(url.encode()).hexdigest()[:32]


def discard(path: Path) -> None:
    """Remove a partial file and its headers, so that the next run starts at the beginning."""
    for each in (path, _sidecar(path), _resumed_sidecar(path)):
        each.unlink(missing_ok=True)


class _Transfer:
    """One download: the partial file, open for appending, and the version that it is a part of."""

    def __init__(
        self, url: str, file: BinaryIO, path: Path, reporter: Reporter, timeout: float
    ) -> None:
        self.url, self.file, self.path = url, file, path
        self.reporter, self.timeout = reporter, timeout
        self.transferred = 0
        self._read_headers()
        if self.size and self.validators.if_range():
            reporter.note(f"resuming after {format_size(self.size)}")

    def attempt(self) -> None:
        """Request what is missing and write it.

        Raises:
            DownloadUnreachableError: the connection broke; what was received is kept.
            FailedError: the server refuses, or the disk is full.
        """
        self._read_headers()
        condition = self.validators.if_range()
        headers = {"If-Range": condition} if self.size and condition else {}
        if not headers:
            self._restart()
        offset, expected = self.size, _PART if self.size else _WHOLE
        sidecar = _resumed_sidecar(self.path) if offset else _sidecar(self.path)
        sidecar.unlink(missing_ok=True)
        free = shutil.disk_usage(self.path.parent).free
        options = ["--max-filesize", str(max(free, 1)), "--dump-header", str(sidecar)]
        options += ["--continue-at", str(offset)] if offset else []
        try:
            with request(self.url, self.timeout, *options, headers=headers) as running:
                self._receive(running, offset)
                ended = result_of(running)
            self._read_headers()
            complete = self.total is None or self.size == self.total
            if offset:
                self._compare(offset, broken=ended.code != 0)
                if ended.status == 416 and self.total is not None and complete:
                    return  # it is complete, and still the same version (If-Range)
                if ended.status in (*_WHOLE, 416) or ended.code == NO_RANGE:
                    raise _OtherVersionError
        except _OtherVersionError:
            self._restart()
            self.reporter.note("the file has changed or the server cannot resume: starting again")
            self.attempt()
            return
        if ended.code == TOO_LARGE:
            # The size may be unknown, or the one that the file had before.
            missing, room = (self.total or 0) - offset, format_size(free)
            need = f"needs {format_size(missing)} more, but only {room} are free"
            if missing <= free:
                need = f"is too large: more is to come than the {room} that are free"
            raise FailedError(f"{self.path.parent}: the download {need}")
        if not complete and ended.status in expected and ended.code != TIMED_OUT:
            raise DownloadUnreachableError(
                f"{self.url}: the connection ended after {self.size} of {self.total} bytes"
            )
        raise_failure(self.url, ended)
        _check_status(self.url, ended.status, expected)

    def finish(self) -> Downloaded:
        """Return the complete file, after it was written to the disk."""
        with _writing(self.path):
            os.fsync(self.file.fileno())
        with self.path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        return Downloaded(self.path, sha256, md5, self.size, self.validators, self.transferred)

    def _receive(self, running: Stream, offset: int) -> None:
        data = running.read(_CHUNK)
        if not data:
            return
        self._read_headers()
        if offset:
            _check_status(self.url, self._compare(offset), _PART)
        else:
            _check_status(self.url, self.status, _WHOLE)
        with self.reporter.meter(self.url.rsplit("/", 1)[-1], self.total) as meter:
            meter.advance(self.size)
            while data:
                rest = memoryview(data)
                with _writing(self.path):
                    # An unbuffered write may write only a part, for example on a full disk.
                    while rest:
                        rest = rest[self.file.write(rest) :]
                self.size += len(data)
                self.transferred += len(data)
                meter.advance(len(data))
                data = running.read(_CHUNK)

    def _compare(self, offset: int, broken: bool = False) -> int:
        """Compare the resumed answer with the version of the partial file; return its status.

        If the connection is ``broken``, the last headers may be missing.

        Raises:
            _OtherVersionError: they differ.
        """
        answer = _read_answer(_resumed_sidecar(self.path))
        other_part = answer.start != offset and not (broken and answer.start is None)
        if answer.status in (*_PART, 416) and (
            self.validators.differ(answer.validators)
            or (other_part and answer.status != 416)
            or (None not in (self.total, answer.total) and self.total != answer.total)
        ):
            raise _OtherVersionError
        return answer.status

    def _restart(self) -> None:
        os.truncate(self.path, 0)
        _sidecar(self.path).unlink(missing_ok=True)
        _resumed_sidecar(self.path).unlink(missing_ok=True)
        self._read_headers()

    def _read_headers(self) -> None:
        """Set what the first answer says of the remote file, and the size of the partial file."""
        answer = _read_answer(_sidecar(self.path))
        self.status, self.validators, self.total = answer.status, answer.validators, answer.length
        self.size = self.path.stat().st_size


def _check_status(url: str, status: int, expected: tuple[int, ...]) -> None:
    """Raise :class:`FailedError` unless the answer has one of the ``expected`` statuses."""
    if status not in expected:
        raise FailedError(f"{url}: the server answers {status}, not {expected[0]} with the file")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FailedError(f"{path}: cannot write the download: {error.strerror}") from error


def _sidecar(path: Path) -> Path:
    return path.with_suffix(".headers")


def _resumed_sidecar(path: Path) -> Path:
    return path.with_suffix(".resumed-headers")


def _read_answer(sidecar: Path) -> Answer:
    """Return the answer in a sidecar; a missing or an unreadable one has no answer."""
    try:
        return parse_headers(sidecar.read_bytes())
    except OSError:
        return parse_headers(b"")
