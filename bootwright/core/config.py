"""The configuration of targets: the files over the defaults, with each value's origin."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field

from bootwright.core.config_files import ConfigFile, read_config_files
from bootwright.core.endpoints import UnlockMode
from bootwright.core.errors import InputError
from bootwright.core.network import Host, Network
from bootwright.core.options import did_you_mean
from bootwright.core.target_names import BUILT_IN, CONFIG_NAME
from bootwright.core.toml_model import StrictModel, check_table, merge_tables, toml_value
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
    # A board delivers at most 2 MiB at a time, and many times a day.
    if parse_size(_size(value)) < 16 * MIB:
        raise ValueError(
            f"{value!r} is less than 16MiB, which is too little for one day of a board's logs"
        )
    return value


def _size_or_rest(value: str) -> str:
    return value if value == "rest" else _size(value)


def _package(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", value):
        raise ValueError(f"{value!r} is not the name of a Debian package")
    return value


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

    EXAMPLES: ClassVar[Mapping[str, Any]] = {
        "trusted_user": "mia",
        "daemon": {"ip": "192.0.2.10"},
        "api": "tcp://192.0.2.10:2376",
        "seccomp_profile": "seccomp.json",
    }


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

    EXAMPLES: ClassVar[Mapping[str, Any]] = {
        "server": "192.0.2.20",
        "port": 6515,
        "transport": "https",
        "queue": "256MiB",
    }

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

    EXAMPLES: ClassVar[Mapping[str, Any]] = {
        "listen": "0.0.0.0",
        "port": 6515,
        "names": ["logs.example"],
        "tls_port": 6514,
        "tcp_port": 6516,
        "udp_port": 6516,
        "forward": "loki",
        "forward_url": "https://loki.example:3100",
        "forward_user": "collector",
        "forward_password_file": "~/.config/bootwright/loki",
        "keep_days": 90,
        "keep_bytes": "4GiB",
    }


class Target(StrictModel):
    """A board and its card: how to build, reach and unlock it. Sizes are text in IEC units."""

    name: Annotated[str, AfterValidator(_name)]
    board: str
    rootfs: str
    layout: str | None = None
    hostname: Annotated[str, AfterValidator(_hostname)]
    host: Host | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
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
    unlock: UnlockMode = "serial"
    overlays: tuple[str, ...] = ()
    passphrase_command: tuple[str, ...] = ()
    rootfs_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    signing_key_file: str | None = None
    mirror: str | None = None
    groups: tuple[Annotated[str, AfterValidator(_name)], ...] = ()
    packages: tuple[Annotated[str, AfterValidator(_package)], ...] = ()
    first_boot: str | None = None
    network: Network = Network()
    docker: Docker = Docker()
    logs: Logs = Logs()

    EXAMPLES: ClassVar[Mapping[str, Any]] = {
        "board": "odroid-xu3",
        "rootfs": "debian",
        "layout": "1m",
        "hostname": "odroid",
        "host": "192.0.2.10",
        "port": 22,
        "user": "root",
        "identity_file": "~/.ssh/id_ed25519",
        "authorized_keys": ["~/.ssh/id_ed25519.pub"],
        "mac": "auto",
        "timezone": "Europe/Zurich",
        "locale": "C.UTF-8",
        "serial_port": "/dev/ttyUSB0",
        "root_size": "4GiB",
        "docker_data_size": "rest",
        "cipher": "auto",
        "unlock": "serial",
        "overlays": ["lab"],
        "passphrase_command": ["pass", "show", "odroid"],
        "rootfs_sha256": "0" * 64,
        "signing_key_file": "archlinuxarm.asc",
        "mirror": "http://deb.example/debian",
        "groups": ["lab"],
        "packages": ["tcpdump"],
        "first_boot": "rootfs/first-boot.sh",
        "network": {"address": ["192.0.2.10/24"], "gateway": "192.0.2.1"},
        "docker": {"trusted_user": "mia"},
        "logs": {"server": "192.0.2.20"},
    }


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
        """Return the configuration as lines of at most 80 columns, grouped by origin.

        A single value that is longer than that is not broken.
        """
        values = self.target.model_dump(mode="json")
        width = max(len(name) for key in values for name, _ in _flat(key, values[key]))
        lines: list[str] = []
        # The defaults come last: they are the least interesting.
        origins = sorted(dict.fromkeys(self.origins[key] for key in values), key=_DEFAULT.__eq__)
        for origin in origins:
            lines += ["", origin] if lines else [origin]
            for key, value in values.items():
                if self.origins[key] == origin:
                    for name, item in _flat(key, value):
                        lines += _wrapped(f"  {name:{width}}  ", item)
        return lines


_DEFAULT = "default"
"""The origin of a value that no file and no option gives."""


def load_config(root: Path, name: str, overrides: Mapping[str, Any] | None = None) -> Config:
    """Return the target ``name``: defaults, then built-in, then files, then command line.

    Args:
        root: the checkout, which may hold ``bootwright.toml`` and ``bootwright.local.toml``.
        name: the target.
        overrides: values of the command line by key; ``None`` means not given.

    Raises:
        InputError: no such target, or a wrong key or value (names file and key).
    """
    files = read_config_files(root)
    known = target_names(files)
    if name not in known:
        near = did_you_mean(name, known)
        raise InputError(f"no target {name!r}{near or '; there are: ' + ', '.join(known)}")
    layers = _layers(files, name)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, layer in layers:
        # Each by itself, so that an error names the file that it is in.
        check_table(Target, {**_COMPLETE, "hostname": name, **layer, "name": name}, origin)
        for key, value in layer.items():
            is_table = isinstance(value, dict) and isinstance(values.get(key), dict)
            origins[key] = f"{origins[key]}; {origin}" if is_table else origin
        values = merge_tables(values, layer)
    values.setdefault("hostname", name)
    where = layers[-1][0]
    check_table(Target, {**_COMPLETE, **values, "name": name}, where)
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    values |= given
    origins |= dict.fromkeys(given, "command line")
    for key in ("board", "rootfs"):
        if key not in values:
            raise InputError(f"{where}: {key}: missing; write it like: {_example_of(key)}")
    target = check_table(Target, {**values, "name": name}, "command line" if given else where)
    for key in Target.model_fields:
        origins.setdefault(key, _DEFAULT)
    return Config(target, origins)


_COMPLETE = {"board": "-", "rootfs": "-"}
"""Values of the keys that a target has to have, to check a file that has only some of its keys."""


def target_names(files: Sequence[ConfigFile]) -> list[str]:
    """Return the names of all targets: those of the files, and the built-in ones; sorted."""
    return sorted({*BUILT_IN, *(name for file in files for name in file.targets)})


def _layers(files: Sequence[ConfigFile], name: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the tables that a target consists of, each with its origin; later ones replace."""
    layers: list[tuple[str, dict[str, Any]]] = []
    for file in files:
        if file.logs:
            check_table(Logs, file.logs, f"{file.name}: logs")
            layers.append((f"{file.name}: logs", {"logs": file.logs}))
    if name in BUILT_IN:
        layers.append(("built-in target", BUILT_IN[name]))
    for file in files:
        if name in file.targets:
            layers.append((f"{file.name}: targets.{name}", file.targets[name]))
    return layers


