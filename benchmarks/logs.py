"""Time logs from a relay to the collector, compared with Docker's own syslog driver.

    .venv/bin/python benchmarks/logs.py [--runs N] [--records N] [--board] [--identity FILE]

1. On this machine, alternately: the relay as provisioning configures it (the real syslog-ng, a disk
   queue, HTTPS with certificates on both sides, acknowledged) sends to the collector; and, called
   "plain", the same datagrams go to a syslog-ng that sends them over TCP to one that writes a file.
2. With ``--board``, on the running emulator, provisioned and unlocked (scripts/demo makes a card
   for it): a container writes its lines to the relay, and with Docker's own driver over TCP to this
   machine. The board is provisioned to ship to this run's collector, and stays so afterwards.

The time is measured from the first record written to the last one stored.
"""

import argparse
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bootwright.core import paths
from bootwright.core.config import Logs
from bootwright.core.report import TextReporter
from bootwright.core.secret import Secret
from bootwright.core.templates import Renderer
from bootwright.hosts import resolve
from bootwright.hosts.profile import load_profile
from bootwright.pki.certificate_store import CertificateSubject
from bootwright.pki.certificates import ServerNames
from bootwright.provision.desired_state import DesiredState, TlsFiles
from bootwright.provision.one_board import Credentials, ProvisionOptions, provision
from bootwright.remote.io.connection import Remote
from tests.support.logship import Operator, Relay, free_port, relay

HOST = "10.0.2.2"
"""The address at which the emulated board reaches this machine."""

WAIT_S = 600.0
"""Seconds that anything may take before the benchmark fails."""

PLAIN = """
@version: 3.35
options {{ stats-freq(0); use-dns(no); dns-cache(no); keep-hostname(yes); log-msg-size(131072); }};
source s {{ {source} }};
destination d {{ {destination} }};
log {{ source(s); destination(d); flags(flow-control); }};
"""


def wait_until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not done():
        if time.monotonic() > end:
            sys.exit(f"a condition was not met within {WAIT_S:.0f} s")
        time.sleep(0.02)


def lines_in(folder: Path) -> int:
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    return sum(path.read_bytes().count(b"number ") for path in files)


