"""The collector while it runs: the intake, a syslog server beside it, and a tidy folder."""

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from bootwright.core.errors import BootwrightError, FailedError, InputError
from bootwright.core.io.process import environment
from bootwright.logs.io.ingest import PATH, IngestServer, Tell, server_context
from bootwright.logs.io.store import LogStore
from bootwright.logs.syslog_ng import Certificates

LOOK_S = 2.0
"""Seconds between looks at what may have changed: certificates, the syslog server."""

TIDY_S = 3600.0
"""Seconds between tidying up."""

ENDS_S = 10.0
"""Seconds for the syslog server to end."""


@dataclass(frozen=True)
class CollectorConfig:
    """What the collector does.

    Attributes:
        listen: the address.
        port: of the intake; 0 takes a free one.
        keep_days: how long logs are kept.
        plain_days: how long they stay uncompressed: who forwards them reads nothing else.
        certificates: returns the files in use, made or renewed where due; called again and again.
        generation: returns what changes whenever those files do.
        syslog: writes the syslog server's configuration and returns the command that runs it;
            empty for none.
    """

    listen: str
    port: int
    keep_days: int
    certificates: Callable[[], Certificates]
    generation: Callable[[], str | None]
    syslog: Callable[[], tuple[str, ...]] = tuple
    plain_days: int = 2


async def collect(
    store: LogStore,
    served: CollectorConfig,
    stop: asyncio.Event,
    ready: Callable[[int], None],
    tell: Tell,
) -> None:
    """Collect until ``stop``; ``ready`` gets the intake's port.

    Raises:
        FailedError: a port is in use, or the syslog server does not run.
    """
    intake = IngestServer(store, tell)
    tidied, told = -TIDY_S, False
    port = served.port
    while not stop.is_set():
        # Whoever lost their certificate is to be let in no more: everything begins anew then.
        files = served.certificates()
        generation = served.generation()
        context = server_context(files)
        async with (
            _site(intake, served.listen, port, context) as port,
            _child(served.syslog(), tell) as reload,
        ):
            if not told:
                told = True
                ready(port)
            while not stop.is_set() and served.generation() == generation:
                if time.monotonic() - tidied >= TIDY_S:
                    await asyncio.to_thread(_tidy, store, served, tell)
                    if tidied > 0:
                        # Boards that appeared while it looked for others: it looks anew then.
                        reload()
                    tidied = time.monotonic()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), LOOK_S)
        if not stop.is_set():
            tell("the certificates are others: beginning anew with them")


def _tidy(store: LogStore, served: CollectorConfig, tell: Tell) -> None:
    """Do what is due; who cannot tidy up still collects."""
    try:
        store.tidy(served.keep_days, served.plain_days)
        # Where a certificate is due, it is made here, and the generation is another.
        served.certificates()
    except (OSError, BootwrightError) as error:
        tell(f"warning: {error}")


@asynccontextmanager
async def _site(
    intake: IngestServer, listen: str, port: int, context: ssl.SSLContext
) -> AsyncIterator[int]:
    runner = web.AppRunner(
        intake.application(), access_log=None, keepalive_timeout=3600, shutdown_timeout=5
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, listen, port, ssl_context=context)
        try:
            await site.start()
        except socket.gaierror:
            raise InputError(f"--listen: {listen!r} is no address of this machine") from None
        except OSError as error:
            # asyncio's own words are longer, and say less.
            why = os.strerror(error.errno) if error.errno else str(error)
            raise FailedError(
                f"{listen}:{port}: {why}; does another collector run here? (port and listen in"
                " [logs.collector])"
            ) from None
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _child(argv: tuple[str, ...], tell: Tell) -> AsyncIterator[Callable[[], None]]:
    """Run a program as long as the context; one that ends by itself is started again.

    Yields what has it read its configuration again.
    """
    if not argv:
        yield lambda: None
        return
    try:
        child = await asyncio.create_subprocess_exec(*argv, env=environment())
    except FileNotFoundError:
        raise FailedError(
            f"{argv[0]} is not installed (Debian: syslog-ng-core and syslog-ng-mod-http); install"
            " it, or have it do nothing: tls_port = 0 in [logs.collector]"
        ) from None
    # One that does not like its configuration ends at once.
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(child.wait(), LOOK_S)
        raise FailedError(f"{argv[0]} ended with {child.returncode}; see what it said")
    current = [child]

    async def watch() -> None:
        while True:
            status = await current[0].wait()
            tell(f"{argv[0]} ended with {status}; starting it again")
            await asyncio.sleep(LOOK_S)
            current[0] = await asyncio.create_subprocess_exec(*argv, env=environment())

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
                await asyncio.wait_for(child.wait(), ENDS_S)
            except TimeoutError:
                child.kill()
                await child.wait()


def url_of(address: str, port: int) -> str:
    """Return where boards deliver to."""
    return f"https://{f'[{address}]' if ':' in address else address}:{port}{PATH}"


def written(path: Path, data: bytes) -> Path:
    """Write a file that only the owner reads; return its path."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(data)
    return path
