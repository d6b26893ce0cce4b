"""``inv logs``: this machine collects the logs of boards, and shows them."""

import asyncio
import os
import pwd
import shutil
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from bootwright.core import paths
from bootwright.core.config import Collector, Logs, load_collector
from bootwright.core.config_files import read_config_files
from bootwright.core.errors import InputError
from bootwright.core.io.process import environment
from bootwright.core.io.secret_input import read_new_passphrase
from bootwright.core.report import Reporter
from bootwright.core.target_names import CONFIG_NAME
from bootwright.core.templates import Renderer
from bootwright.core.units import parse_size
from bootwright.emulator.plan import HOST_ADDRESS_IN_GUEST
from bootwright.hosts import resolve
from bootwright.logs.check_result import BoardLogs, CollectorCertificate, LogsCheck
from bootwright.logs.choices import LogsAction
from bootwright.logs.io.collector import CollectorConfig, collect, url_of, write_private
from bootwright.logs.io.listener import LIMITS, raise_file_limit
from bootwright.logs.io.quotas import disk_of, disk_trouble, trouble_of
from bootwright.logs.io.store import LogStore, default_folder
from bootwright.logs.io.web_page import serve_page
from bootwright.logs.syslog_ng import (
    CERTIFICATE_FILES,
    CERTIFICATES,
    PASSWORD_FILE,
    Certificates,
    Forward,
    ServerContainer,
    ServerUnit,
    collector_command,
    compose_file,
    password_include,
    service_unit,
)
from bootwright.logs.syslog_ng import SyslogServer as Syslog
from bootwright.logs.syslog_ng import collector_config as syslog_config
from bootwright.pki.certificate_store import CertificateSubject
from bootwright.pki.certificates import (
    COLLECTOR_NAME,
    RENEW_BEFORE,
    VALIDITY,
    ServerNames,
    has_common_name,
    parse_certificate,
)
from bootwright.pki.command import IssuedCertificate, issued_certificate
from bootwright.pki.io.store import PkiStore, pki_dir

FORWARDED_DAYS = 7
"""Days that logs stay uncompressed if they are forwarded. Only uncompressed logs can be forwarded,
so forwarding may fail for this long without a loss."""

SUBJECT = CertificateSubject("collector", "collector")
"""The subject of the collector's certificate."""


ACTIONS: dict[LogsAction, int] = {
    "serve": 0,
    "tail": 1,
    "check": 0,
    "web": 0,
    "unit": 0,
    "compose": 0,
}
"""How many targets each action takes."""

_TAIL_OPTIONS: dict[str, tuple[LogsAction, ...]] = dict.fromkeys(
    ("container", "since", "grep", "severity", "lines", "follow"), ("tail",)
)
OPTIONS: dict[str, tuple[LogsAction, ...]] = {
    **_TAIL_OPTIONS,
    "json": ("tail", "check"),
    "listen": ("serve",),
    "port": ("web",),
    "user": ("unit",),
}
"""The actions that each option is for."""


def check_action(action: LogsAction, targets: Sequence[str], given: Mapping[str, object]) -> None:
    """Check that the options and targets are for this action.

    Args:
        action: what to do.
        targets: the targets on the command line.
        given: the options by name; those that were not given are empty.

    Raises:
        InputError: the number of targets is wrong, or an option is for another action.
    """
    if len(targets) != ACTIONS[action]:
        takes = "one target: inv logs tail TARGET" if ACTIONS[action] else "no target"
        raise InputError(f"{action}: takes {takes}")
    for option, value in given.items():
        if value and action not in OPTIONS[option]:
            right = " and ".join(OPTIONS[option])
            raise InputError(f"--{option} is for inv logs {right}, not for {action}")


def board_of(name: str) -> tuple[LogStore, str]:
    """Return the store of the logs, and a target's name in it.

    A board that has logs but is no longer configured is found too.
    """
    store = LogStore(default_folder())
    try:
        return store, resolve.target_of(name).name
    except InputError:
        if name in store.boards():
            return store, name
        raise


def trouble_now(store: LogStore, board: str) -> tuple[str, ...]:
    """Return what is wrong with a board's logs."""
    return trouble_of(store, board, datetime.now(UTC))


def show_trouble(store: LogStore, board: str, reporter: Reporter) -> None:
    """Warn of what is wrong with a board's logs."""
    for sentence in trouble_now(store, board):
        reporter.warn(f"{board}: {sentence}")


def check() -> LogsCheck:
    """Return the state of what is collected: boards, disk and the collector's certificate.

    Raises:
        InputError: a wrong value in ``bootwright.toml``, or the certificate cannot be read.
    """
    collector, _ = load_collector(paths.checkout())
    quota, store = parse_size(collector.keep_bytes), LogStore(default_folder())
    boards = []
    for board in store.boards():
        used = store.used(board)
        over = ("its logs are over its quota",) if used > quota else ()
        boards.append(BoardLogs(board, used, quota, (*trouble_now(store, board), *over)))
    return LogsCheck(
        paths.display_path(store.folder),
        tuple(boards),
        disk_trouble(disk_of(store.folder)),
        _own_certificate(),
    )


