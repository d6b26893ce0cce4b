"""Downloads from a real server whose connection breaks, changes or lies."""

import hashlib
import io
import random
import resource as limits
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootwright.core.errors import FailedError
from bootwright.core.io.lock import exclusive
from bootwright.core.report import TextReporter
from bootwright.rootfs.io import download as module
from bootwright.rootfs.io.download import (
    DownloadUnreachableError,
    Validators,
    download,
    small,
    unchanged,
)
from tests.support.webserver import Resource, Server, serving

pytestmark = pytest.mark.integration

BODY = random.Random(1).randbytes(600_000)
PATH = "/os/file.tar.gz"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        running.site[PATH] = Resource(BODY, etag='"one"')
        yield running


class Fetcher:
    """Downloads into a temporary directory without waiting between attempts."""

    def __init__(self, server: Server, directory: Path) -> None:
        self.url = server.address + PATH
        self.directory = directory
        self.stderr_text = io.StringIO()
        self.pauses: list[float] = []

    def __call__(self) -> module.Downloaded:
        reporter = TextReporter(self.stderr_text)
        return download(
            self.url, self.directory, reporter, timeout=5, pause=lambda s: self.pauses.append(s)
        )


@pytest.fixture
def fetch(server: Server, tmp_path: Path) -> Fetcher:
    return Fetcher(server, tmp_path / "partial")


def test_whole_file_with_digests(fetch: Fetcher) -> None:
    got = fetch()
    assert got.path.read_bytes() == BODY
    assert got.sha256 == hashlib.sha256(BODY).hexdigest()
    assert got.md5 == hashlib.md5(BODY).hexdigest()
    assert (got.size, got.transferred) == (len(BODY), len(BODY))
    assert got.validators == Validators('"one"', None)
    assert fetch.pauses == []


def test_cut_connections_resume_and_fetch_only_the_rest(server: Server, fetch: Fetcher) -> None:
    server.site[PATH].cuts = [200_000, 100_000]
    got = fetch()
    assert got.path.read_bytes() == BODY
    assert got.sha256 == hashlib.sha256(BODY).hexdigest()
    assert got.transferred == len(BODY)
    wanted = [(one.range, one.if_range, one.status) for one in server.requests(PATH)]
    assert wanted == [
        (None, None, 200),
        ("bytes=200000-", '"one"', 206),
        ("bytes=300000-", '"one"', 206),
    ]


CHILD = """
import sys
from contextlib import contextmanager
from pathlib import Path
from bootwright.rootfs.io.download import download
from bootwright.core.report import TextReporter

class Telling(TextReporter):
    @contextmanager
    def meter(self, title, total):
        class Meter:
            def advance(self, count):
                print(count, flush=True)
        yield Meter()

download(sys.argv[1], Path(sys.argv[2]), Telling())
"""


