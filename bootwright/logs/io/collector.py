"""Running the collector: the ingest server, a syslog server, and the clean-up of old logs.

Old logs are compressed, and later removed.
"""

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import ssl
import time
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from bootwright.core.errors import BootwrightError, FailedError, InputError
from bootwright.core.io.fsync import replace_file
from bootwright.core.io.process import environment
from bootwright.core.run_log import event
from bootwright.logs.io.ingest import PATH, IngestServer, server_context
from bootwright.logs.io.listener import LIMITS, Limits, Listener, Notify, Refusals
from bootwright.logs.io.quotas import Quotas
from bootwright.logs.io.store import LogStore
from bootwright.logs.syslog_ng import Certificates

CHECK_S = 2.0
"""Seconds between two checks whether certificates have changed or the syslog server has ended."""

TIDY_S = 3600.0
"""Seconds between two clean-ups, which compress or remove old logs."""

TRIM_S = 5.0
"""Seconds between two checks whether boards whose records syslog-ng writes are over their quota. As
much as they can send in this time has to fit into the reserve."""

TERMINATE_S = 10.0
"""Seconds that the syslog server has to end; then it is killed."""


@dataclass(frozen=True)
class CollectorConfig:
    """The settings of the collector.

    Attributes:
        listen: the address to listen on.
        port: the port of the ingest server; 0: any free one.
        keep_days: how many days logs are kept.
        plain_days: how many days they stay uncompressed; only uncompressed ones are forwarded.
        limits: how many connections boards may have.
        keep_bytes: the most bytes of each board's logs.
        certificates: makes or renews the certificates if that is due, and returns their files;
            called many times.
        generation: returns a value that changes whenever those files do.
        syslog: writes the syslog server's configuration and returns the command that runs it;
            empty for none. Takes the senders of which nothing is stored.
    """

    listen: str
    port: int
    keep_days: int
    certificates: Callable[[], Certificates]
    generation: Callable[[], str | None]
    syslog: Callable[[tuple[str, ...]], tuple[str, ...]] = lambda _: ()
    plain_days: int = 2
    limits: Limits = LIMITS
    keep_bytes: int = 4 << 30


async def collect(
    store: LogStore,
    config: CollectorConfig,
    stop: asyncio.Event,
    ready: Callable[[int], None],
    notify: Notify,
) -> None:
    """Collect logs until ``stop`` is set.

    Args:
        store: where logs are stored.
        config: the settings.
        stop: ends the collector.
        ready: called once, with the port of the ingest server.
        notify: shows messages to the operator.

    Raises:
        FailedError: a port is in use, or the syslog server does not run.
    """
    quotas, refusals = Quotas(store, config.keep_bytes, notify), Refusals(notify)
    ingest = IngestServer(store, notify, quotas)
    tidied, trimmed, is_ready = -TIDY_S, -TRIM_S, False
    port = config.port
    stopped: tuple[str, ...] = ()
    while not stop.is_set():
        # New certificates close all connections: a board without one must not stay connected.
        files = config.certificates()
        generation = config.generation()
        context, argv = server_context(files), config.syslog(stopped)
        async with (
            _site(ingest, config, port, context, refusals) as port,
            _child(argv, notify) as reload,
        ):
            if not is_ready:
                is_ready = True
                ready(port)
            while not stop.is_set() and config.generation() == generation:
                if time.monotonic() - tidied >= TIDY_S:
                    await asyncio.to_thread(_tidy, store, config, notify)
                    if tidied > 0:
                        # The syslog server looks for new folders only when it starts or reloads.
                        reload()
                    tidied = time.monotonic()
                if time.monotonic() - trimmed >= TRIM_S:
                    now = await asyncio.to_thread(_trim, quotas, notify, bool(argv))
                    if now is not None and now != stopped:
                        stopped = now
                        config.syslog(stopped)
                        reload()
                    trimmed = time.monotonic()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), CHECK_S)
        if not stop.is_set():
            notify("the certificates have changed: restarting with the new ones")
    refusals.close()


def _tidy(store: LogStore, config: CollectorConfig, notify: Notify) -> None:
    """Compress and remove old logs, renew certificates; a failure does not end the collector."""
    try:
        store.tidy(config.keep_days, config.plain_days)
        # This renews a certificate that is due; then the generation is another one.
        config.certificates()
    except (OSError, BootwrightError) as error:
        notify(f"warning: {error}")


