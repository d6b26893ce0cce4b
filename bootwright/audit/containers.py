"""Section 5: the containers that run, each judged by how it was started."""

from collections.abc import Callable, Mapping
from ipaddress import ip_address

from bootwright.audit.confinement import (
    apparmor,
    capabilities,
    new_privileges,
    seccomp,
    selinux,
)
from bootwright.audit.engine import security_option, swarm_state, told, why_unknown
from bootwright.audit.model import Item, Judge, Judgement, Subject, judged
from bootwright.audit.mounts import engine_sockets, sensitive_mounts, shared_mounts
from bootwright.facts.inspected import Container, Port

Look = Callable[[Subject, Container], Judgement]
"""Judges one container."""

Mode = Callable[[Container], str]
"""Which namespace a container is in: ``host``, ``container:ID``, or its own."""

NO_CONTAINER = "no container runs"

DEFAULT_SHARES = 1024
"""What a container has without ``--cpu-shares``: as much as any other."""

MOST_TRIES = 5
"""How often a container may be restarted, check 5.15."""

FIRST_FREE_PORT = 1024
"""Ports below are root's: ip(7), ``ip_unprivileged_port_start``."""


def each_running(look: Look, good: str) -> Judge:
    """Return the judge that looks at every container that runs.

    Args:
        look: judges one.
        good: the evidence if all of them are right.
    """

    def judge(subject: Subject) -> Judgement:
        running = subject.facts.running
        if running is None:
            return Judgement("skipped", why_unknown(subject.facts, "containers"))
        looked = (
            (container.name, look(subject, container))
            for container in sorted(running, key=lambda one: one.name)
        )
        items = tuple(Item(name, one.result, one.evidence) for name, one in looked)
        return judged(items, good, NO_CONTAINER)

    return judge


def _by_hand(evidence: str) -> Judge:
    def judge(subject: Subject) -> Judgement:
        running = subject.facts.running
        if running is None:
            return Judgement("skipped", why_unknown(subject.facts, "containers"))
        return Judgement("manual", evidence) if running else Judgement("info", NO_CONTAINER)

    return judge


def _swarm_off(subject: Subject) -> Judgement:
    if subject.facts.info is None:
        return Judgement("skipped", why_unknown(subject.facts, "info"))
    state = swarm_state(subject.facts)
    if not state:
        return Judgement("skipped", "docker info does not tell of a swarm")
    return Judgement("pass" if state == "inactive" else "warn", f"swarm mode is {state}")


def privileged(_: Subject, container: Container) -> Judgement:
    """Judge 5.5."""
    if container.privileged:
        return Judgement("warn", "privileged")
    return Judgement("pass", "not privileged")


def owner_of(subject: Subject, container: Container, mode: Mode) -> Container:
    """Return the container whose namespace a container is in: by ``container:ID``, or itself."""
    seen = {container.id}
    while mode(container).startswith("container:"):
        wanted = mode(container).removeprefix("container:")
        others = (
            other
            for other in subject.facts.containers or ()
            if wanted and (other.id.startswith(wanted) or other.name == wanted)
        )
        other = next(others, None)
        if other is None or other.id in seen:
            break
        seen.add(other.id)
        container = other
    return container


def _on_host(subject: Subject, container: Container, mode: Mode) -> bool:
    return mode(owner_of(subject, container, mode)) == "host"


def _network(container: Container) -> str:
    return container.network_mode


def _own_namespace(kind: str, mode: Mode) -> Look:
    def look(subject: Subject, container: Container) -> Judgement:
        owner = owner_of(subject, container, mode)
        if mode(owner) != "host":
            return Judgement("pass", f"{kind}: {mode(container) or 'its own'}")
        by = "" if owner is container else f", by {owner.name}"
        return Judgement("warn", f"{kind}: the host's{by}")

    return look


def _user_namespace(subject: Subject, container: Container) -> Judgement:
    if container.userns_mode == "host":
        return Judgement("warn", "users: the host's (--userns host)")
    if security_option(subject.facts, "userns") is None:
        return Judgement("pass", "not by its own option; but the daemon remaps no users (2.9)")
    return Judgement("pass", "users: remapped")