def _own_certificate() -> CollectorCertificate | None:
    given = os.environ.get(CERTIFICATES)
    folder = Path(given) if given else PkiStore(pki_dir()).subject_folder(SUBJECT)
    certificate = folder / CERTIFICATE_FILES[1]
    # A machine without a collector has none.
    if not given and not os.path.lexists(certificate):
        return None
    days = days_left(certificate, datetime.now(UTC))
    return CollectorCertificate(days, days < RENEW_BEFORE.days, validity(days))


def validity(days: int) -> str:
    """Return how long the collector's certificate is valid, and what to do if it ends soon.

    Args:
        days: for how many days it is valid; negative if it has ended.
    """
    if days >= RENEW_BEFORE.days:
        return f"valid for {days} days: good"
    ends = f"it ends in {days} days" if days >= 0 else "it has ended"
    return (
        f"{ends}: renew it (inv logs unit, or inv logs serve, does that), and restart the service"
        " or the container"
    )


def unit(user: str, reporter: Reporter) -> str:
    """Return a systemd unit that runs the collector from this checkout.

    The collector's certificate is made or renewed if that is due, because the service cannot do it.

    Args:
        user: the user that runs the collector.
        reporter: shows warnings.

    Raises:
        InputError: the user or a path cannot be written into a unit; the user is the operator, or
            the owner of the checkout; a wrong value in ``bootwright.toml``; a file of the PKI is
            damaged.
        RefusedError: other users can read the folder of certificates.
    """
    collector, logs = load_collector(paths.checkout())
    certificates = PkiStore(pki_dir())
    if user in _names_of_operator():
        raise InputError(
            f"--user {user}: the collector has to run as a user of its own: this one can read keys"
            " that open boards (see docs/fleet-logs.md)"
        )
    service = ServerUnit(
        checkout=paths.checkout(),
        user=user,
        logs=Path("/var/log/bootwright"),
        state=Path("/var/lib/bootwright"),
        certificates=certificates.subject_folder(SUBJECT),
        pki=certificates.folder,
    )
    text = service_unit(service, Renderer(paths.checkout() / "templates"))
    names = names_of(collector, logs)
    made = issued_certificate(certificates, SUBJECT, names, datetime.now(UTC))
    if warning := old_name_warning(made):
        reporter.warn(warning)
    return text


def _names_of_operator() -> set[str]:
    """Return the names and numbers of who runs this, and of the owner of the checkout."""
    found = set()
    for number in (os.geteuid(), paths.checkout().stat().st_uid):
        found.add(str(number))
        with suppress(KeyError):  # it has no name
            found.add(pwd.getpwuid(number).pw_name)
    return found


def compose() -> str:
    """Return a file for ``docker compose`` that builds and runs the collector.

    Raises:
        InputError: a wrong value in ``bootwright.toml``; a path cannot be written into the file;
            the collector would run as root; there is no certificate for it yet.
    """
    collector, _ = load_collector(paths.checkout())
    folder = PkiStore(pki_dir()).subject_folder(SUBJECT)
    if not folder.is_dir():
        raise InputError(
            f"{paths.display_path(folder)}: no certificate yet; run inv logs serve once to make it"
        )
    owner = folder.stat()
    if owner.st_uid == 0:
        raise InputError(
            f"{paths.display_path(folder)} belongs to root, and the collector must not run as root:"
            " run inv logs serve once as the user who will run the collector, which makes the"
            " certificate. After that, run this command as that user"
        )
    tcp = (collector.port, collector.tls_port, collector.tcp_port)
    udp = (collector.udp_port,) if collector.udp_port else ()
    config = tuple(file.name for file in read_config_files(paths.checkout()))
    container = ServerContainer(
        paths.checkout(), folder, owner.st_uid, owner.st_gid, tuple(filter(None, tcp)), udp, config
    )
    return compose_file(container, Renderer(paths.checkout() / "templates"))


def names_of(collector: Collector, logs: Logs) -> ServerNames:
    """Return the names and addresses by which boards reach this machine."""
    words = [*collector.names, *([logs.server] if logs.server else [])]
    words += [socket.gethostname().lower(), "localhost", "127.0.0.1", HOST_ADDRESS_IN_GUEST]
    ips, dns = [], []
    for word in dict.fromkeys(words):
        try:
            ips.append(str(ip_address(word)))
        except ValueError:
            dns.append(word.lower())
    return ServerNames(tuple(dns), tuple(ips))


def old_name_warning(collector: IssuedCertificate) -> str:
    """Return a warning if the collector's certificate has the name of earlier versions; else ""."""
    if has_common_name(parse_certificate(collector.cert_pem), COLLECTOR_NAME):
        return ""
    return (
        "the collector's certificate has a name that a board could have too, and cannot be renewed"
        " because the key of the logs authority is missing. It is used as it is; put ca-key.pem"
        " back for a moment, and run inv logs unit, to renew it"
    )


