"""The files for the collector: configuration of syslog-ng, systemd unit, file for docker compose.

syslog-ng receives logs by the syslog protocol. It writes them to the same folder as the ingest
server, one file for each sender and day, and forwards all files of the folder to Loki or
OpenSearch. Pure: nothing is run.
"""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import urlsplit

from bootwright.core.errors import InputError
from bootwright.core.secret import Secret
from bootwright.core.target_names import CONFIG_NAME
from bootwright.core.templates import Renderer
from bootwright.logs.record import escape_unsafe
from bootwright.pki.certificates import COLLECTOR_NAME

PASSWORD_FILE = "password.conf"
"""The file with the password for Loki or OpenSearch; only its owner can read it."""

INDEX_PREFIX = "bootwright"
"""The beginning of the names of indices in OpenSearch; the day follows."""

MAX_MESSAGE_BYTES = 128 * 1024
"""The most bytes of a message with its header; the rest is cut off, or becomes another message."""

MAX_CONNECTIONS = 1000
"""How many senders may be connected at the same time; syslog-ng's default is ten."""

MAX_FILES = 10_000
"""How many files can be forwarded: each board has two or three. syslog-ng's default is 100."""

WINDOW_RECORDS = 200
"""How many records of one connection or file may be waiting; also the records of one request."""

_PATHS = {"loki": "/loki/api/v1/push", "opensearch": "/_bulk"}

_STATUS_DROPPED = (102, 103, 304, 410, 416, 422, 424, 425, 428, 451, 504, 508)
"""Status codes of HTTP after which syslog-ng by default drops records, if need be after three
tries."""

_NO_UTF8 = (
    r"(?:[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|\xed[\x80-\x9f][\x80-\xbf]"
    r"|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xf0[\x90-\xbf][\x80-\xbf]{2}"
    r"|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2})(*SKIP)(*F)|[\x80-\xff]"
)
"""A regular expression for a byte that is not part of a UTF-8 character."""

_ACCEPTED_BY_LOKI = r"^(?:-[12]?\d?\d|\d{1,5}|[1-4]\d{5})\z"
"""A regular expression for a record's age, in seconds, that Loki accepts: up to 499,999 s (less
than a week), and at most 299 s in the future."""

# No characters that end a string in syslog-ng's configuration, or that it substitutes.
_PLAIN = re.compile(r"[^\x00-\x1f\x7f\"'`$\\]+")

# No characters that have a meaning in files of systemd or docker compose.
_NAME = re.compile(r"[A-Za-z0-9_/.][A-Za-z0-9_/.:@+-]*")

_INSIDE = PurePosixPath("/opt/bootwright")
_SOURCES = ("bootwright", "templates", "tasks.py", "scripts/tools.tsv")
"""The parts of the checkout that the container needs."""

CERTIFICATES = "BOOTWRIGHT_COLLECTOR_CERTIFICATES"
"""Environment variable: a folder with :data:`CERTIFICATE_FILES`, which are used as they are.

A service or a container cannot renew certificates: it does not have the authority's key.
"""

CERTIFICATE_FILES = ("ca.pem", "cert.pem", "key.pem")
"""The authority of the boards' certificates, and the collector's own certificate and key."""


@dataclass(frozen=True)
class Certificates:
    """Paths of files (PEM): the boards' authority, and the collector's certificate and key."""

    authority: Path
    certificate: Path
    key: Path


@dataclass(frozen=True)
class Forward:
    """The server that all logs are forwarded to.

    Attributes:
        kind: the program that runs there.
        url: its URL, without the path of the API.
        user: the user name, empty without a login; the password is in :data:`PASSWORD_FILE`.
        ca_file: the authority of its certificate; ``None``: the authorities of the system.
    """

    kind: Literal["loki", "opensearch"]
    url: str
    user: str = ""
    ca_file: Path | None = None


@dataclass(frozen=True)
class SyslogServer:
    """The settings of syslog-ng on the operator's machine. A port that is ``None`` is not open.

    Attributes:
        folder: the folder of the logs, see :class:`bootwright.logs.io.store.LogStore`.
        run: the folder for its state and its queue; both folders have to exist.
        listen: the address to listen on.
        tls: the port for RFC 5425, with certificates of both sides.
        tcp: the port for lines over TCP.
        udp: the port for datagrams.
        certificates: needed for ``tls``.
        forward: the server that all logs are forwarded to.
        retry_s: seconds between two attempts to reach that server.
        stopped: the senders of which nothing is stored, because they have no room left.
    """

    folder: Path
    run: Path
    listen: str = "0.0.0.0"
    tls: int | None = None
    tcp: int | None = None
    udp: int | None = None
    certificates: Certificates | None = None
    forward: Forward | None = None
    retry_s: int = 10
    stopped: tuple[str, ...] = ()

    @property
    def listens(self) -> bool:
        """Whether a port is open."""
        return any((self.tls, self.tcp, self.udp))

    @property
    def needed(self) -> bool:
        """Whether there is anything for syslog-ng to do."""
        return self.listens or self.forward is not None