def _published(bad: Callable[[Port], bool], what: str) -> Look:
    """Return what judges published ports.

    On the host's network no port needs to be published, so that nothing holds one back: that
    is never better than any published port.
    """

    def look(subject: Subject, container: Container) -> Judgement:
        wrong = {_place(port) for port in container.ports if bad(port)}
        if wrong:
            return Judgement("warn", f"{what} {', '.join(sorted(wrong))}")
        if _on_host(subject, container, _network):
            return Judgement("warn", "on the host's network, every port it opens is the board's")
        ports = ", ".join(sorted(set(map(_place, container.ports))))
        return Judgement("pass", ports or "no port is published")

    return look


def _place(port: Port) -> str:
    address = f"[{port.address}]" if ":" in port.address else port.address or "*"
    return f"{address}:{port.port}"


def _on_every_address(port: Port) -> bool:
    try:
        return not port.address or ip_address(port.address).is_unspecified
    except ValueError:
        return False


def _sshd(subject: Subject, container: Container) -> Judgement:
    if container.id in subject.facts.sshd_containers:
        return Judgement("warn", "an sshd runs in it")
    if not subject.facts.root:
        return Judgement("skipped", "its processes can only be told with root's rights")
    return Judgement("pass", "no sshd runs in it")


def _memory(subject: Subject, container: Container) -> Judgement:
    if container.memory <= 0:
        return Judgement("warn", "memory is not limited")
    if told(subject.facts, "MemoryLimit") is False:
        return Judgement("warn", "the board's kernel does not limit memory")
    return Judgement("pass", f"at most {container.memory // 2**20} MiB")


def _cpu(subject: Subject, container: Container) -> Judgement:
    limited = container.nano_cpus > 0 or container.cpu_quota > 0
    weighed = container.cpu_shares > 0 and container.cpu_shares != DEFAULT_SHARES
    if limited and told(subject.facts, "CpuCfsQuota") is not False:
        if container.nano_cpus > 0:
            return Judgement("pass", f"at most {container.nano_cpus / 1e9:g} CPUs")
        return Judgement("pass", f"a CPU quota of {container.cpu_quota} µs")
    if weighed and told(subject.facts, "CPUShares") is not False:
        return Judgement("pass", f"{container.cpu_shares} CPU shares")
    if limited or weighed:
        return Judgement("warn", "the board's kernel does not limit the CPU")
    shares = f"{DEFAULT_SHARES} CPU shares, as every container has"
    return Judgement("warn", shares if container.cpu_shares > 0 else "the CPU is not limited")


def _read_only(_: Subject, container: Container) -> Judgement:
    if container.readonly:
        return Judgement("pass", "its root file system is read-only")
    return Judgement("warn", "its root file system is writable")


def _restart(_: Subject, container: Container) -> Judgement:
    """Judge 5.15: what may fail and be started again without end."""
    policy, tries = container.restart
    if policy in ("", "no"):
        return Judgement("pass", "it is not restarted")
    if policy == "on-failure" and 1 <= tries <= MOST_TRIES:
        return Judgement("pass", f"on-failure, {tries} times")
    return Judgement("warn", f"{policy}, {tries} times" if tries > 0 else f"{policy}, without end")


def _devices(_: Subject, container: Container) -> Judgement:
    if container.privileged:
        return Judgement("info", "privileged: it has all devices")
    if container.devices:
        return Judgement("info", ", ".join(container.devices))
    return Judgement("pass", "no device")


def _ulimits(_: Subject, container: Container) -> Judgement:
    if container.ulimits:
        return Judgement("pass", f"its own: {', '.join(container.ulimits)}")
    return Judgement("info", "the daemon's default (2.8)")


def _cgroup(_: Subject, container: Container) -> Judgement:
    if container.cgroup_parent:
        return Judgement("warn", f"cgroup parent {container.cgroup_parent}")
    return Judgement("pass", "the engine's cgroup")


