"""The configuration of targets: ``bootwright.toml`` over the defaults, with each value's origin."""

import contextlib
import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field

from bootwright.core.errors import InputError
from bootwright.core.target_names import BUILT_IN, CONFIG_NAME
from bootwright.core.toml_model import StrictModel, check_table, read_toml
from bootwright.core.units import MIB, parse_size

SCHEMA = "bootwright.config/1"

_HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_KEY = re.compile(r"(ssh-|ecdsa-|sk-)[a-z0-9@.-]+ [A-Za-z0-9+/=]+( .*)?")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")


def _hostname(value: str) -> str:
    if not _HOSTNAME.fullmatch(value):
        raise ValueError(f"{value!r} is not a host name: a-z, 0-9 and -, at most 63 characters")
    return value


def _board_host(value: str) -> str:
    """Check a name or address for OpenSSH; an IPv6 address may name its network interface."""
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", value):
        return value
    if re.fullmatch(r"\[.*\](:\d+)?|[^:]+:\d+", value):
        raise ValueError(
            f"{value!r} has a port or brackets: only the name or address is meant;"
            " leave the port to port ="
        )
    address, percent, interface = value.partition("%")
    with contextlib.suppress(ValueError):
        if ipaddress.IPv6Address(address) and (
            not percent or re.fullmatch(r"[A-Za-z0-9._-]+", interface)
        ):
            return value
    raise ValueError(f"{value!r} is no name and no address of a board")


def _user(value: str) -> str:
    if not _USER.fullmatch(value):
        raise ValueError(f"{value!r} is not a user name: a-z, 0-9, _ and -, at most 32 characters")
    return value


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", value):
        raise ValueError(f"{value!r} is not a target's name: letters, digits, '.', '_' and '-'")
    return value


def _mac(value: str) -> str:
    if value == "auto":
        return value
    if not _MAC.fullmatch(value):
        raise ValueError(f'{value!r} is neither "auto" nor like 02:1a:2b:3c:4d:5e')
    if int(value[:2], 16) & 1 or value == "00:00:00:00:00:00":
        raise ValueError(f"{value!r} is a multicast or null address; no card can have it")
    return value


def _timezone(value: str) -> str:
    if value not in available_timezones():
        raise ValueError(f"{value!r} is not a time zone; write it like UTC or Europe/Zurich")
    return value


def _locale(value: str) -> str:
    if not re.fullmatch(r"(C|POSIX|[a-z]{2,3}(_[A-Z]{2})?)(\.[A-Za-z0-9-]+)?(@[a-z]+)?", value):
        raise ValueError(f"{value!r} is not a locale; write it like C.UTF-8 or fr_CH.UTF-8")
    return value


def _authorized_keys(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        is_key = _KEY.fullmatch(value)
        if not is_key and " " in value:
            raise ValueError("one of them is neither a public key nor a file name")
    return values


def _api(value: str) -> str:
    match = re.fullmatch(r"tcp://([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\]):(\d{1,5})", value)
    if not match or not 0 < int(match[2]) < 65536:
        raise ValueError(f"{value!r} is not like tcp://192.0.2.10:2376")
    return value


def _size(value: str) -> str:
    try:
        parse_size(value)
    except InputError as error:
        raise ValueError(str(error)) from None
    return value


def _board_quota(value: str) -> str:
    # A delivery has 2 MiB at most, and a day of a board many of them.
    if parse_size(_size(value)) < 16 * MIB:
        raise ValueError(f"{value!r} is less than 16MiB, which is too little for a board's day")
    return value


def _size_or_rest(value: str) -> str:
    return value if value == "rest" else _size(value)


class Docker(StrictModel):
    """A target's settings of Docker that differ from the profile.

    ``daemon`` holds keys of daemon.json, which replace those of the profile. ``api`` is the address
    of the remote API, with mutual TLS. ``seccomp_profile`` is a file on this machine, relative to
    the checkout. The user ``trusted_user`` may control Docker, which gives root's rights.
    """

    trusted_user: Annotated[str, AfterValidator(_user)] | None = None
    daemon: dict[str, Any] = Field(default_factory=dict)
    api: Annotated[str, AfterValidator(_api)] | None = None
    seccomp_profile: str | None = None


Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:_-]*$")]

PORTS = {"https": 6515, "tls": 6514, "tcp": 6516, "udp": 6516}
"""The default port of each transport. 6514 is from RFC 5425; the others are our choice."""


def _plain_port(value: int) -> int:
    if value != 0 and not 1024 <= value <= 65535:
        raise ValueError(f"{value} is neither 0 (off) nor from 1024 to 65535")
    return value


