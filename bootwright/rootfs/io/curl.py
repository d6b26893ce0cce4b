"""curl, which makes the HTTP requests of downloads.

Its output comes through a pipe, so that it ends when this process ends. Addresses go to its
standard input, as they may contain a password.

Exit codes: curl(1), "EXIT CODES".
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from bootwright.core.addresses import keep_proxy_secret
from bootwright.core.errors import FailedError
from bootwright.core.io.process import Stream, stream
from bootwright.core.run_log import logged

_OPTIONS = (
    *("--globoff", "--silent", "--show-error", "--fail", "--no-buffer"),
    *("--location", "--max-redirs", "10", "--proto", "=http,https", "--proto-redir", "=http,https"),
    *("--suppress-connect-headers", "--user-agent", "bootwright", "--speed-limit", "1"),
    *("--write-out", "%{stderr}%{http_code}"),
)

# The environment variables for proxies and for certificate authorities. The latter are passed as
# options, because curl uses only one of these two variables.
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_AUTHORITIES = {"SSL_CERT_FILE": "--cacert", "SSL_CERT_DIR": "--capath"}

# Exit codes of curl. 1, 3, 47: the address is not valid, redirects to another protocol than HTTP,
# or redirects too often. 5, 6: the name of the proxy or of the server cannot be resolved. 22: the
# server answered with a status of 400 or more. 33: it sent another part than requested. 63: the
# file is larger than allowed.
_WRONG_ADDRESS = (1, 3, 47)
_NO_NAME = (5, 6)
_REFUSED = 22
TIMED_OUT = 28
NO_RANGE = 33
TOO_LARGE = 63


class DownloadUnreachableError(FailedError):
    """The server cannot be reached or cannot answer now; a later attempt may succeed."""


@dataclass(frozen=True)
class RequestResult:
    """The result of a request: curl's exit code, its message, and the HTTP status (0: none)."""

    code: int
    why: str
    status: int


@contextmanager
def request(
    url: str, timeout: float, *options: str, headers: Mapping[str, str] | None = None
) -> Iterator[Stream]:
    """Run curl; the body has to read its output to the end, and then to call :func:`result_of`."""
    # --disable has to be first: it makes curl ignore the operator's ~/.curlrc.
    argv = ["curl", "--disable", "--config", "-", *_OPTIONS, "--connect-timeout", f"{timeout:g}"]
    argv += ["--speed-time", f"{timeout:.0f}", *options]
    for name, option in _AUTHORITIES.items():
        argv += [option, os.environ[name]] if os.environ.get(name) else []
    config = _setting("url", url)
    for name, value in (headers or {}).items():
        config += _setting("header", f"{name}: {value}")
    proxies = {name: os.environ.get(name, os.environ.get(name.upper())) for name in _PROXIES}
    given = {name: value for name, value in proxies.items() if value}
    for address in given.values():
        keep_proxy_secret(address)
    with (
        logged("http", url, headers=headers) as result,
        stream(argv, stdin=config.encode(), env=given) as running,
    ):
        yield running
        ended = result_of(running)
        result |= {"status": ended.status, "received": running.received}
        if ended.code:
            result["error"] = ended.why


def _setting(name: str, value: str) -> str:
    """Return a line of a configuration file for curl."""
    for char, code in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        value = value.replace(char, code)
    return f'{name} = "{value}"\n'


def result_of(running: Stream) -> RequestResult:
    """Wait for curl's end and return its result."""
    code, stderr = running.finish()
    *messages, status = stderr.decode("utf-8", "replace").splitlines() or ["0"]
    # Only the first line is about this error; further ones explain certificates in general.
    why = "".join(messages[:1]).removeprefix(f"curl: ({code}) ")
    return RequestResult(code, why, int(status) if status.isdecimal() else 0)


def raise_failure(url: str, ended: RequestResult) -> None:
    """Raise unless the request has succeeded.

    Raises:
        DownloadUnreachableError: the server cannot be reached or cannot answer now.
        FailedError: it refuses.
    """
    if ended.status >= 300 and ended.code in (0, _REFUSED):
        text = f"{url}: the server answers {ended.status}"
        if ended.status >= 500:
            raise DownloadUnreachableError(text)
        if ended.status in (404, 410):
            raise FailedError(f"{text}: check the address, and the board's name in it")
        raise FailedError(text)
    if ended.code in _WRONG_ADDRESS:
        raise FailedError(f"{url}: {ended.why}")
    if ended.code in _NO_NAME:
        raise DownloadUnreachableError(
            f"{url}: the server's name cannot be resolved ({ended.why}); is the network up?"
            " A tarball that you have can be given with --rootfs-file"
        )
    if ended.code == TIMED_OUT:
        raise DownloadUnreachableError(f"{url}: the server does not answer (timeout: {ended.why})")
    if ended.code:
        raise DownloadUnreachableError(f"{url}: {ended.why or f'curl ended with {ended.code}'}")