def load_collector(root: Path, listen: str | None = None) -> tuple[Collector, Logs]:
    """Return the settings of this machine's collector, and those of the logs of all boards.

    Args:
        root: the checkout, which may hold ``bootwright.toml`` and ``bootwright.local.toml``.
        listen: the address from the command line; ``None`` without one.

    Raises:
        InputError: a wrong key or value (names file and key).
    """
    table: dict[str, Any] = {}
    logs: dict[str, Any] = {}
    where = f"{CONFIG_NAME}: logs.collector"
    for file in read_config_files(root):
        check_table(Logs, file.logs, f"{file.name}: logs")
        logs = merge_tables(logs, file.logs)
        if file.collector != {}:
            where = f"{file.name}: logs.collector"
            check_table(Collector, file.collector, where)
            assert isinstance(file.collector, dict)
            table = merge_tables(table, file.collector)
    collector = check_table(Collector, table, where)
    if (collector.forward_user is None) != (collector.forward_password_file is None):
        raise InputError(
            f"{where}: forward_user and forward_password_file are given together, or neither"
        )
    if listen is not None:
        collector = check_table(Collector, {**collector.model_dump(), "listen": listen}, "--listen")
    if (collector.forward is None) != (collector.forward_url is None):
        raise InputError(f"{where}: forward and forward_url are given together, or neither")
    return collector, check_table(Logs, logs, f"{CONFIG_NAME}: logs")


def group_members(root: Path, group: str) -> list[str]:
    """Return the targets whose ``groups`` name ``group``, in the order of the files.

    Raises:
        InputError: no target is in the group, or a file cannot be read.
    """
    groups: dict[str, object] = {}
    for file in read_config_files(root):
        for name, values in file.targets.items():
            groups[name] = values.get("groups", groups.get(name, ()))
    members = [
        name for name, found in groups.items() if isinstance(found, list | tuple) and group in found
    ]
    if not members:
        raise InputError(
            f'no target of {CONFIG_NAME} is in the group {group!r}; write groups = ["{group}"]'
        )
    return members


def _example_of(key: str) -> str:
    return f"{key} = {toml_value(Target.EXAMPLES[key])}"


def _flat(key: str, value: object) -> Iterator[tuple[str, object]]:
    """Yield the values of a table and of those in it, each with its key: ``logs.port``."""
    if isinstance(value, dict) and value:
        for inner, item in value.items():
            yield from _flat(f"{key}.{inner}", item)
    else:
        yield key, value


_COLUMNS = 80


def _wrapped(begin: str, value: object) -> list[str]:
    """Return a key and its value as lines; what is too long for one is continued below it."""
    line = begin + ("(none)" if value is None else toml_value(value))
    if len(line) <= _COLUMNS or not isinstance(value, list) or len(value) < 2:
        return [line]
    items = [f"{toml_value(item)}," for item in value]
    return [f"{begin}[", *(f"{' ' * len(begin)}  {item}" for item in items), f"{' ' * len(begin)}]"]