@dataclass(frozen=True)
class ServerUnit:
    """The collector as a systemd unit.

    Attributes:
        checkout: the checkout that it runs from; the user has to be able to read it.
        user: the user that it runs as.
        logs: the folder of the logs; it has to exist and to belong to the user.
        state: the folder of its state; it has to exist and to belong to the user.
        certificates: the folder with the collector's files :data:`CERTIFICATE_FILES`. systemd gives
            the collector copies of them.
        pki: the folder of all certificates and keys; the collector cannot read it.
    """

    checkout: Path
    user: str
    logs: Path
    state: Path
    certificates: Path
    pki: Path


@dataclass(frozen=True)
class ServerContainer:
    """The collector in a container.

    Attributes:
        checkout: the checkout that it is built from.
        certificates: the folder with the collector's ``ca.pem``, ``cert.pem`` and ``key.pem``.
        uid: the id of the user who owns these files; the container runs as this user.
        gid: the id of the group.
        ports: the open TCP ports.
        udp_ports: the open UDP ports.
        config: the names of the checkout's configuration files, which are mounted.
        base: the base image: Debian 12 or newer.
    """

    checkout: Path
    certificates: Path
    uid: int
    gid: int
    ports: tuple[int, ...]
    udp_ports: tuple[int, ...] = ()
    config: tuple[str, ...] = (CONFIG_NAME,)
    base: str = "debian:12-slim"


def collector_config(collector: SyslogServer, renderer: Renderer) -> str:
    """Return the configuration of syslog-ng 3.38 or later; it contains no secret.

    Raises:
        InputError: a port, address, path or URL cannot be used (says which).
    """
    _check_numbers(collector)
    _check_paths(collector)
    values: dict[str, object] = {
        "collector": collector,
        "ip_protocol": _address(collector.listen).version,
        "longest": MAX_MESSAGE_BYTES,
        "connections": MAX_CONNECTIONS,
        "collector_name": COLLECTOR_NAME,
        "files": MAX_FILES,
        "window": WINDOW_RECORDS,
        "blanks": "|".join(_bytes(blank) for blank in _blanks()),
        "no_utf8": _NO_UTF8,
        "unsafe": {_bytes(text): escape_unsafe(text) for text in _unsafe()},
        "stopped": "|".join(re.escape(name) for name in collector.stopped),
        "any_unsafe": "|".join(_bytes(text) for text in _unsafe()),
    }
    if collector.forward is not None:
        values |= {
            "url": _url(collector.forward),
            "password_file": collector.run / PASSWORD_FILE,
            "index": INDEX_PREFIX,
            "accepted": _ACCEPTED_BY_LOKI,
            "actions": " ".join(f"{code} => {to}," for code, to in _actions(collector.forward)),
        }
    return renderer.render("logs/collector.conf.j2", values)


def collector_command(collector: SyslogServer, config: Path) -> tuple[str, ...]:
    """Return the command that runs syslog-ng in the foreground, with messages on standard error.

    The paths have to be absolute: syslog-ng changes its directory.
    """
    return (
        *("syslog-ng", "--foreground", "--stderr", "--no-caps", f"--cfgfile={config}"),
        f"--persist-file={collector.run / 'persist'}",
        f"--control={collector.run / 'ctl'}",
        f"--pidfile={collector.run / 'pid'}",
        # Files that are read or written, and connections. The usual limit is 1024.
        f"--fd-limit={MAX_FILES + 4 * MAX_CONNECTIONS}",
    )


def password_include(password: Secret) -> Secret:
    """Return the content of the file ``run/PASSWORD_FILE``: the password, quoted for syslog-ng.

    Raises:
        InputError: it contains a line end or a NUL.
    """
    value = password.reveal()
    if re.search(rb"[\x00\r\n]", value):
        raise InputError("the password for forwarding logs has to be one line")
    quoted = re.sub(rb'(["\\])', rb"\\\1", value).replace(b"`", b"``")
    return Secret(b'password("' + quoted + b'")\n')


