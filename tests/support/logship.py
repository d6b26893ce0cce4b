"""Boards' relays and a collector for tests: the real syslog-ng, real certificates, loopback."""

import asyncio
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPResponse
from pathlib import Path
from uuid import uuid4

import pytest

from bootwright.core.config import Logs, Target
from bootwright.core.paths import checkout
from bootwright.core.templates import Renderer
from bootwright.logs.io.collector import CollectorConfig, collect
from bootwright.logs.io.ingest import PATH
from bootwright.logs.io.listener import LIMITS, Limits
from bootwright.logs.io.store import LogStore
from bootwright.logs.record import LogRecord
from bootwright.logs.syslog_ng import Certificates
from bootwright.pki.certificate_store import CertificateSubject
from bootwright.pki.certificates import ServerNames
from bootwright.pki.command import issued_certificate
from bootwright.pki.io.store import PkiStore
from bootwright.provision.log_relay import drain_script, relay_values

DEADLINE_S = 60.0
SERVER = ServerNames(("localhost",), ("127.0.0.1",))
TAG = "0123456789ab/web/registry:5000/app:1"


def need_syslog_ng() -> None:
    if shutil.which("syslog-ng") is None:
        pytest.fail("syslog-ng is not installed: run scripts/setup test")
    if os.geteuid() != 0:
        pytest.skip("needs root, for a mount namespace")


