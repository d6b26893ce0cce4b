"""Downloads from a real server that breaks connections, changes files or sends wrong answers."""

import hashlib
import io
import random
import resource as limits
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from bootwright.core.errors import FailedError
from bootwright.core.io import process
from bootwright.core.io.lock import exclusive
from bootwright.core.io.run_log import RunLog
from bootwright.core.report import TextReporter
from bootwright.rootfs.http_answer import Validators
from bootwright.rootfs.io import download as module
from bootwright.rootfs.io.curl import DownloadUnreachableError
from bootwright.rootfs.io.download import download, download_small, unchanged
from tests.support.runlogs import assert_hidden, records
from tests.support.webserver import Resource, Server, serving

pytestmark = pytest.mark.integration

BODY = random.Random(1).randbytes(600_000)
PATH = "/os/file.tar.gz"
DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


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
        return download(self.url, self.directory, reporter, timeout=5, pause=self.pauses.append)


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
    assert len(list(fetch.directory.iterdir())) == 3
    module.discard(got.path)
    assert list(fetch.directory.iterdir()) == []


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
    pause = Mock(side_effect=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        download(fetch.url, fetch.directory, TextReporter(fetch.stderr_text), pause=pause)


def test_changed_file_starts_from_zero(server: Server, fetch: Fetcher) -> None:
    _interrupted(server, fetch)
    new = b"new" * 100_000
    server.site[PATH] = Resource(new, etag='"two"')
    got = fetch()
    assert got.path.read_bytes() == new
    assert got.sha256 == hashlib.sha256(new).hexdigest()
    assert got.validators.etag == '"two"'
    assert "starting again" in fetch.stderr_text.getvalue()


def test_last_modified_is_used_without_a_strong_etag(server: Server, fetch: Fetcher) -> None:
    server.site[PATH] = Resource(BODY, etag='W/"weak"', last_modified=DATE, cuts=[1000])
    fetch()
    assert server.requests(PATH)[-1].if_range == DATE


def test_no_validator_means_no_resumption(server: Server, fetch: Fetcher) -> None:
    server.site[PATH] = Resource(BODY, cuts=[1000])
    assert fetch().path.read_bytes() == BODY
    assert [one.range for one in server.requests(PATH)] == [None, None]


def test_server_without_ranges_starts_from_zero(server: Server, fetch: Fetcher) -> None:
    server.site[PATH] = Resource(BODY, etag='"one"', ranges=False, cuts=[200_000])
    got = fetch()
    assert got.path.read_bytes() == BODY
    # curl does not read an answer that it cannot use, so the file is requested again.
    assert [one.status for one in server.requests(PATH)] == [200, 200, 200]
    assert [one.range for one in server.requests(PATH)] == [None, "bytes=200000-", None]


def test_complete_partial_file_is_not_transferred_again(server: Server, fetch: Fetcher) -> None:
    fetch()
    got = fetch()
    assert got.path.read_bytes() == BODY
    assert got.transferred == 0
    assert server.requests(PATH)[-1].status == 416
    server.site[PATH] = Resource(b"n" * 500_000, etag='"two"', ignores_if_range=True)
    assert fetch().path.read_bytes() == b"n" * 500_000
    assert [one.status for one in server.requests(PATH)[-2:]] == [416, 200]


def test_partial_file_longer_than_the_remote_is_dropped(server: Server, fetch: Fetcher) -> None:
    fetch()
    module.partial_path(fetch.url, fetch.directory).write_bytes(BODY + b"junk")
    assert fetch().path.read_bytes() == BODY


def test_partial_file_of_unknown_origin_is_dropped(server: Server, fetch: Fetcher) -> None:
    path = module.partial_path(fetch.url, fetch.directory)
    path.parent.mkdir()
    path.write_bytes(b"who knows")
    path.with_suffix(".json").write_text("{")
    assert fetch().path.read_bytes() == BODY
    assert server.requests(PATH)[0].range is None


@pytest.mark.parametrize("ranges", [True, False])
def test_a_short_body_is_never_accepted(server: Server, fetch: Fetcher, ranges: bool) -> None:
    server.site[PATH] = Resource(BODY, etag='"one"', ranges=ranges, promised=len(BODY) + 100)
    with pytest.raises(DownloadUnreachableError, match=r"600000 of 600100 bytes|cannot resume"):
        fetch()
    assert fetch.pauses == [1.0, 2.0, 4.0, 8.0]


def test_attempts_are_counted_again_after_progress(server: Server, fetch: Fetcher) -> None:
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
        with pytest.raises(DownloadUnreachableError, match=r"connect to 127\.0\.0\.1"):
            download_small(url)
        with pytest.raises(DownloadUnreachableError, match=r"connect to 127\.0\.0\.1"):
            download(url, tmp_path, TextReporter(io.StringIO()), pause=lambda _: None)


def test_unknown_server_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(DownloadUnreachableError, match="name cannot be resolved"):
        download_small("http://server.invalid/x")


@pytest.mark.parametrize("fault", [{"stall_after": 100}, {"silent": True}])
def test_silent_server_is_a_lost_connection(
    server: Server, fetch: Fetcher, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    server.site[PATH] = Resource(BODY, **fault)
    reporter = TextReporter(fetch.stderr_text)
    with pytest.raises(DownloadUnreachableError, match=r"does not answer \(timeout"):
        download(fetch.url, fetch.directory, reporter, timeout=1)


def test_too_little_free_space(fetch: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1000))
    with pytest.raises(FailedError, match=r"needs 585.9 KiB more, but only 1000 B are free"):
        fetch()
    assert module.partial_path(fetch.url, fetch.directory).stat().st_size == 0


def test_a_failed_write_is_a_clear_error_and_the_partial_file_is_kept(fetch: Fetcher) -> None:
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
    assert download_small(f"{server.address}/key") == b"key"
    assert download_small(f"{server.address}/none") is None
    with pytest.raises(FailedError, match="larger than 2 B"):
        download_small(f"{server.address}/key", limit=2)
    server.site["/key"].status = 403
    with pytest.raises(FailedError, match="answers 403"):
        download_small(f"{server.address}/key")


def test_unchanged(server: Server) -> None:
    url = server.address + PATH
    assert unchanged(url, Validators('"one"', None))
    assert not unchanged(url, Validators('"two"', None))
    assert not unchanged(url, Validators(None, None))
    server.site[PATH] = Resource(BODY, last_modified="then")
    assert unchanged(url, Validators(None, "then"))
    assert not unchanged(url, Validators(None, "now"))


def test_small_without_an_announced_length_is_bounded(server: Server) -> None:
    server.site["/key"] = Resource(b"k" * 500_000, chunked=True)
    assert download_small(f"{server.address}/key", limit=500_000) == b"k" * 500_000
    with pytest.raises(FailedError, match="larger than"):
        download_small(f"{server.address}/key")


def test_length_that_is_not_announced(server: Server, fetch: Fetcher) -> None:
    server.site[PATH] = Resource(BODY, etag='"one"', chunked=True, cuts=[100_000])
    assert fetch().path.read_bytes() == BODY


def test_redirections_are_followed_to_the_last_answer(server: Server, fetch: Fetcher) -> None:
    server.site["/mirror"] = server.site[PATH]
    server.site[PATH] = Resource(b"", etag='"other"', location="/mirror")
    server.site["/mirror"].cuts = [200_000]
    got = fetch()
    assert got.path.read_bytes() == BODY
    assert got.validators == Validators('"one"', None)
    assert [one.range for one in server.requests("/mirror")] == [None, "bytes=200000-"]
    assert unchanged(fetch.url, got.validators)


@pytest.mark.parametrize("location", [PATH, "file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_wrong_redirection_is_refused(server: Server, fetch: Fetcher, location: str) -> None:
    server.site[PATH].location = location
    with pytest.raises(FailedError, match=r"redirect|[Pp]rotocol") as caught:
        fetch()
    assert not isinstance(caught.value, DownloadUnreachableError)
    assert fetch.pauses == []


def test_a_changed_file_as_long_as_the_partial_file(server: Server, fetch: Fetcher) -> None:
    _interrupted(server, fetch, 200_000)
    new = b"n" * 200_000
    server.site[PATH] = Resource(new, etag='"two"')
    assert fetch().path.read_bytes() == new


@pytest.mark.parametrize(
    ("first", "changed"),
    [
        ({"etag": '"one"'}, {"etag": '"two"'}),
        ({"last_modified": DATE}, {"last_modified": DATE.replace("2015", "2016")}),
        ({"etag": '"one"'}, {"etag": '"one"', "body": b"n" * 500_000}),
        ({"etag": '"one"'}, {"etag": '"one"', "content_range": "bytes 0-599999/600000"}),
        ({"chunked": True, "etag": '"one"'}, {"content_range": "", "body": b"n" * 399_986}),
    ],
)
def test_a_part_of_another_version_is_not_appended(
    server: Server, fetch: Fetcher, first: dict[str, Any], changed: dict[str, Any]
) -> None:
    server.site[PATH] = Resource(BODY, **first)
    _interrupted(server, fetch)
    other: dict[str, Any] = {"body": b"n" * 600_000, "ignores_if_range": True} | changed
    server.site[PATH] = Resource(**other)
    got = fetch()
    assert (got.path.read_bytes(), got.transferred) == (other["body"], got.size)
    assert "starting again" in fetch.stderr_text.getvalue()
    assert [one.status for one in server.requests(PATH)] == [200, 206, 200]


def test_a_length_with_too_many_digits_is_unknown(server: Server, fetch: Fetcher) -> None:
    server.site[PATH].promised = "9" * 5000
    for _ in range(2):
        with pytest.raises(FailedError, match=r"more is to come than the .* that are free"):
            fetch()
    server.site[PATH].promised = None
    assert fetch().path.read_bytes() == BODY
    path = module.partial_path(fetch.url, fetch.directory).with_suffix(".headers")
    path.write_bytes(b"\xff\0")
    assert fetch().transferred == len(BODY)


@pytest.mark.parametrize("status", [201, 204, 206])
def test_only_a_whole_file_is_accepted(server: Server, fetch: Fetcher, status: int) -> None:
    server.site[PATH].whole_status = status
    with pytest.raises(FailedError, match=f"answers {status}"):
        fetch()
    assert module.partial_path(fetch.url, fetch.directory).stat().st_size == 0
    with pytest.raises(FailedError, match=f"answers {status}"):
        download_small(fetch.url, limit=len(BODY))
    assert fetch.pauses == []
    server.site[PATH].whole_status = 203
    assert fetch().path.read_bytes() == BODY


def test_trailers_are_not_headers(server: Server, fetch: Fetcher) -> None:
    trailers = b'X-Sum: 1\r\nETag: "two"\r\nContent-Length: 5\r\n'
    server.site[PATH] = Resource(BODY, etag='"one"', chunked=True, trailers=trailers)
    assert fetch().validators == Validators('"one"', None)


def test_too_little_free_space_for_a_rest_of_unknown_size(
    server: Server, fetch: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.site[PATH].chunked = True
    _interrupted(server, fetch)
    server.site[PATH].chunked = False
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1000))
    with pytest.raises(FailedError, match="more is to come than the 1000 B that are free"):
        fetch()


def test_an_etag_that_is_not_ascii_counts_as_none(server: Server, fetch: Fetcher) -> None:
    server.site[PATH] = Resource(BODY, etag='"\xe9\x85"', last_modified=DATE, cuts=[200_000])
    got = fetch()
    assert got.path.read_bytes() == BODY
    assert got.validators == Validators(None, DATE)
    assert [one.if_range for one in server.requests(PATH)] == [None, DATE]


def test_empty_file(server: Server, fetch: Fetcher) -> None:
    server.site[PATH] = Resource(b"", etag='"one"')
    got = fetch()
    assert (got.size, got.sha256) == (0, hashlib.sha256(b"").hexdigest())


def test_proxy_of_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy")
    server.site["/x"] = Resource(b"through")
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, server.address)
        assert download_small("http://server.invalid/x") == b"through"
        monkeypatch.delenv(name)


def test_a_password_of_an_address_is_in_no_command_line_and_no_log(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    curl = tmp_path / "curl"
    curl.write_text(f'#!/bin/sh\n(echo "$@"; env) >>{tmp_path}/seen\nexec /usr/bin/curl "$@"\n')
    curl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    server.site["/x"] = Resource(b"y")
    log = RunLog(tmp_path / "log", "task", debug=False)
    with log.recording():
        url = server.address.replace("://", "://me:s3cret-pw@")
        assert download_small(f"{url}/x?token=s3cret-tok") == b"y"
    assert "--disable" in (tmp_path / "seen").read_text()
    assert "s3cret" not in (tmp_path / "seen").read_text()
    assert_hidden(tmp_path, "s3cret-pw", "s3cret-tok")
    first, *_, last = [one for one in records(tmp_path) if one["gateway"] == "http"]
    assert first["what"] == f"{server.address.replace('://', '://***@')}/x?***"
    assert (last["status"], last["received"]) == (200, 1)


def test_the_operators_curlrc_is_ignored(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".curlrc").write_text("head\ninclude\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    server.site["/x"] = Resource(b"y")
    assert download_small(f"{server.address}/x") == b"y"


def test_characters_with_a_meaning_for_curl(server: Server) -> None:
    server.site["/[1-3]{a,b}%22%5C"] = Resource(b"y")
    assert download_small(f"{server.address}/[1-3]{{a,b}}%22%5C") == b"y"
    for url in (f'{server.address}/"\noutput = "/x', f"{server.address}/a b", "http://"):
        with pytest.raises(FailedError):
            download_small(url)


def test_tls_is_checked(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, cert = tmp_path / "key", tmp_path / "cert"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    argv += ["-nodes", "-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.1"]
    argv += ["-keyout", str(key), "-out", str(cert)]
    subprocess.run(argv, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = server.address.replace("http:", "https:") + "/x"
    server.site["/x"] = Resource(b"y")
    with pytest.raises(DownloadUnreachableError, match="certificate"):
        download_small(url)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    assert download_small(url) == b"y"


def test_no_curl(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(process, "_PATH", str(tmp_path))
    with pytest.raises(FailedError, match="'curl' is missing"):
        download_small("http://127.0.0.1/x")


def test_the_lock_excludes_a_second_run(tmp_path: Path) -> None:
    lock = tmp_path / "made" / "lock"
    with (
        exclusive(lock, "downloading"),
        pytest.raises(FailedError, match="another run is downloading"),
        exclusive(lock, "downloading"),
    ):
        pass
    with exclusive(lock, "downloading"):
        pass