PlainPort = Annotated[int, AfterValidator(_plain_port)]


class Logs(StrictModel):
    """Where a board's logs go: ``[logs]``, and over it ``[targets.NAME.logs]``.

    Only ``https`` acknowledges records, so that none is lost in transit; ``tls`` is RFC 5425, for
    servers of others; ``tcp`` and ``udp`` can be read and forged by anybody in the network.
    ``queue`` is the most that waits on the board, on its encrypted volume.
    """

    server: Host | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    transport: Literal["https", "tls", "tcp", "udp"] = "https"
    queue: Annotated[str, AfterValidator(_size)] = "256MiB"

    @property
    def server_port(self) -> int:
        """The server's TCP or UDP port: the configured one, else the transport's default."""
        return self.port or PORTS[self.transport]


class Collector(StrictModel):
    """``[logs.collector]``: the settings of ``inv logs serve`` on this machine.

    ``listen`` is the address; ``names`` are more names by which boards reach this machine, beside
    ``server`` of ``[logs]``. ``port`` is for boards. The other ports are for senders that speak
    the syslog protocol; 0 closes one. ``forward`` and ``forward_url`` are the kind and URL of a
    server that gets all logs, ``forward_user`` and ``forward_password_file`` its login.
    ``keep_days`` is how many days logs are kept, ``keep_bytes`` how many bytes of each board.
    """

    listen: Host = "0.0.0.0"
    port: Annotated[int, Field(ge=1024, le=65535)] = PORTS["https"]
    names: tuple[Host, ...] = ()
    tls_port: PlainPort = PORTS["tls"]
    tcp_port: PlainPort = 0
    udp_port: PlainPort = 0
    forward: Literal["loki", "opensearch"] | None = None
    forward_url: Annotated[str, Field(pattern=r"^https?://[^\s\"\\]+$")] | None = None
    forward_user: Annotated[str, Field(pattern=r"^[^\s\"\\`$]+$")] | None = None
    forward_password_file: str | None = None
    keep_days: Annotated[int, Field(ge=2)] = 90
    keep_bytes: Annotated[str, AfterValidator(_board_quota)] = "4GiB"


class Target(StrictModel):
    """A board and its card: how to build, reach and unlock it. Sizes are text in IEC units."""

    name: Annotated[str, AfterValidator(_name)]
    board: str
    rootfs: str
    layout: str | None = None
    hostname: Annotated[str, AfterValidator(_hostname)]
    host: Annotated[str, AfterValidator(_board_host)] | None = None
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    user: Annotated[str, AfterValidator(_user)] = "root"
    identity_file: str | None = None
    authorized_keys: Annotated[tuple[str, ...], AfterValidator(_authorized_keys)] = ()
    mac: Annotated[str, AfterValidator(_mac)] = "auto"
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    locale: Annotated[str, AfterValidator(_locale)] = "C.UTF-8"
    serial_port: str | None = None
    root_size: Annotated[str, AfterValidator(_size)] = "4GiB"
    docker_data_size: Annotated[str, AfterValidator(_size_or_rest)] = "rest"
    cipher: Literal["auto", "adiantum", "aes-xts"] = "auto"
    unlock: Literal["serial", "ssh"] = "serial"
    overlays: tuple[str, ...] = ()
    passphrase_command: tuple[str, ...] = ()
    rootfs_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    signing_key_file: str | None = None
    mirror: str | None = None
    groups: tuple[Annotated[str, AfterValidator(_name)], ...] = ()
    docker: Docker = Docker()
    logs: Logs = Logs()


@dataclass(frozen=True)
class Config:
    """A target with all values in effect, and the origin of each value."""

    target: Target
    origins: Mapping[str, str]

    def document(self) -> dict[str, Any]:
        """Return the configuration as one JSON document."""
        values = self.target.model_dump(mode="json")
        return {
            "schema": SCHEMA,
            "target": self.target.name,
            "values": {
                key: {"value": value, "origin": self.origins[key]} for key, value in values.items()
            },
        }

    def lines(self) -> list[str]:
        """Return the configuration as aligned lines: key, value, origin."""
        values = self.target.model_dump(mode="json")
        shown = {key: _toml(value) for key, value in values.items()}
        first = max(map(len, shown))
        second = max(map(len, shown.values()))
        return [
            f"{key:{first}}  {value:{second}}  {self.origins[key]}" for key, value in shown.items()
        ]