def until(happened: Callable[[], object], what: str) -> None:
    """Wait for something to happen."""
    deadline = time.monotonic() + DEADLINE_S
    while not happened():
        assert time.monotonic() < deadline, f"did not happen: {what}"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def post(line: ssl.SSLSocket, body: bytes) -> int:
    """Send a delivery over a connection to the collector; return the status of the answer."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    line.sendall(head.encode() + body)
    answer = HTTPResponse(line)
    answer.begin()
    answer.read()
    return answer.status


@dataclass
class Operator:
    """The operator's machine: certificates, logs, and a collector that can be started."""

    folder: Path
    port: int = field(default_factory=free_port)
    messages: list[str] = field(default_factory=list)
    names: ServerNames = SERVER
    limits: Limits = LIMITS
    keep_bytes: int = 4 << 30
    address: str = "127.0.0.1"

    def __post_init__(self) -> None:
        self.pki = PkiStore(self.folder / "pki")
        self.store = LogStore(self.folder / "logs")

    def files(self, subject: CertificateSubject) -> Certificates:
        names = self.names if subject.kind == "collector" else ServerNames()
        issued_certificate(self.pki, subject, names, datetime.now(UTC))
        place = self.pki.subject_folder(subject)
        return Certificates(*(place / name for name in ("ca.pem", "cert.pem", "key.pem")))

    def connect(self, subject: CertificateSubject | None) -> ssl.SSLSocket:
        """Connect to the collector with a certificate, or without one."""
        context = ssl.create_default_context(
            cafile=self.files(CertificateSubject("collector", "collector")).authority
        )
        if subject is not None:
            files = self.files(subject)
            context.load_cert_chain(files.certificate, files.key)
        raw = socket.create_connection(("127.0.0.1", self.port), DEADLINE_S)
        return context.wrap_socket(raw, server_hostname="127.0.0.1")

    def deliver(self, body: bytes, board: str = "odroid") -> int:
        """Deliver as a board's relay does; return the status."""
        with self.connect(CertificateSubject("log", board)) as line:
            return post(line, body)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Collect as long as the context, in a thread."""
        loop = asyncio.new_event_loop()
        stop, ready = asyncio.Event(), threading.Event()
        errors: list[BaseException] = []
        served = CollectorConfig(
            self.address,
            self.port,
            90,
            lambda: self.files(CertificateSubject("collector", "collector")),
            self.pki.generation,
            limits=self.limits,
            keep_bytes=self.keep_bytes,
        )

        def run() -> None:
            try:
                loop.run_until_complete(
                    collect(self.store, served, stop, lambda _: ready.set(), self.messages.append)
                )
            except BaseException as error:
                errors.append(error)
                ready.set()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            assert ready.wait(DEADLINE_S)
            if errors:
                raise errors[0]
            yield
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(DEADLINE_S)
            loop.close()

    def records(self, board: str) -> list[LogRecord]:
        """Return what was stored, the oldest first."""
        return [*self.store.newest_first(board)][::-1]

    def texts(self, board: str, container: str = "web") -> list[str]:
        return [record.text for record in self.records(board) if record.app == container]


@dataclass
class Relay:
    """A board's relay, as provisioning configures it."""

    folder: Path
    operator: Operator
    name: str = "odroid"
    queue: str = "64MiB"
    transport: str = "https"
    port: int | None = None
    files: Certificates | None = None
    process: "subprocess.Popen[bytes] | None" = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.socket = self.folder / "socket"
        self._held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._held.bind(str(self.socket))
        self.control = self.folder / "control"
        self.files = self.files or self.operator.files(CertificateSubject("log", self.name))

    def configure(self) -> Path:
        files = self.files
        assert files is not None
        logs = Logs.model_validate(
            {
                "server": "127.0.0.1",
                "port": self.port or self.operator.port,
                "transport": self.transport,
                "queue": self.queue,
            }
        )
        target = Target(name=self.name, board="x", rootfs="y", hostname=self.name, logs=logs)
        (self.folder / "queue").mkdir(exist_ok=True)
        places = {
            "queue": str(self.folder / "queue"),
            "state": str(self.folder),
            "control": str(self.control),
            "socket": str(self.socket),
            "figures_s": 1,
            "ca": files.authority,
            "certificate": files.certificate,
            "key": files.key,
        }
        renderer = Renderer(checkout() / "templates")
        values = {**relay_values(target), **places}
        drain = drain_script(str(self.socket), str(self.control), str(self.folder))
        (self.folder / "drain").write_text(drain)
        text = renderer.render("logs/relay.conf.j2", values)
        text = text.replace("time-reopen(10)", "time-reopen(1)")
        # This machine's own log is none of a test's business.
        text = text.replace('    systemd-journal(prefix(".journal."));\n', "")
        assert 'unix-dgram("/dev/log" ' in text
        text = text.replace('unix-dgram("/dev/log" ', f'file("{self.folder}/journal" ')
        text = text.replace('"/var/log/audit/audit.log"', f'"{self.folder}/audit.log"')
        config = self.folder / "relay.conf"
        config.write_text(text)
        return config

    def start(self) -> None:
        """Start it as systemd does, which holds the socket, and go on when it works."""
        config = self.configure()
        argv = ["syslog-ng", "--foreground", "--no-caps", f"--cfgfile={config}"]
        argv += [f"--persist-file={self.folder}/persist", f"--control={self.control}"]
        argv += [f"--pidfile={self.folder}/pid"]
        # It takes a socket from systemd only where systemd seems to run.
        script = (
            'mount -t tmpfs none /run && mkdir -p /run/systemd/system && exec 3<&"$1" && shift &&'
            ' LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'
        )
        descriptor = self._held.fileno()
        self.process = subprocess.Popen(
            ["unshare", "--mount", "bash", "-c", script, "bash", str(descriptor), *argv],
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "messages").open("ab"),
            pass_fds=[descriptor],
            env=self._environment(),
        )
        until(self._works, "the relay works")

    def _environment(self) -> dict[str, str]:
        left = self.folder / "lost"
        before = left.read_text().partition("=")[2].strip() if left.exists() else ""
        self.environment = {
            **os.environ,
            "INVOCATION_ID": uuid4().hex,
            "LOST_BEFORE": before,
        }
        return self.environment

    def _works(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "messages").read_text()
        stats = ["syslog-ng-ctl", "stats", f"--control={self.control}"]
        return subprocess.run(stats, capture_output=True).returncode == 0

    def end(self, how: int = signal.SIGTERM) -> None:
        """End it as systemd does; without warning if ``how`` is SIGKILL."""
        if self.process is not None and self.process.poll() is None:
            if how == signal.SIGTERM:
                drain = ["sh", str(self.folder / "drain")]
                subprocess.run(drain, check=True, env=self.environment)
            os.kill(self.process.pid, how)
            self.process.wait(DEADLINE_S)
        self.process = None

    def close(self) -> None:
        self._held.close()

    def write(self, texts: list[bytes], tag: str = TAG, priority: int = 30) -> None:
        """Write as Docker's syslog driver does."""
        head = f"<{priority}>1 2026-11-26T02:00:00.123456Z odroid {tag} 99 {tag} - ".encode()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.connect(str(self.socket))
            for text in texts:
                client.send(head + text)

    def figure(self, name: str) -> int:
        """Return a figure of the destination for containers."""
        done = subprocess.run(
            ["syslog-ng-ctl", "stats", f"--control={self.control}"],
            capture_output=True,
            text=True,
            check=True,
        )
        rows = [line.split(";") for line in done.stdout.splitlines()]
        ours = (row for row in rows if len(row) == 6 and row[1] == "collector#0")
        return sum(int(row[5]) for row in ours if row[4] == name)


@contextmanager
def relay(folder: Path, operator: Operator, **more: object) -> Iterator[Relay]:
    """Run a relay as long as the context."""
    running = Relay(folder, operator, **more)  # type: ignore[arg-type]
    running.start()
    try:
        yield running
    finally:
        running.end()
        running.close()
