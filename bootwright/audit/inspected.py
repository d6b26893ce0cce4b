"""Containers, images and networks as Docker's ``inspect`` shows them, in the templates of
:mod:`bootwright.audit.facts_script`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ContainerMount:
    """A mount of a container; ``kind``: ``bind``, ``volume``, ``tmpfs`` …"""

    kind: str
    source: str
    destination: str
    writable: bool
    propagation: str


@dataclass(frozen=True)
class Port:
    """A published port: ``container`` like ``80/tcp``; ``address`` is empty for all addresses."""

    container: str
    address: str
    port: int


@dataclass(frozen=True)
class Container:
    """A container as the engine reports it; names as in ``docker inspect``.

    ``memory`` in bytes, ``nano_cpus`` in billionths of a CPU, ``cpu_quota`` in microseconds;
    0 means no limit. ``pids_limit``: ``None``, 0 and -1 mean no limit. ``health``: ``None`` without
    a health check. ``no_new_privileges``: the option at its creation; ``None`` if not known.
    ``unconfined_paths``: /proc and /sys are not masked. ``device_requests``: how many devices are
    requested by names of drivers (CDI). ``cpu_period`` is in microseconds, 0 means the default.
    ``restart``: the policy and the most restarts.
    """

    id: str
    name: str
    image: str
    image_id: str
    state: str
    user: str
    apparmor: str
    mounts: tuple[ContainerMount, ...]
    ports: tuple[Port, ...]
    networks: tuple[str, ...]
    health: str | None
    log_driver: str
    privileged: bool
    cap_add: tuple[str, ...]
    network_mode: str
    pid_mode: str
    ipc_mode: str
    uts_mode: str
    userns_mode: str
    cgroup_parent: str
    memory: int
    cpu_shares: int
    nano_cpus: int
    cpu_quota: int
    pids_limit: int | None
    readonly: bool
    restart: tuple[str, int]
    devices: tuple[str, ...]
    ulimits: tuple[str, ...]
    security: tuple[str, ...]
    no_new_privileges: bool | None
    unconfined_paths: bool
    device_rules: tuple[str, ...]
    device_requests: int
    cpu_period: int

    @property
    def runs(self) -> bool:
        """Whether it has processes."""
        return self.state in ("running", "paused", "restarting")


@dataclass(frozen=True)
class Image:
    """An image.

    ``adds``: how many ADD instructions its history has; ``updates``: how many updates of package
    lists without an installation; both ``None`` if the history is not known.
    """

    id: str
    tags: tuple[str, ...]
    user: str
    healthcheck: bool
    adds: int | None
    updates: int | None

    @property
    def name(self) -> str:
        """Its first tag, or the beginning of its id."""
        return self.tags[0] if self.tags else self.id.removeprefix("sha256:")[:12]


@dataclass(frozen=True)
class EngineNetwork:
    """A network of the engine; ``containers`` are ids."""

    name: str
    driver: str
    options: Mapping[str, str]
    containers: tuple[str, ...]


_TRUTH = {"true": True, "false": False}


@dataclass(frozen=True)
class HostSideFacts:
    """Facts about containers from the board's files, which ``docker inspect`` does not show.

    Attributes:
        volumes: for volumes that are bind mounts, the folder on the board, by volume name.
        links: the paths of sources of mounts without symbolic links, by source.
        privileges: ``true`` if a container was created with no-new-privileges, else ``false``;
            by container id.
    """

    volumes: Mapping[str, str]
    links: Mapping[str, str]
    privileges: Mapping[str, str]


def parse_container(row: Mapping[str, Any], host_side: HostSideFacts) -> Container:
    """Return a container.

    Args:
        row: the JSON object that the Go template made.
        host_side: more facts about containers.

    Raises:
        One of :data:`bootwright.core.parsing.PARSE_ERRORS`: the row cannot be parsed.
    """
    restart = row["RestartPolicy"] or {}
    return Container(
        id=_text(row["id"]),
        name=_text(row["name"]).lstrip("/"),
        image=_text(row["image"]),
        image_id=_text(row["image_id"]),
        state=_text(row["state"]),
        user=_text(row["user"]),
        apparmor=_text(row["apparmor"]),
        mounts=tuple(_mount(mount, host_side) for mount in row["mounts"] or ()),
        ports=tuple(_ports(row["ports"] or {})),
        networks=_texts(row["networks"]),
        health=None if row["health"] is None else _text(row["health"]),
        log_driver=_text(row["log_driver"]),
        privileged=_flag(row["Privileged"]),
        cap_add=_texts(row["CapAdd"]),
        network_mode=_text(row["NetworkMode"]),
        pid_mode=_text(row["PidMode"]),
        ipc_mode=_text(row["IpcMode"]),
        uts_mode=_text(row["UTSMode"]),
        userns_mode=_text(row["UsernsMode"]),
        cgroup_parent=_text(row["CgroupParent"]),
        memory=_number(row["Memory"]),
        cpu_shares=_number(row["CPUShares"]),
        nano_cpus=_number(row["NanoCPUs"]),
        cpu_quota=_number(row["CPUQuota"]),
        pids_limit=None if row["PidsLimit"] is None else _number(row["PidsLimit"]),
        readonly=_flag(row["ReadonlyRootfs"]),
        restart=(_text(restart.get("Name", "")), _number(restart.get("MaximumRetryCount", 0))),
        devices=tuple(_text(device["PathOnHost"]) for device in row["Devices"] or ()),
        ulimits=tuple(_text(limit["Name"]) for limit in row["Ulimits"] or ()),
        security=_texts(row["SecurityOpt"]),
        no_new_privileges=_TRUTH.get(host_side.privileges.get(row["id"], "")),
        # docker run --security-opt systempaths=unconfined makes both lists empty. Otherwise they
        # have entries; a privileged container has no lists.
        unconfined_paths=[] in (row["MaskedPaths"], row["ReadonlyPaths"]),
        device_rules=_texts(row["DeviceCgroupRules"]),
        device_requests=len(row["DeviceRequests"] or ()),
        cpu_period=_number(row["CPUPeriod"]),
    )


def _mount(row: Mapping[str, Any], host_side: HostSideFacts) -> ContainerMount:
    folder = host_side.volumes.get(_text(row.get("Name", "")))
    source = _text(row.get("Source", ""))
    return ContainerMount(
        kind=_text(row.get("Type", "")),
        source=folder or host_side.links.get(source) or source,
        destination=_text(row.get("Destination", "")),
        writable=_flag(row["RW"]),
        propagation=_text(row.get("Propagation", "")),
    )


def _ports(ports: Mapping[str, Any]) -> Iterable[Port]:
    for container, places in ports.items():
        for place in places or ():
            yield Port(container, _text(place["HostIp"]), int(place["HostPort"]))


def parse_image(row: Mapping[str, Any], history: Mapping[str, tuple[int, int]]) -> Image:
    """Return an image; ``history`` has :attr:`Image.adds` and :attr:`Image.updates` by digest.

    Raises:
        One of :data:`bootwright.core.parsing.PARSE_ERRORS`: the row cannot be parsed.
    """
    identity = _text(row["id"])
    adds, updates = history.get(identity.removeprefix("sha256:"), (None, None))
    return Image(
        id=identity,
        tags=_texts(row["tags"]),
        user=_text(row.get("user", "")),
        healthcheck=row.get("healthcheck") not in (None, "NONE"),
        adds=adds,
        updates=updates,
    )


def parse_network(row: Mapping[str, Any]) -> EngineNetwork:
    """Return a network.

    Raises:
        One of :data:`bootwright.core.parsing.PARSE_ERRORS`: the row cannot be parsed.
    """
    options = row["options"] or {}
    return EngineNetwork(
        name=_text(row["name"]),
        driver=_text(row["driver"]),
        options={str(key): str(value) for key, value in options.items()},
        containers=_texts(row["containers"]),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{type(value).__name__} instead of a text")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError(f"{type(value).__name__} instead of a list")
    return tuple(map(_text, value))


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{type(value).__name__} instead of a number")
    if not -(2**63) <= value < 2**63:
        raise ValueError("a number that is too large")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{type(value).__name__} instead of true or false")
    return value
