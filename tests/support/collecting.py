"""The collector's syslog-ng as it is configured, and who sends to it."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bootwright.core.io.process import environment
from bootwright.core.paths import checkout
from bootwright.core.templates import Renderer
from bootwright.logs.io.store import LogStore
from bootwright.logs.record import LogRecord, parse_record
from bootwright.logs.syslog_ng import (
    Certificates,
    SyslogServer,
    collector_command,
    collector_config,
)
from bootwright.pki.certificates import KeyPair, ServerNames, make_authority, sign

NOW = datetime.now(UTC)

LIMIT_S = 20.0

GREETING = "greeting"

NOBODY = 65534 if os.geteuid() == 0 else None
"""Who syslog-ng runs as: it is to need no root."""


def until(happened: Callable[[], object], what: str) -> None:
    """Wait for something to happen."""
    deadline = time.monotonic() + LIMIT_S
    while not happened():
        assert time.monotonic() < deadline, f"did not happen: {what}"
        time.sleep(0.02)


given: set[int] = set()
"""Ports that were given out: what is free now may be free once more."""


def free_port() -> int:
    """Return a port that is free for TCP and UDP, and was not given out before."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            with suppress(OSError):
                udp.bind(("127.0.0.1", port))
                if port not in given:
                    given.add(port)
                    return port


@contextmanager
def folder() -> Iterator[Path]:
    """Make a folder that syslog-ng's user can use; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for inner in ("logs", "run", "pki"):
            (place / inner).mkdir()
        give(place, *place.iterdir())
        # So that it can read what a test writes as root, from the first moment.
        (place / "logs").chmod(0o2775)
        yield place


def give(*paths: Path) -> None:
    if NOBODY is not None:
        for path in paths:
            os.chown(path, NOBODY, NOBODY)


@dataclass
class Daemon:
    """syslog-ng with the rendered configuration."""

    place: Path
    collector: SyslogServer
    variables: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def stderr_text(self) -> str:
        return (self.place / "messages").read_text(errors="replace")

    @property
    def store(self) -> LogStore:
        return LogStore(self.collector.folder)

    def start(self) -> None:
        config = self.place / "syslog-ng.conf"
        text = collector_config(self.collector, Renderer(checkout() / "templates"))
        config.write_text(text.replace("follow-freq(1)", "follow-freq(0.1)"))
        with (self.place / "messages").open("wb") as message:
            self.process = subprocess.Popen(
                collector_command(self.collector, config),
                env=environment(self.variables),
                stdin=subprocess.DEVNULL,
                stdout=message,
                stderr=message,
                user=NOBODY,
                group=NOBODY,
                extra_groups=None if NOBODY is None else (),
            )
        until(lambda: "starting up" in self.stderr_text or self.ended, "syslog-ng runs")
        assert not self.ended, self.stderr_text

    @property
    def ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None and not self.ended:
            self.process.send_signal(number)
            self.process.wait(LIMIT_S)

    def lines(self, board: str) -> list[str]:
        """Return all lines of a board, in order, without greetings."""
        return [line for line in self._all_lines(board) if not line.endswith(GREETING)]

    def greetings(self) -> int:
        boards = [path.name for path in self.collector.folder.iterdir()]
        return sum(line.endswith(GREETING) for name in boards for line in self._all_lines(name))

    def _all_lines(self, board: str) -> list[str]:
        files = sorted((self.collector.folder / board).glob("*.log"))
        return [line for file in files for line in file.read_bytes().decode().split("\n")[:-1]]

    def records(self, board: str, count: int) -> list[LogRecord]:
        """Return a board's records, once there are so many."""
        until(lambda: len(self.lines(board)) >= count, f"{count} lines of {board}")
        found = [parse_record(line, board) for line in self.lines(board)]
        assert len(found) == count, found
        return found

    def boards(self) -> list[str]:
        """Return who has lines."""
        names = [path.name for path in self.collector.folder.iterdir()]
        return sorted(name for name in names if self.lines(name))


@contextmanager
def running(daemon: Daemon) -> Iterator[Daemon]:
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.end()
        daemon.end(signal.SIGKILL)


AUTHORITY = make_authority("logs", NOW)

FOREIGN = make_authority("logs", NOW)


def server_pair() -> KeyPair:
    """Return what the collector proves itself with."""
    return sign(
        AUTHORITY, "collector", "collector", ServerNames(("localhost",), ("127.0.0.1",)), NOW
    )


def board_pair(name: str, authority: KeyPair = AUTHORITY) -> KeyPair:
    return sign(authority, "log", name, ServerNames(), NOW)


def write_key_pair(place: Path, name: str, pair: KeyPair) -> tuple[Path, Path]:
    assert pair.key is not None
    certificate, key = place / f"{name}.pem", place / f"{name}-key.pem"
    certificate.write_bytes(pair.certificate_pem())
    key.touch(0o600)
    key.write_bytes(pair.key.reveal())
    give(certificate, key)
    return certificate, key


def certificates(place: Path) -> Certificates:
    authority = place / "pki" / "ca.pem"
    authority.write_bytes(AUTHORITY.certificate_pem())
    return Certificates(authority, *write_key_pair(place / "pki", "collector", server_pair()))


def counted(message: bytes) -> bytes:
    return b"%d %s" % (len(message), message)


def rfc5424(text: bytes, app: bytes = b"app", host: bytes = b"-") -> bytes:
    return b"<30>1 2026-11-26T01:02:03.123456Z %s %s 12 ID - %s" % (host, app, text)
