"""Downloads over HTTP that survive a broken connection and a killed process.

A download grows in a partial file. Beside it stand the validators (ETag,
Last-Modified) of what it is a part of, written before the first byte, so that the
next run asks for the rest alone, and only of that very file (Range and If-Range).
"""

import hashlib
import http.client
import json
import os
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from email.message import Message
from pathlib import Path
from typing import BinaryIO

from bootwright.core.errors import FailedError
from bootwright.core.report import Reporter
from bootwright.core.units import format_size

TIMEOUT_S = 30.0
"""Seconds without a byte after which a connection counts as lost."""

ATTEMPTS = 5
"""Attempts in a row without progress before a download is given up."""

PROGRESS = 64 * 1024
"""New bytes that count as progress; so a server that trickles is given up too."""

_CHUNK = 1024 * 1024
_AGENT = "bootwright"


class DownloadUnreachableError(FailedError):
    """The server cannot be reached, or cannot answer now; another time it may."""


class _LostError(Exception):
    """The connection broke; what came is kept."""


@dataclass(frozen=True)
class Validators:
    """What tells one version of a remote file from another, as the server names it."""

    etag: str | None = None
    last_modified: str | None = None

    def same(self, other: "Validators") -> bool:
        """Return whether both surely name the same bytes: one validator decides."""
        if self.etag or other.etag:
            return self.etag == other.etag
        return self.last_modified is not None and self.last_modified == other.last_modified

    def if_range(self) -> str | None:
        """Return what ``If-Range`` may carry: a strong ETag, else a date (RFC 9110, 13.1.5)."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified


@dataclass(frozen=True)
class Downloaded:
    """A file that has arrived whole.

    ``sha256`` and ``md5`` are lower-case hexadecimal; ``transferred`` counts the bytes
    of this run, the resumed part left out.
    """

    path: Path
    sha256: str
    md5: str
    size: int
    validators: Validators
    transferred: int


def small(url: str, limit: int = 64 * 1024) -> bytes | None:
    """Return a small file's bytes, or ``None`` when the server says that there is none.

    Raises:
        UnreachableError: the server cannot be reached or cannot answer now.
        FailedError: it refuses, or the file is larger than ``limit`` bytes.
    """
    try:
        with _open(url) as response:
            data = bytes(response.read(limit + 1))
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):
            return None
        raise _answer(url, error) from error
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(url, error) from error
    if len(data) > limit:
        raise FailedError(f"{url}: larger than {format_size(limit)}, so not what was expected")
    return data


def unchanged(url: str, validators: Validators) -> bool:
    """Return whether the server still has the version that ``validators`` name.

    Raises:
        UnreachableError: the server cannot be reached or cannot answer now.
        FailedError: it refuses, or no longer has the file.
    """
    headers = {}
    if validators.etag:
        headers["If-None-Match"] = validators.etag
    elif validators.last_modified:
        headers["If-Modified-Since"] = validators.last_modified
    try:
        with _open(url, headers, method="HEAD") as response:
            return validators.same(_validators(response.headers))
    except urllib.error.HTTPError as error:
        if error.code == 304:
            return True
        raise _answer(url, error) from error
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(url, error) from error


def download(
    url: str,
    partial_dir: Path,
    reporter: Reporter,
    *,
    timeout: float = TIMEOUT_S,
    pause: Callable[[float], None] = time.sleep,
) -> Downloaded:
    """Download ``url`` into a file of ``partial_dir``, resuming what an earlier run left.

    The caller moves the file to where it belongs, or removes it with :func:`discard`,
    and keeps other processes from downloading the same meanwhile
    (:func:`bootwright.core.io.lock.exclusive`).

    Args:
        url: an ``http`` or ``https`` address; redirections are followed.
        partial_dir: made when missing.
        reporter: gets the progress.
        timeout: seconds without a byte after which a connection counts as lost.
        pause: waits between attempts.

    Raises:
        UnreachableError: the server cannot be reached, or the connection kept breaking.
        FailedError: the server refuses, or the disk is full.
    """
    path = partial_path(url, partial_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    # Unbuffered: what is written survives a kill.
    with path.open("r+b", buffering=0) as file:
        transfer = _Transfer(url, file, path, reporter, timeout)
        attempts, furthest = 0, transfer.size
        while True:
            try:
                transfer.attempt()
                return transfer.finish()
            except urllib.error.HTTPError as error:
                if error.code < 500:
                    raise _answer(url, error) from error
                problem: Exception = _answer(url, error)
            except _LostError as error:
                problem = DownloadUnreachableError(f"{url}: {error}")
            if transfer.size - furthest >= PROGRESS:
                attempts, furthest = 0, transfer.size
            attempts += 1
            if attempts >= ATTEMPTS:
                raise problem
            reporter.note(f"{problem}; trying again")
            pause(2.0 ** (attempts - 1))


def partial_path(url: str, partial_dir: Path) -> Path:
    """Return the file that grows while ``url`` is downloaded."""
    return partial_dir / hashlib.sha256(url.encode()).hexdigest()[:32]


def discard(path: Path) -> None:
    """Remove a partial file and its validators, so that the next run starts from zero."""
    path.unlink(missing_ok=True)
    _sidecar(path).unlink(missing_ok=True)


class _Transfer:
    """One download: the partial file, its digests so far, and what it is a part of."""

    def __init__(
        self, url: str, file: BinaryIO, path: Path, reporter: Reporter, timeout: float
    ) -> None:
        self.url, self.file, self.path = url, file, path
        self.reporter, self.timeout = reporter, timeout
        self.validators, self.total = _read_sidecar(path)
        self.size = self.transferred = 0
        self._begin_digests()
        if self.validators.if_range() is None:
            self._restart()
        else:
            self._digest_existing()

    def attempt(self) -> None:
        """Request what is missing and write it; raises _LostError when that breaks off."""
        headers = {}
        condition = self.validators.if_range()
        if self.size and condition:
            headers = {"Range": f"bytes={self.size}-", "If-Range": condition}
        try:
            with _open(self.url, headers, timeout=self.timeout) as response:
                self._receive(response)
        except urllib.error.HTTPError as error:
            if error.code != 416:
                raise
            # If-Range held, or the server would have sent everything.
            if _content_total(error.headers) == self.size == self.total:
                return
            self._restart()
            raise _LostError("the server cannot resume; starting from zero") from error
        except (OSError, http.client.HTTPException) as error:
            raise _LostError(_reason(error)) from error

    def finish(self) -> Downloaded:
        """Return the file, safely on the disk."""
        _on_disk(self.path, lambda: os.fsync(self.file.fileno()))
        return Downloaded(
            path=self.path,
            sha256=self._sha256.hexdigest(),
            md5=self._md5.hexdigest(),
            size=self.size,
            validators=self.validators,
            transferred=self.transferred,
        )

    def _receive(self, response: http.client.HTTPResponse) -> None:
        expected = self._place(response)
        if expected is not None:
            self._need_room(expected)
        name = self.url.rsplit("/", 1)[-1]
        with self.reporter.meter(name, self.total) as meter:
            meter.advance(self.size)
            while expected is None or expected > 0:
                # read1 returns what has come; read would lose it when the line breaks.
                data = response.read1(_CHUNK if expected is None else min(_CHUNK, expected))
                if not data:
                    break
                self._append(data)
                meter.advance(len(data))
                if expected is not None:
                    expected -= len(data)
        if expected:
            raise _LostError(
                f"the connection ended after {self.size} of {self.total} bytes promised"
            )

    def _place(self, response: http.client.HTTPResponse) -> int | None:
        """Decide where the body goes; return its length in bytes when the server says it."""
        length = response.headers.get("Content-Length")
        body = int(length) if length and length.isdigit() else None
        if response.status == 206:
            total = _content_total(response.headers)
            start = response.headers.get("Content-Range", "").removeprefix("bytes ").split("-")[0]
            if start != str(self.size) or (self.total and total and total != self.total):
                self._restart()
                raise _LostError("the server sent another part than asked; starting from zero")
            return body
        if self.size:
            self.reporter.note("the file changed or the server cannot resume: starting from zero")
        self._restart()
        self.validators, self.total = _validators(response.headers), body
        _on_disk(self.path, lambda: _write_sidecar(self.path, self.validators, self.total))
        return body

    def _append(self, data: bytes) -> None:
        def write() -> None:
            # An unbuffered write may take less than it is given, on a full disk above all.
            rest = memoryview(data)
            while rest:
                rest = rest[self.file.write(rest) :]

        _on_disk(self.path, write)
        self._sha256.update(data)
        self._md5.update(data)
        self.size += len(data)
        self.transferred += len(data)

    def _restart(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.size, self.total = 0, None
        self.validators = Validators()
        self._begin_digests()

    def _begin_digests(self) -> None:
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)

    def _digest_existing(self) -> None:
        self.file.seek(0)
        while data := self.file.read(_CHUNK):
            self._sha256.update(data)
            self._md5.update(data)
            self.size += len(data)
        if self.size:
            self.reporter.note(f"resuming after {format_size(self.size)}")

    def _need_room(self, count: int) -> None:
        free = shutil.disk_usage(self.path.parent).free
        if count > free:
            raise FailedError(
                f"{self.path.parent}: {format_size(count)} are still to come, "
                f"but only {format_size(free)} are free"
            )


def _on_disk(path: Path, act: Callable[[], None]) -> None:
    try:
        act()
    except OSError as error:
        # Not an OSError from here on: those of the network mean "try again".
        raise FailedError(f"{path}: cannot write the download: {error.strerror}") from error


def _sidecar(path: Path) -> Path:
    return path.with_suffix(".json")


def _read_sidecar(path: Path) -> tuple[Validators, int | None]:
    """Return whose part the partial file is; nothing when that is not known."""
    try:
        said = json.loads(_sidecar(path).read_text(encoding="utf-8"))
        total = said.pop("total")
        return Validators(**said), total
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return Validators(), None


def _write_sidecar(path: Path, validators: Validators, total: int | None) -> None:
    document = json.dumps(asdict(validators) | {"total": total})
    _sidecar(path).write_text(document, encoding="utf-8")


def _open(
    url: str,
    headers: dict[str, str] | None = None,
    *,
    method: str = "GET",
    timeout: float = TIMEOUT_S,
) -> http.client.HTTPResponse:
    request = urllib.request.Request(
        url, headers={"User-Agent": _AGENT} | (headers or {}), method=method
    )
    response = urllib.request.urlopen(request, timeout=timeout)
    assert isinstance(response, http.client.HTTPResponse)
    return response


def _validators(headers: Message) -> Validators:
    return Validators(headers.get("ETag"), headers.get("Last-Modified"))


def _content_total(headers: Message) -> int | None:
    total = headers.get("Content-Range", "").rpartition("/")[2]
    return int(total) if total.isdigit() else None


def _answer(url: str, error: urllib.error.HTTPError) -> FailedError:
    said = f"{url}: the server answers {error.code} {error.reason}"
    if error.code >= 500:
        return DownloadUnreachableError(said)
    if error.code in (404, 410):
        return FailedError(f"{said}: check the address, and the board's name in it")
    return FailedError(said)


def _unreachable(url: str, error: Exception) -> DownloadUnreachableError:
    return DownloadUnreachableError(f"{url}: {_reason(error)}")


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, socket.gaierror):
        return (
            f"the server's name cannot be resolved ({cause.strerror}); is the network up?"
            " A tarball that you have can be given with --rootfs-file"
        )
    if isinstance(cause, TimeoutError):
        return "the server does not answer (timeout)"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(cause) or type(cause).__name__