def _trim(quotas: Quotas, notify: Notify, with_syslog: bool) -> tuple[str, ...] | None:
    """Remove the oldest days of boards over their quota; a failure does not end the collector.

    Returns:
        The boards of which the syslog server may store nothing more; ``None`` after a failure, and
        if there is no syslog server.
    """
    try:
        quotas.trim()
        if with_syslog:
            return quotas.stopped(datetime.now(UTC).date())
        quotas.nothing_stopped()
        return None
    except OSError as error:
        notify(f"warning: {error}")
        return None


class _CountErrors(logging.Handler):
    """Counts what the HTTP server would log with a traceback for each request."""

    def __init__(self, refusals: Refusals) -> None:
        super().__init__()
        self._refusals = refusals

    def emit(self, record: logging.LogRecord) -> None:
        """Count one message of the HTTP server."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            self._refusals.add("it sent a request that is not HTTP/1.1", "a board")
            return
        what = f"{type(error).__name__}: {error}" if error else record.getMessage()
        where = traceback.extract_tb(error.__traceback__)[-1:] if error else []
        lines = "".join(f" ({Path(one.filename).name}:{one.lineno})" for one in where)
        self._refusals.add(f"error in the collector: {what}{lines}", "a board")


@asynccontextmanager
async def _site(
    ingest: IngestServer,
    config: CollectorConfig,
    port: int,
    context: ssl.SSLContext,
    refusals: Refusals,
) -> AsyncIterator[int]:
    logger = logging.Logger("collector", logging.WARNING)
    logger.addHandler(_CountErrors(refusals))
    runner = web.AppRunner(
        ingest.application(),
        access_log=None,
        logger=logger,
        keepalive_timeout=3600,
        shutdown_timeout=5,
    )
    await runner.setup()
    assert runner.server is not None
    listener = ingest.listener = Listener(runner.server, context, refusals, config.limits)
    listen = config.listen
    try:
        try:
            port = listener.listen(listen, port)
        except socket.gaierror:
            raise InputError(f"--listen: {listen!r} is not an address") from None
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise InputError(f"--listen: {listen} is not an address of this machine") from None
            # The message of the socket module is longer and less clear.
            why = os.strerror(error.errno) if error.errno else str(error)
            raise FailedError(
                f"{listen}:{port}: {why}; is another collector running here? (port and listen are"
                " set in [logs.collector])"
            ) from None
        yield port
    finally:
        await listener.close()
        await runner.cleanup()


@asynccontextmanager
async def _child(argv: tuple[str, ...], notify: Notify) -> AsyncIterator[Callable[[], None]]:
    """Run a program while the context lasts; start it again if it ends.

    Yields a function that makes the program read its configuration again.
    """
    if not argv:
        yield lambda: None
        return
    try:
        child = await _start(argv)
    except FileNotFoundError:
        raise FailedError(
            f"{argv[0]} is not installed: run scripts/setup logs, or switch it off: tls_port = 0 in"
            " [logs.collector]"
        ) from None
    # A program that cannot use its configuration ends immediately.
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(child.wait(), CHECK_S)
        raise FailedError(f"{argv[0]} ended with {child.returncode}; see its messages above")
    current = [child]

    async def watch() -> None:
        while True:
            status = await current[0].wait()
            event("process", "end", what=argv[0], pid=current[0].pid, status=status)
            notify(f"{argv[0]} ended with {status}; starting it again")
            await asyncio.sleep(CHECK_S)
            current[0] = await _start(argv)

    def reload() -> None:
        if current[0].returncode is None:
            current[0].send_signal(signal.SIGHUP)

    watcher = asyncio.create_task(watch())
    try:
        yield reload
    finally:
        watcher.cancel()
        child = current[0]
        if child.returncode is None:
            child.terminate()
            try:
                await asyncio.wait_for(child.wait(), TERMINATE_S)
            except TimeoutError:
                child.kill()
                await child.wait()


async def _start(argv: tuple[str, ...]) -> asyncio.subprocess.Process:
    child = await asyncio.create_subprocess_exec(*argv, env=environment())
    event("process", "start", what=argv[0], argv=argv, pid=child.pid)
    return child


def url_of(address: str, port: int) -> str:
    """Return the URL that boards deliver to."""
    return f"https://{f'[{address}]' if ':' in address else address}:{port}{PATH}"


def write_private(path: Path, data: bytes) -> Path:
    """Write a file that only its owner can read; return its path."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(path, data, 0o600)
    return path
