"""``inv logs serve``: this machine takes the logs of boards."""

import asyncio
import signal
import socket
from datetime import UTC, datetime
from ipaddress import ip_address

from bootwright import paths
from bootwright.config import Collector, Logs, load_collector
from bootwright.effects.collector import Served, collect, url_of
from bootwright.effects.intake import Certificates
from bootwright.effects.logstore import LogStore, default_folder
from bootwright.effects.pki_store import PkiStore, pki_dir
from bootwright.pki import Names
from bootwright.pki_holdings import Holder
from bootwright.pki_task import credentials
from bootwright.report import Reporter

HOLDER = Holder("collector", "collector")
"""Who holds the collector's certificate; there is one for all machines that collect."""


def names_of(collector: Collector, logs: Logs) -> Names:
    """Return what boards call this machine."""
    words = [*collector.names, *([logs.server] if logs.server else [])]
    words += [socket.gethostname().lower(), "localhost", "127.0.0.1"]
    ips, dns = [], []
    for word in dict.fromkeys(words):
        try:
            ips.append(str(ip_address(word)))
        except ValueError:
            dns.append(word.lower())
    return Names(tuple(dns), tuple(ips))


def serve(reporter: Reporter) -> None:
    """Collect until interrupted or told to end (SIGTERM).

    Raises:
        InputError: a wrong value in ``bootwright.toml``, or a file of the PKI is damaged.
        RefusedError: the folder of certificates is not for the operator alone.
        FailedError: a port is in use, or the syslog server is missing or does not run.
    """
    collector, logs = load_collector(paths.checkout())
    store, certificates = LogStore(default_folder()), PkiStore(pki_dir())
    names = names_of(collector, logs)

    def current() -> Certificates:
        credentials(certificates, HOLDER, names, datetime.now(UTC))
        place = certificates.place(HOLDER)
        return Certificates(*(str(place / name) for name in ("ca.pem", "cert.pem", "key.pem")))

    served = Served(
        listen=collector.listen,
        port=collector.port,
        keep_days=collector.keep_days,
        certificates=current,
        generation=certificates.generation,
    )

    def ready(port: int) -> None:
        reporter.note(f"boards deliver to {url_of(collector.listen, port)}")
        reporter.note(f"logs are kept in {paths.shown(store.folder)}; Ctrl-C ends this")

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await collect(store, served, stop, ready, reporter.note)

    store.folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(run())