def load_config(root: Path, name: str, overrides: Mapping[str, Any] | None = None) -> Config:
    """Return the target ``name``: defaults, then built-in, then file, then command line.

    Args:
        root: the checkout, which may hold ``bootwright.toml``.
        name: the target.
        overrides: values of the command line by key; ``None`` means not given.

    Raises:
        InputError: no such target, or a wrong key or value (names file and key).
    """
    path = root / CONFIG_NAME
    from_file = _targets_of(path) if path.is_file() else {}
    logs_of_all = _logs_of(path)
    if name not in from_file and name not in BUILT_IN:
        known = ", ".join(sorted({*from_file, *BUILT_IN}))
        raise InputError(f"no target {name!r}; there are: {known}")
    where = f"{CONFIG_NAME}: targets.{name}"
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    layers = (("built-in target", BUILT_IN.get(name, {})), (where, from_file.get(name, {})))
    for origin, layer in layers:
        values |= layer
        origins |= dict.fromkeys(layer, origin)
    values.setdefault("hostname", name)
    if logs_of_all and isinstance(values.get("logs", {}), dict):
        if "logs" not in values:
            origins["logs"] = f"{CONFIG_NAME}: logs"
        values["logs"] = {**logs_of_all, **values.get("logs", {})}
    # First without the command line, so that an error in the file is reported as one of the file.
    check_table(Target, {"rootfs": "archlinuxarm", "board": "-", **values, "name": name}, where)
    values |= given
    origins |= dict.fromkeys(given, "command line")
    for key in ("board", "rootfs"):
        if key not in values:
            raise InputError(f"{where}: {key}: missing")
    target = check_table(Target, {**values, "name": name}, "command line" if given else where)
    for key in Target.model_fields:
        origins.setdefault(key, "default")
    return Config(target, origins)


def load_collector(root: Path, listen: str | None = None) -> tuple[Collector, Logs]:
    """Return the settings of this machine's collector, and those of the logs of all boards.

    Args:
        root: the checkout, which may hold ``bootwright.toml``.
        listen: the address from the command line; ``None`` without one.

    Raises:
        InputError: a wrong key or value (names file and key).
    """
    path = root / CONFIG_NAME
    table = _tables_of(path).get("logs", {}) if path.is_file() else {}
    where = f"{CONFIG_NAME}: logs.collector"
    collector = check_table(Collector, table.get("collector", {}), where)
    if (collector.forward_user is None) != (collector.forward_password_file is None):
        raise InputError(
            f"{where}: forward_user and forward_password_file are given together, or neither"
        )
    if listen is not None:
        collector = check_table(Collector, {**collector.model_dump(), "listen": listen}, "--listen")
    if (collector.forward is None) != (collector.forward_url is None):
        raise InputError(f"{where}: forward and forward_url are given together, or neither")
    return collector, check_table(Logs, _logs_of(path), f"{CONFIG_NAME}: logs")


def group_members(root: Path, group: str) -> list[str]:
    """Return the targets whose ``groups`` name ``group``, in the order of the file.

    Raises:
        InputError: no target is in the group, or the file cannot be read.
    """
    path = root / CONFIG_NAME
    targets = _targets_of(path) if path.is_file() else {}
    members = [name for name, values in targets.items() if group in values.get("groups", ())]
    if not members:
        raise InputError(
            f'no target of {CONFIG_NAME} is in the group {group!r}; write groups = ["{group}"]'
        )
    return members


def _toml(value: object) -> str:
    return "(none)" if value is None else json.dumps(value, ensure_ascii=False)


def _tables_of(path: Path) -> dict[str, Any]:
    tables = read_toml(path)
    unknown = sorted(set(tables) - {"targets", "logs"})
    if unknown:
        raise InputError(f"{path.name}: {unknown[0]}: unknown key; allowed here: logs, targets")
    if not isinstance(tables.get("logs", {}), dict):
        raise InputError(f"{path.name}: logs: write it as a table [logs]")
    return tables


def _logs_of(path: Path) -> dict[str, Any]:
    """Return ``[logs]`` without its table ``collector``."""
    table = _tables_of(path).get("logs", {}) if path.is_file() else {}
    values = {key: value for key, value in table.items() if key != "collector"}
    check_table(Logs, values, f"{path.name}: logs")
    return values


def _targets_of(path: Path) -> dict[str, dict[str, Any]]:
    targets = _tables_of(path).get("targets", {})
    if not isinstance(targets, dict) or not all(isinstance(t, dict) for t in targets.values()):
        raise InputError(f"{path.name}: targets: write each target as a table [targets.NAME]")
    return targets