def days_left(certificate: Path, now: datetime) -> int:
    """Return for how many days a certificate (PEM) is valid; negative if it has ended.

    Raises:
        InputError: the file cannot be read, or is not a certificate.
    """
    try:
        return (parse_certificate(certificate.read_bytes()).not_valid_after_utc - now).days
    except OSError as error:
        raise InputError(f"{certificate}: cannot read it: {error.strerror}") from None
    except InputError as error:
        raise InputError(f"{certificate}: {error}") from None


def serve(reporter: Reporter, listen: str | None = None) -> None:
    """Collect logs until SIGINT or SIGTERM.

    Args:
        reporter: shows messages.
        listen: the address to listen on; ``None``: the configured one.

    Raises:
        InputError: a wrong value in ``bootwright.toml``, or a file of the PKI is damaged.
        RefusedError: other users can read the folder of certificates.
        FailedError: a port is in use, or the syslog server is not installed or does not start.
    """
    collector, logs = load_collector(paths.checkout(), listen)
    store, certificates = LogStore(default_folder()), PkiStore(pki_dir())
    names = names_of(collector, logs)

    run = paths.build_dir() / "collector"
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    renderer = Renderer(paths.checkout() / "templates")
    config_file = run / "syslog-ng.conf"

    # Without syslog-ng, only the TLS port may stay closed: it is configured by default.
    required = bool(collector.tcp_port or collector.udp_port or collector.forward)

    given = os.environ.get(CERTIFICATES)

    shown: set[str] = set()

    def certificate_folder() -> Path:
        if given:
            return Path(given)
        made = issued_certificate(certificates, SUBJECT, names, datetime.now(UTC))
        if (warning := old_name_warning(made)) and warning not in shown:
            shown.add(warning)
            reporter.warn(warning)
        # Not the path with the link: if the link changes now, both servers still use the same
        # certificates.
        return certificates.subject_folder(SUBJECT).resolve()

    warned: list[int] = []

    def current_certificates() -> Certificates:
        folder = certificate_folder()
        files = Certificates(*(folder / name for name in CERTIFICATE_FILES))
        days = days_left(files.certificate, datetime.now(UTC)) if given else VALIDITY.days
        if days < RENEW_BEFORE.days and days not in warned:
            warned.append(days)
            reporter.warn(f"collector's certificate: {validity(days)}")
        return files

    def syslog_command(stopped: tuple[str, ...]) -> tuple[str, ...]:
        wanted = _syslog_of(collector, store.folder, run, current_certificates(), stopped)
        if not wanted.needed:
            return ()
        # Debian has it in /usr/sbin, which is not in every user's PATH.
        if shutil.which("syslog-ng", path=environment()["PATH"]) is None and not required:
            reporter.warn(
                f"syslog-ng is not installed, so port {collector.tls_port} for other machines that"
                " send logs by the syslog protocol is not open (scripts/setup logs installs it; or"
                " switch it off: tls_port = 0 in [logs.collector])"
            )
            return ()
        if collector.forward_password_file is not None:
            option = f"{CONFIG_NAME}: logs.collector: forward_password_file"
            file = str(paths.expand_user(collector.forward_password_file))
            password = read_new_passphrase(file, option, "", twice=False)
            write_private(run / PASSWORD_FILE, password_include(password).reveal())
        return collector_command(
            wanted, write_private(config_file, syslog_config(wanted, renderer).encode())
        )

    config = CollectorConfig(
        listen=collector.listen,
        port=collector.port,
        keep_days=collector.keep_days,
        certificates=current_certificates,
        generation=lambda: given or certificates.generation(),
        syslog=syslog_command,
        plain_days=FORWARDED_DAYS if collector.forward else 2,
        keep_bytes=parse_size(collector.keep_bytes),
        limits=replace(LIMITS, boards=raise_file_limit()),
    )

    def ready(port: int) -> None:
        reporter.note(f"boards deliver to {url_of(collector.listen, port)}")
        reporter.note(f"logs are kept in {paths.display_path(store.folder)}; Ctrl-C ends this")

    async def collecting(stop: asyncio.Event) -> None:
        await collect(store, config, stop, ready, reporter.note)

    store.folder.mkdir(parents=True, exist_ok=True)
    _until_stopped(collecting)


def serve_web_page(port: int) -> None:
    """Serve the web page that shows logs, until SIGINT or SIGTERM.

    Raises:
        FailedError: the port is in use.
    """

    async def serving(stop: asyncio.Event) -> None:
        await serve_page(LogStore(default_folder()), port, lambda url: print(url, flush=True), stop)

    _until_stopped(serving)


def _until_stopped(work: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await work(stop)

    asyncio.run(run())


def _syslog_of(
    collector: Collector,
    folder: Path,
    run: Path,
    certificates: Certificates,
    stopped: tuple[str, ...],
) -> Syslog:
    forward = None
    if collector.forward is not None and collector.forward_url is not None:
        user = collector.forward_user or ""
        forward = Forward(collector.forward, collector.forward_url, user)
    return Syslog(
        folder=folder.resolve(),
        run=run.resolve(),
        listen=collector.listen,
        tls=collector.tls_port or None,
        tcp=collector.tcp_port or None,
        udp=collector.udp_port or None,
        certificates=certificates,
        forward=forward,
        stopped=stopped,
    )
