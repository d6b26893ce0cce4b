"""What keeps a Docker daemon from starting, found before anything is changed.

``dockerd --validate`` (from 23.0 on) does not find half of it. Sources: moby/moby,
``daemon/config/config.go`` and ``config_linux.go``, ``cmd/dockerd/daemon.go``,
``daemon/daemon_unix.go``, ``daemon/logger``, ``pkg/plugins/discovery.go``.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from bootwright.hosts.profile import Profile, version_key
from bootwright.provision.daemon_json import SOCKET, engine_key
from bootwright.provision.facts import HostFacts
from bootwright.provision.facts_script import DATA_ROOT, PID_FILE

_SHORT_FLAGS = {
    "-H": "hosts",
    "-l": "log-level",
    "-s": "storage-driver",
    "-G": "group",
    "-b": "bridge",
    "-D": "debug",
    "-p": "pidfile",
}
"""Flags of dockerd with one letter, and the keys that they stand for."""

_PLURAL = {
    "host": "hosts",
    "label": "labels",
    "log-opt": "log-opts",
    "storage-opt": "storage-opts",
    "exec-opt": "exec-opts",
    "registry-mirror": "registry-mirrors",
    "insecure-registry": "insecure-registries",
    "authorization-plugin": "authorization-plugins",
    "default-ulimit": "default-ulimits",
    "add-runtime": "runtimes",
    "cluster-store-opt": "cluster-store-opts",
    "node-generic-resource": "node-generic-resources",
    "default-address-pool": "default-address-pools",
    "dns-opt": "dns-opts",
}
"""Flags that may be given more than once, and the keys that they stand for."""

LOG_LEVELS = ("debug", "info", "warn", "error", "fatal", "panic", "trace")


@dataclass(frozen=True)
class DaemonConfig:
    """A planned configuration of the daemon.

    Attributes:
        values: keys and values of daemon.json.
        version: the engine's version; empty when it is not known yet.
        flags: the daemon's command line.
        seccomp: the text of the target's own seccomp profile.
        files: paths that the same plan writes.
    """

    values: Mapping[str, Any]
    version: str
    flags: Sequence[str]
    seccomp: str | None = None
    files: frozenset[str] = frozenset()


def cannot_start(profile: Profile, daemon: DaemonConfig, facts: HostFacts) -> list[str]:
    """Return why the daemon would not start, or could not run a container; empty if it can."""
    return [
        *_keys(profile, daemon),
        *_types(profile, daemon),
        *_flags(daemon),
        *_network(daemon.values),
        *_remote(daemon, facts),
        *_userns(daemon, facts),
        *_storage(profile, daemon),
        *_logging(profile, daemon),
        *_plugins(daemon, facts),
        *_seccomp(daemon),
        *_swarm(daemon, facts),
    ]


def _keys(profile: Profile, daemon: DaemonConfig) -> Iterator[str]:
    version = version_key(daemon.version)
    for name in daemon.values:
        key = engine_key(profile, name)
        if key is None:
            yield f"{name}: no engine knows this key of daemon.json; it would not start"
        elif key.until and (not version or version >= version_key(key.until)):
            which = f"engine {daemon.version}" if version else f"an engine from {key.until} on"
            text = f"{name}: {which} does not know this key and would not start. {key.removed}"
            yield text.strip()
        elif key.since and version and version < version_key(key.since):
            yield (
                f"{name}: engine {daemon.version} does not know this key, which came with"
                f" {key.since}, and would not start"
            )


def _types(profile: Profile, daemon: DaemonConfig) -> Iterator[str]:
    for name, value in daemon.values.items():
        setting = profile.setting(name)
        example = setting.value if setting is not None else None
        if example is None and setting is not None and setting.only:
            example = setting.only[0]
        if isinstance(example, bool) and not isinstance(value, bool):
            yield f"{name}: {json.dumps(value)} is neither true nor false"
        elif isinstance(example, str) and not isinstance(value, str):
            yield f"{name}: {json.dumps(value)} is no text; write it in quotes"
    level = daemon.values.get("log-level")
    if isinstance(level, str) and level not in LOG_LEVELS:
        yield f"log-level: {level!r} is none of: {', '.join(LOG_LEVELS)}"
    limits = daemon.values.get("default-ulimits", {})
    for name, limit in limits.items() if isinstance(limits, Mapping) else ():
        yield from _ulimit(name, limit if isinstance(limit, Mapping) else {})


def _ulimit(name: str, limit: Mapping[str, Any]) -> Iterator[str]:
    soft, hard = limit.get("Soft"), limit.get("Hard")
    if limit.get("Name") != name or not isinstance(soft, int) or not isinstance(hard, int):
        yield (
            f'default-ulimits.{name}: write it like {{ Name = "{name}", Soft = 1024, Hard = 4096 }}'
        )
    elif -1 < hard < soft:
        yield f"default-ulimits.{name}: soft limit {soft} is above the hard limit {hard}"


def flag_keys(flags: Sequence[str]) -> list[str]:
    """Return the keys of daemon.json that a command line of dockerd sets."""
    found = []
    for flag in flags:
        name = flag.partition("=")[0]
        if name.startswith("--"):
            name = name[2:]
            found.append(_PLURAL.get(name, name))
        elif name[:2] in _SHORT_FLAGS:
            found.append(_SHORT_FLAGS[name[:2]])
    return found


def _flags(daemon: DaemonConfig) -> Iterator[str]:
    for name in ("config-file", "pidfile"):
        if name in flag_keys(daemon.flags):
            yield f"--{name}: the unit gives the daemon this flag; remove it there"
    if daemon.values.get("pidfile", PID_FILE) not in (PID_FILE, f"/var{PID_FILE}"):
        yield f"pidfile: the daemon is found by {PID_FILE}; remove the key"
    for name in flag_keys(daemon.flags):
        if name in daemon.values:
            yield (
                f"{name}: the daemon is started with a flag for it as well (see systemctl cat"
                " docker, and DOCKER_OPTS in /etc/default/docker); remove the flag there"
            )


def _network(values: Mapping[str, Any]) -> Iterator[str]:
    if values.get("iptables") is False and values.get("icc") is False:
        yield "icc = false needs iptables: with iptables = false the daemon does not start"


def _remote(daemon: DaemonConfig, facts: HostFacts) -> Iterator[str]:
    hosts = daemon.values.get("hosts", [])
    if not isinstance(hosts, list) or not all(isinstance(host, str) for host in hosts):
        yield "hosts: write a list of addresses"
        return
    flags = [flag for flag in daemon.flags if flag.startswith("tcp:")]
    remote = [host for host in (*hosts, *flags) if host.startswith("tcp:")]
    if remote and daemon.values.get("tlsverify") is not True:
        yield (
            f"hosts: {remote[0]} without tlsverify would give root on the board to anybody in its"
            " network; use docker.api of the target"
        )
    for name in ("tlscacert", "tlscert", "tlskey", "seccomp-profile"):
        path = daemon.values.get(name)
        known = isinstance(path, str) and (path in daemon.files or facts.exists(path))
        if path not in (None, "builtin", "unconfined", "") and not known:
            yield f"{name}: there is no {path} on the board, and this run would not write it"
    if hosts and SOCKET not in hosts and "unix:///var/run/docker.sock" not in hosts:
        yield f"hosts: without {SOCKET} the docker command on the board would find no daemon"


def _userns(daemon: DaemonConfig, facts: HostFacts) -> Iterator[str]:
    remap = daemon.values.get("userns-remap")
    if not remap:
        return
    features = daemon.values.get("features")
    if isinstance(features, Mapping) and features.get("containerd-snapshotter") is True:
        yield "userns-remap: the daemon does not start with features.containerd-snapshotter = true"
    if facts.max_user_namespaces is None:
        yield (
            "userns-remap: this kernel has no user namespaces (CONFIG_USER_NS); use another"
            ' kernel, or set daemon.userns-remap = "" in the target and lose check 2.9'
        )
    elif facts.max_user_namespaces == 0:
        yield (
            "userns-remap: user namespaces are switched off on the board"
            " (user.max_user_namespaces = 0 in /proc/sys); raise it"
        )
    for parent in PurePosixPath(DATA_ROOT).parents:
        mode = facts.modes.get(str(parent))
        if mode is not None and not mode.mode & 0o001:
            yield (
                f"userns-remap: others may not enter {parent} (mode {mode.mode:o}), so root of a"
                f" container could not reach its files; chmod o+x {parent}"
            )


def _storage(profile: Profile, daemon: DaemonConfig) -> Iterator[str]:
    root = daemon.values.get("data-root", DATA_ROOT)
    if root != DATA_ROOT:
        yield (
            f"data-root: {root} is not on the encrypted volume; only {DATA_ROOT} is mounted from it"
        )
    name = daemon.values.get("storage-driver")
    if name is None:
        return
    driver = next((item for item in profile.engine.storage_driver if item.name == name), None)
    version = version_key(daemon.version)
    if driver is None:
        yield f"storage-driver: no engine has {name!r}"
    elif driver.until and (not version or version >= version_key(driver.until)):
        yield f"storage-driver: {name} is gone since engine {driver.until}; use overlay2"


def _logging(profile: Profile, daemon: DaemonConfig) -> Iterator[str]:
    name = daemon.values.get("log-driver", "json-file")
    options = daemon.values.get("log-opts", {})
    driver = next((item for item in profile.engine.log_driver if item.name == name), None)
    if driver is None:
        if ":" not in str(name) and "/" not in str(name):  # Those are plugins.
            known = ", ".join(item.name for item in profile.engine.log_driver)
            yield f"log-driver: {name!r} is none of: {known}"
        return
    if not isinstance(options, Mapping):
        yield "log-opts: write a table of names and texts"
        return
    for option, value in options.items():
        if name == "none":  # This driver accepts any option.
            continue
        if option not in (*driver.options, *profile.engine.common_log_options):
            yield f"log-opts.{option}: the log driver {name} does not know it; no container starts"
        if not isinstance(value, str):
            yield f"log-opts.{option}: {json.dumps(value)} is no text; write it in quotes"


def _plugins(daemon: DaemonConfig, facts: HostFacts) -> Iterator[str]:
    for plugin in daemon.values.get("authorization-plugins", []):
        name = str(plugin)
        # A plugin is found by its socket, a .spec or a .json file; the engine lists managed ones.
        stems = {PurePosixPath(path).stem for path in facts.plugins}
        running = facts.engine is not None and name in facts.engine.authorization
        running = running or bool(facts.proven)
        if name.partition(":")[0] not in stems and not running:
            yield (
                f"authorization-plugins: {name} does not run on the board, and the daemon does not"
                " start without it; start the plugin first"
            )


def _seccomp(daemon: DaemonConfig) -> Iterator[str]:
    if daemon.seccomp is None:
        return
    try:
        profile = json.loads(daemon.seccomp)
        sound = isinstance(profile, dict) and isinstance(profile.get("defaultAction"), str)
    except ValueError as error:
        yield f"seccomp-profile: the target's file is not JSON: {error}"
        return
    if not sound or not re.fullmatch(r"SCMP_ACT_[A-Z_]+", profile["defaultAction"]):
        yield "seccomp-profile: the target's file has no defaultAction such as SCMP_ACT_ERRNO"


def _swarm(daemon: DaemonConfig, facts: HostFacts) -> Iterator[str]:
    in_swarm = facts.engine is not None and facts.engine.swarm not in ("", "inactive")
    if daemon.values.get("live-restore") is True and in_swarm:
        yield (
            "live-restore: the board is in a swarm, with which the daemon does not start; leave it"
            " (docker swarm leave), or set daemon.live-restore = false in the target"
        )