def _health(_: Subject, container: Container) -> Judgement:
    if container.health in (None, "", "none"):
        return Judgement("warn", "no health check")
    return Judgement("pass", f"health: {container.health}")


def _image_age(_: Subject, container: Container) -> Judgement:
    if "@sha256:" in container.image:
        return Judgement("info", f"{container.image} stays until its digest is changed")
    return Judgement("info", f"{container.image} is what was pulled last")


def _pids(subject: Subject, container: Container) -> Judgement:
    if container.pids_limit is None or container.pids_limit <= 0:
        return Judgement("warn", "processes are not limited")
    if told(subject.facts, "PidsLimit") is False:
        return Judgement("warn", "the board's kernel does not limit processes")
    return Judgement("pass", f"at most {container.pids_limit} processes")


def _default_bridge(subject: Subject, container: Container) -> Judgement:
    owner = owner_of(subject, container, _network)
    if _network(owner) == "host":
        return Judgement("info", "on the host's network (5.10)")
    # Nobody else can give a network this name.
    if "bridge" in owner.networks:
        return Judgement("info", "on the default bridge")
    return Judgement("pass", ", ".join(owner.networks) or "no network")


JUDGES: Mapping[str, Judge] = {
    "5.1": _swarm_off,
    "5.2": each_running(apparmor, "AppArmor confines every container"),
    "5.3": each_running(selinux, "SELinux labels every container"),
    "5.4": each_running(capabilities, "no container adds capabilities"),
    "5.5": each_running(privileged, "no container is privileged"),
    "5.6": each_running(sensitive_mounts, "no container has a sensitive folder to write to"),
    "5.7": each_running(_sshd, "no sshd runs in a container"),
    "5.8": each_running(
        _published(lambda one: one.port < FIRST_FREE_PORT, "privileged ports"),
        f"no port below {FIRST_FREE_PORT} is published",
    ),
    "5.9": each_running(_published(lambda _: True, "published:"), "no port is published"),
    "5.10": each_running(
        _own_namespace("network", _network), "no container is on the host's network"
    ),
    "5.11": each_running(_memory, "the memory of every container is limited"),
    "5.12": each_running(_cpu, "the CPU time of every container is set"),
    "5.13": each_running(_read_only, "the root file system of every container is read-only"),
    "5.14": each_running(
        _published(_on_every_address, "on every address:"),
        "no port is published on every address",
    ),
    "5.15": each_running(_restart, f"no container is restarted more than {MOST_TRIES} times"),
    "5.16": each_running(
        _own_namespace("processes", lambda one: one.pid_mode),
        "no container sees the host's processes",
    ),
    "5.17": each_running(
        _own_namespace("IPC", lambda one: one.ipc_mode), "no container shares the host's IPC"
    ),
    "5.18": each_running(_devices, "no container has a device of the board"),
    "5.19": each_running(_ulimits, "every container has ulimits of its own"),
    "5.20": each_running(shared_mounts, "no mount is shared"),
    "5.21": each_running(
        _own_namespace("host name", lambda one: one.uts_mode), "no container has the host's name"
    ),
    "5.22": each_running(seccomp, "seccomp filters the system calls of every container"),
    "5.23": _by_hand("the engine keeps no record of docker exec --privileged"),
    "5.24": _by_hand("the engine keeps no record of docker exec --user root"),
    "5.25": each_running(_cgroup, "every container is under the engine's cgroup"),
    "5.26": each_running(new_privileges, "no container can gain privileges"),
    "5.27": each_running(_health, "every container's health is checked"),
    "5.28": each_running(_image_age, ""),
    "5.29": each_running(_pids, "the processes of every container are limited"),
    "5.30": each_running(_default_bridge, "no container is on the default bridge"),
    "5.31": each_running(
        _user_namespace, "no container opts out of user namespaces (2.9 tells whether it has one)"
    ),
    "5.32": each_running(engine_sockets, "no container has a socket of the engine"),
}
"""By the check's id."""