def service_unit(service: ServerUnit, renderer: Renderer) -> str:
    """Return the unit that runs ``inv logs serve`` from a checkout.

    Raises:
        InputError: a path or the user cannot be written into a unit (says which).
    """
    folders = (service.checkout, service.logs, service.state, service.certificates, service.pki)
    _check_names(*(_absolute(folder) for folder in folders), service.user)
    if service.user in ("root", "0"):
        raise InputError("the collector has to run as a user who is not root")
    values = {"service": service, "names": CERTIFICATE_FILES, "variable": CERTIFICATES}
    return renderer.render("logs/bootwright-collector.service.j2", values)


def compose_file(container: ServerContainer, renderer: Renderer) -> str:
    """Return a file for ``docker compose`` that builds and runs the collector.

    Raises:
        InputError: a path or image cannot be written into it (says which), or the user is root.
    """
    folders = _absolute(container.checkout), _absolute(container.certificates)
    _check_names(*folders, container.base)
    if 0 in (container.uid, container.gid):
        raise InputError("the collector has to run as a user who is not root")
    certificates = "/etc/bootwright/certificates"
    values = {
        "container": container,
        "inside": _INSIDE,
        "sources": _SOURCES,
        "variable": CERTIFICATES,
        "certificates": certificates,
        "mounts": {
            container.certificates: certificates,
            **{container.checkout / name: _INSIDE / name for name in container.config},
        },
        "logs": "/var/log/bootwright",
        "state": "/var/lib/bootwright",
    }
    return renderer.render("logs/compose.yaml.j2", values)


def _absolute(path: Path) -> str:
    if not path.is_absolute():
        raise InputError(f"{str(path)!r}: write an absolute path")
    return str(path)


def _check_names(*names: str) -> None:
    for name in names:
        if not _NAME.fullmatch(name):
            raise InputError(f"{name!r}: only letters, digits and '_/.:@+-' can be used here")


def _actions(forward: Forward) -> list[tuple[int, str]]:
    actions = dict.fromkeys(_STATUS_DROPPED, "disconnect")
    if forward.kind == "loki":
        # Loki has stored the other records of the request, and would never accept these.
        actions[400] = "drop"
    return sorted(actions.items())


def _check_numbers(collector: SyslogServer) -> None:
    tcp = [collector.tls, collector.tcp]
    for port in (*tcp, collector.udp):
        if port is not None and not 1024 <= port <= 65535:
            raise InputError(f"logs.collector: port {port} is not from 1024 to 65535")
    ports = [port for port in tcp if port is not None]
    if len(ports) != len(set(ports)):
        raise InputError("logs.collector: two ports over TCP are the same")
    if collector.tls is not None and collector.certificates is None:
        raise InputError("logs.collector: tls_port needs the collector's certificate")


def _check_paths(collector: SyslogServer) -> None:
    paths = [collector.folder, collector.run]
    if files := collector.certificates:
        paths += [files.authority, files.certificate, files.key]
    if collector.forward and collector.forward.ca_file:
        paths.append(collector.forward.ca_file)
    for path in paths:
        if not path.is_absolute() or not _PLAIN.fullmatch(str(path)):
            raise InputError(
                f"{str(path)!r}: the collector needs absolute paths without quotes, '$', '`' and"
                " control characters; move it"
            )


def _address(text: str) -> Any:
    try:
        return ip_address(text)
    except ValueError:
        raise InputError(f"logs.collector: listen: {text!r} is not an IP address") from None


def _url(forward: Forward) -> str:
    try:
        parts = urlsplit(forward.url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or not _PLAIN.fullmatch(forward.url) or re.search(r"[\s@?#]", forward.url):
        raise InputError(
            f"logs.collector: forward_url: {forward.url!r}: write it like"
            " https://loki.example:3100, without a user, '?', '#', quotes and '$'"
        )
    if forward.user and not _PLAIN.fullmatch(forward.user):
        raise InputError(
            f"logs.collector: forward_user: {forward.user!r} is not a user name for {forward.kind}"
        )
    return forward.url.rstrip("/") + _PATHS[forward.kind]


def _bytes(text: str) -> str:
    """Return a regular expression that matches the text's bytes in UTF-8."""
    return "".join(f"\\x{byte:02x}" for byte in text.encode())


def _characters() -> list[str]:
    # All characters that escape_unsafe() changes, and all blanks, are below U+10000; a test checks
    # that.
    return [chr(code) for code in range(0x10000) if not 0xD800 <= code <= 0xDFFF]


def _unsafe() -> list[str]:
    return [character for character in _characters() if escape_unsafe(character) != character]


def _blanks() -> list[str]:
    """Return the blanks that escape_unsafe() keeps; the header's fields cannot contain them."""
    return [text for text in _characters() if text.isspace() and escape_unsafe(text) == text]