@contextlib.contextmanager
def syslog_ng(folder: Path, source: str, destination: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "plain.conf"
    config.write_text(PLAIN.format(source=source, destination=destination))
    argv = ["syslog-ng", "-F", "--no-caps", "-f", str(config), "-R", f"{folder}/persist"]
    child = subprocess.Popen(
        [*argv, "-c", f"{folder}/ctl", "-p", f"{folder}/pid"], stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: (folder / "ctl").exists())
        yield
    finally:
        child.terminate()
        child.wait()


@contextlib.contextmanager
def plain_server(folder: Path) -> Iterator[int]:
    """Run a usual syslog server, which writes a file; gives its TCP port."""
    port = free_port()
    source = f"network(ip(127.0.0.1) port({port}) transport(tcp));"
    (folder / "stored").mkdir(parents=True)
    with syslog_ng(folder, source, f'file("{folder}/stored/log");'):
        wait_until(lambda: _listens(port))
        yield port


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def datagrams(path: Path, count: int) -> None:
    head = b"<30>1 2026-11-26T02:00:00.123456Z odroid 0123456789ab/web/app:1 9 web - number %d"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.connect(str(path))
        for number in range(count):
            client.send(head % number)


def local(folder: Path, count: int) -> tuple[float, float, int]:
    """Return the seconds of ours and of plain, and the relay's peak memory in KiB."""
    operator = Operator(folder / "operator")
    with operator.collecting(), relay(folder / "board", operator, queue="1GiB") as board:
        begin = time.monotonic()
        datagrams(board.socket, count)
        wait_until(lambda: lines_in(operator.store.folder) >= count)
        ours = time.monotonic() - begin
        memory = _memory(board)
    with plain_server(folder / "server") as port:
        (folder / "plain").mkdir()
        source = f'unix-dgram("{folder}/plain/socket");'
        to_server = f'network("127.0.0.1" port({port}) transport(tcp));'
        with syslog_ng(folder / "plain", source, to_server):
            wait_until(lambda: (folder / "plain/socket").exists())
            begin = time.monotonic()
            datagrams(folder / "plain/socket", count)
            wait_until(lambda: lines_in(folder / "server/stored") >= count)
            plain = time.monotonic() - begin
    return ours, plain, memory


def _memory(board: Relay) -> int:
    assert board.process is not None
    status = Path(f"/proc/{board.process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line)


def on_board(folder: Path, count: int, runs: int, identity: str | None) -> None:
    endpoint, target = resolve.endpoint_of("emulator", identity), resolve.target_of("emulator")
    operator = Operator(folder / "operator", names=ServerNames(("localhost",), (HOST, "127.0.0.1")))
    files = operator.files(CertificateSubject("log", target.name))
    read = [Path(name).read_bytes() for name in (files.authority, files.certificate, files.key)]
    logs = Logs(server=HOST, port=operator.port)
    desired = DesiredState(
        target=target.model_copy(update={"logs": logs}),
        login="root",
        profile=load_profile(paths.checkout() / "profiles"),
        renderer=Renderer(paths.checkout() / "templates"),
        logs=TlsFiles(read[0], read[1], Secret(read[2])),
    )
    credentials = Credentials(None, lambda: sys.exit("the board needs a restart"))
    done = provision(endpoint, desired, ProvisionOptions(wait=WAIT_S), credentials, TextReporter())
    if done.error is not None:
        raise done.error
    many = f"i=0; while [ $i -lt {count} ]; do i=$((i+1)); echo number $i; done"
    image = (
        "docker image inspect sh:local >/dev/null 2>&1 || tar -C / -ch bin/sh $(ldd /bin/sh |"
        " sed -n 's,^[^/]*/\\([^ ]*\\) (0x.*,\\1,p') | docker import - sh:local >/dev/null"
    )
    with (
        Remote(endpoint, wait=WAIT_S) as remote,
        operator.collecting(),
        plain_server(folder / "server") as port,
    ):

        def sh(script: str) -> str:
            done = remote.run(script, title="a script", sudo=True, timeout=WAIT_S)
            if done.returncode != 0:
                sys.exit(done.failure(script))
            return done.text

        sh(image)
        plain = f"--log-driver syslog --log-opt syslog-address=tcp://{HOST}:{port}"
        plain += " --log-opt syslog-format=rfc5424micro --log-opt tag=plain"
        methods = {"ours": ("", operator.store.folder), "plain": (plain, folder / "server/stored")}
        seconds: dict[str, list[float]] = {method: [] for method in methods}
        for _ in range(runs):
            for method, (options, stored) in methods.items():
                before = lines_in(stored)
                begin = time.monotonic()
                sh(f"docker run --rm {options} sh:local /bin/sh -c '{many}' >/dev/null")
                wait_until(lambda stored=stored, before=before: lines_in(stored) >= before + count)  # type: ignore[misc]
                seconds[method].append(time.monotonic() - begin)
        pid = "$(systemctl show -p MainPID --value bootwright-logs)"
        memory = sh(f"grep VmHWM /proc/{pid}/status").split()[1]
    ours, other = (statistics.median(found) for found in seconds.values())
    what = f"emulated board, {count} lines of a container, {runs} runs, with docker run"
    print_result(what, count, ours, other, int(memory))


def print_result(what: str, count: int, ours: float, plain: float, memory: int) -> None:
    print(f"{what}; medians")
    print(f"  ours   {ours:7.2f} s  {count / ours:8.0f}/s  relay at most {memory / 1024:.1f} MiB")
    print(f"  plain  {plain:7.2f} s  {count / plain:8.0f}/s  ours takes {ours / plain:.2f} ×")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--board", action="store_true")
    parser.add_argument("--identity")
    given = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("needs root, for a mount namespace")
    with tempfile.TemporaryDirectory() as name:
        if given.board:
            on_board(Path(name), given.records // 10, given.runs, given.identity)
            return
        found = [local(Path(name) / str(run), given.records) for run in range(given.runs)]
    ours, plain = (statistics.median(row[place] for row in found) for place in (0, 1))
    memory = max(row[2] for row in found)
    what = f"this machine, {given.records} records, {given.runs} runs"
    print_result(what, given.records, ours, plain, memory)


if __name__ == "__main__":
    main()