def test_killed_process_resumes_in_the_next(server: Server, fetch: Fetcher) -> None:
    server.site[PATH].stall_after = 250_000
    argv = [sys.executable, "-c", CHILD, fetch.url, str(fetch.directory)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        arrived = 0
        while arrived < 250_000:
            arrived += int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    server.site[PATH].stall_after = None
    got = fetch()
    assert got.path.read_bytes() == BODY
    assert got.sha256 == hashlib.sha256(BODY).hexdigest()
    assert got.transferred == len(BODY) - 250_000
    last = server.requests(PATH)[-1]
    assert (last.range, last.status, last.length) == ("bytes=250000-", 206, len(BODY) - 250_000)


def _interrupted(server: Server, fetch: Fetcher, after: int = 200_000) -> None:
    """Leave a partial file behind: the server cuts once, then fails."""
    server.site[PATH].cuts = [after]
    server.site[PATH].ranges = True

    def fail(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(fetch.url, fetch.directory, TextReporter(fetch.stderr_text), pause=fail)


def test_changed_file_starts_from_zero(server: Server, fetch: Fetcher) -> None:
    _interrupted(server, fetch)
    new = b"new" * 100_000
    server.site[PATH] = Resource(new, etag='"two"')
    got = fetch()
    assert got.path.read_bytes() == new
    assert got.sha256 == hashlib.sha256(new).hexdigest()
    assert got.validators.etag == '"two"'
    assert "starting from zero" in fetch.stderr_text.getvalue()


def test_last_modified_serves_where_there_is_no_strong_etag(server: Server, fetch: Fetcher) -> None:
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    server.site[PATH] = Resource(BODY, etag='W/"weak"', last_modified=date, cuts=[1000])
    fetch()
    assert server.requests(PATH)[-1].if_range == date


def test_no_validator_means_no_resumption(server: Server, fetch: Fetcher) -> None:
    server.site[PATH] = Resource(BODY, cuts=[1000])
    assert fetch().path.read_bytes() == BODY
    assert [one.range for one in server.requests(PATH)] == [None, None]


def test_server_without_ranges_starts_from_zero(server: Server, fetch: Fetcher) -> None:
    server.site[PATH] = Resource(BODY, etag='"one"', ranges=False, cuts=[200_000])
    got = fetch()
    assert got.path.read_bytes() == BODY
    assert [one.status for one in server.requests(PATH)] == [200, 200]


def test_complete_partial_file_is_not_transferred_again(server: Server, fetch: Fetcher) -> None:
    fetch()
    got = fetch()
    assert got.path.read_bytes() == BODY
    assert got.transferred == 0
    assert server.requests(PATH)[-1].status == 416


def test_partial_file_longer_than_the_remote_is_dropped(server: Server, fetch: Fetcher) -> None:
    fetch()
    path = module.partial_path(fetch.url, fetch.directory)
    path.write_bytes(BODY + b"junk")
    assert fetch().path.read_bytes() == BODY


def test_partial_file_of_unknown_origin_is_dropped(server: Server, fetch: Fetcher) -> None:
    path = module.partial_path(fetch.url, fetch.directory)
    path.parent.mkdir()
    path.write_bytes(b"who knows")
    path.with_suffix(".json").write_text("{")
    assert fetch().path.read_bytes() == BODY
    assert server.requests(PATH)[0].range is None


@pytest.mark.parametrize("ranges", [True, False])
def test_short_body_is_never_taken_for_the_file(
    server: Server, fetch: Fetcher, ranges: bool
) -> None:
    server.site[PATH] = Resource(BODY, etag='"one"', ranges=ranges, promised=len(BODY) + 100)
    with pytest.raises(
        DownloadUnreachableError, match=r"600000 of 600100 bytes promised|cannot resume"
    ):
        fetch()
    assert fetch.pauses == [1.0, 2.0, 4.0, 8.0]


def test_progress_earns_new_attempts(server: Server, fetch: Fetcher) -> None:
    server.site[PATH].cuts = [70_000] * 8
    assert fetch().path.read_bytes() == BODY


def test_missing_file_is_a_clear_error(server: Server, fetch: Fetcher) -> None:
    del server.site[PATH]
    with pytest.raises(FailedError, match="answers 404") as caught:
        fetch()
    assert not isinstance(caught.value, DownloadUnreachableError)
    assert fetch.pauses == []


def test_failing_server_is_tried_again(server: Server, fetch: Fetcher) -> None:
    server.site[PATH].status = 503
    with pytest.raises(DownloadUnreachableError, match="answers 503"):
        fetch()
    assert len(server.requests(PATH)) == module.ATTEMPTS


def test_refused_connection(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but not listening
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/x"
        with pytest.raises(DownloadUnreachableError, match="Connection refused"):
            small(url)
        with pytest.raises(DownloadUnreachableError, match="Connection refused"):
            download(url, tmp_path, TextReporter(io.StringIO()), pause=lambda _: None)


def test_unknown_server_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(DownloadUnreachableError, match="name cannot be resolved"):
        small("http://server.invalid/x")


def test_silent_server_is_a_lost_connection(server: Server, fetch: Fetcher) -> None:
    server.site[PATH].stall_after = 100
    with pytest.raises(DownloadUnreachableError, match="timeout"):
        download(
            fetch.url,
            fetch.directory,
            TextReporter(fetch.stderr_text),
            timeout=0.1,
            pause=lambda _: None,
        )


def test_not_enough_room_is_said_before_anything_is_written(
    fetch: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1000))
    with pytest.raises(FailedError, match=r"only 1000 B are free"):
        fetch()
    assert module.partial_path(fetch.url, fetch.directory).stat().st_size == 0


def test_write_that_fails_is_a_clear_error_and_keeps_the_part(fetch: Fetcher) -> None:
    soft, hard = limits.getrlimit(limits.RLIMIT_FSIZE)
    limits.setrlimit(limits.RLIMIT_FSIZE, (300_000, hard))
    try:
        with pytest.raises(FailedError, match="cannot write the download: File too large"):
            fetch()
    finally:
        limits.setrlimit(limits.RLIMIT_FSIZE, (soft, hard))
    got = fetch()
    assert got.path.read_bytes() == BODY
    assert got.sha256 == hashlib.sha256(BODY).hexdigest()
    assert got.transferred <= len(BODY)


def test_small(server: Server) -> None:
    server.site["/key"] = Resource(b"key")
    assert small(f"{server.address}/key") == b"key"
    assert small(f"{server.address}/none") is None
    with pytest.raises(FailedError, match="larger than 2 B"):
        small(f"{server.address}/key", limit=2)
    server.site["/key"].status = 403
    with pytest.raises(FailedError, match="answers 403"):
        small(f"{server.address}/key")


def test_unchanged(server: Server) -> None:
    url = server.address + PATH
    assert unchanged(url, Validators('"one"', None))
    assert not unchanged(url, Validators('"two"', None))
    assert not unchanged(url, Validators(None, None))
    server.site[PATH] = Resource(BODY, last_modified="then")
    assert unchanged(url, Validators(None, "then"))
    assert not unchanged(url, Validators(None, "now"))


def test_lock_keeps_a_second_run_out(tmp_path: Path) -> None:
    lock = tmp_path / "made" / "lock"
    with (
        exclusive(lock, "downloading"),
        pytest.raises(FailedError, match="another run is downloading"),
        exclusive(lock, "downloading"),
    ):
        pass
    with exclusive(lock, "downloading"):
        pass
