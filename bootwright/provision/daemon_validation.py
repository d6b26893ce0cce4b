"""What keeps a Docker daemon from starting, found before anything is changed.

``dockerd --validate`` (from 23.0 on) does not find half of it. Sources: moby/moby,
``daemon/config/config.go`` and ``config_linux.go``, ``cmd/dockerd/daemon.go``,
``daemon/daemon_unix.go``, ``daemon/logger``, ``pkg/plugins/discovery.go``.
"""

import json
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from bootwright.hosts.dockerd_options import is_default_socket, is_tcp, parse_flags, typed
from bootwright.hosts.profile import Profile, ValueType, version_key
from bootwright.provision.daemon_json import SOCKET, engine_key
from bootwright.provision.facts import HostFacts
from bootwright.provision.facts_script import DATA_ROOT, PID_FILE
from bootwright.provision.subids import REMAP_USER, SUBGID, SUBUID

_TYPES: dict[ValueType, tuple[Callable[[object], bool], str]] = {
    "bool": (lambda value: isinstance(value, bool), "is neither true nor false"),
    "number": (
        lambda value: isinstance(value, int) and not isinstance(value, bool),
        "is no whole number",
    ),
    "text": (lambda value: isinstance(value, str), "is no text; write it in quotes"),
    "texts": (
        lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
        "is no list of texts",
    ),
    "table": (lambda value: isinstance(value, Mapping), "is no table"),
}
"""Whether a value is of the type, and what is wrong with one that is not."""

_IN_BOTH = ("runtimes",)
"""Keys that daemon.json and a flag may both name: ``skipDuplicates`` in daemon/config/config.go."""

_ROOT_KEYS = ("data-root", "graph")
"""The key for the folder of Docker's data, and its name before 17.05."""

_NOT_ENCRYPTED = f"is not on the encrypted volume; only {DATA_ROOT} is mounted from it"

_RESTART = "it is removed there already, and the daemon still runs with it: restart Docker"
"""What to do about a flag that only the daemon that runs has."""

LOG_LEVELS = ("debug", "info", "warn", "error", "fatal", "panic", "trace")


@dataclass(frozen=True)
class DaemonConfig:
    """A planned configuration of the daemon.

    Attributes:
        values: keys and values of daemon.json.
        version: the engine's version; empty when it is not known yet.
        flags: the daemon's command line.
        next_flags: that of its next start, if ``flags`` may be that of a daemon that runs.
        seccomp: the text of the target's own seccomp profile.
        files: paths that the same plan writes.
    """

    values: Mapping[str, Any]
    version: str
    flags: Sequence[str]
    seccomp: str | None = None
    files: frozenset[str] = frozenset()
    next_flags: Sequence[str] = ()


def cannot_start(profile: Profile, daemon: DaemonConfig, facts: HostFacts) -> list[str]:
    """Return why the daemon would not start, or could not run a container; empty if it can."""
    # null in daemon.json counts as no value.
    values = {name: value for name, value in daemon.values.items() if value is not None}
    daemon = replace(daemon, values=values)
    if wrong := [*_types(profile, values)]:
        # The other checks take it for granted that the types are right.
        return [*_keys(profile, daemon), *wrong]
    return [
        *_keys(profile, daemon),
        *_values(values),
        *_flags(daemon),
        *_network(daemon.values),
        *_remote(daemon, facts),
        *_userns(daemon, facts),
        *_remapped_user(daemon, facts),
        *_data_root(daemon, facts),
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


def _types(profile: Profile, values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        key = engine_key(profile, name)
        if key is None or key.type is None:
            continue
        right, wrong = _TYPES[key.type]
        if not right(value):
            yield f"{name}: {json.dumps(value)} {wrong}; the daemon would not start"


def _values(values: Mapping[str, Any]) -> Iterator[str]:
    level = values.get("log-level", "info")
    if level not in LOG_LEVELS:
        yield f"log-level: {level!r} is none of: {', '.join(LOG_LEVELS)}"
    for name, limit in values.get("default-ulimits", {}).items():
        yield from _ulimit(name, limit if isinstance(limit, Mapping) else {})
    for name, on in values.get("features", {}).items():
        if not isinstance(on, bool):
            yield f"features.{name}: {json.dumps(on)} is neither true nor false"


def _ulimit(name: str, limit: Mapping[str, Any]) -> Iterator[str]:
    soft, hard = limit.get("Soft"), limit.get("Hard")
    if limit.get("Name") != name or not isinstance(soft, int) or not isinstance(hard, int):
        yield (
            f'default-ulimits.{name}: write it like {{ Name = "{name}", Soft = 1024, Hard = 4096 }}'
        )
    elif -1 < hard < soft:
        yield f"default-ulimits.{name}: soft limit {soft} is above the hard limit {hard}"


def _flags(daemon: DaemonConfig) -> Iterator[str]:
    given = parse_flags(daemon.flags)
    stays = parse_flags(daemon.next_flags or daemon.flags)
    for name in ("config-file", "pidfile"):
        if name in given:
            what = "remove it there" if name in stays else _RESTART
            yield f"--{name}: the daemon is started with this flag of its unit; {what}"
    if daemon.values.get("pidfile", PID_FILE) not in (PID_FILE, f"/var{PID_FILE}"):
        yield f"pidfile: the daemon is found by {PID_FILE}; remove the key"
    for name in given:
        if name in daemon.values and name not in _IN_BOTH:
            what = "remove the flag there" if name in stays else _RESTART
            yield (
                f"{name}: the daemon is started with a flag for it as well (see systemctl cat"
                f" docker, and DOCKER_OPTS in /etc/default/docker); {what}"
            )


def _network(values: Mapping[str, Any]) -> Iterator[str]:
    if values.get("iptables") is False and values.get("icc") is False:
        yield "icc = false needs iptables: with iptables = false the daemon does not start"


def _remote(daemon: DaemonConfig, facts: HostFacts) -> Iterator[str]:
    given = parse_flags(daemon.flags)
    hosts = [*daemon.values.get("hosts", []), *given.get("hosts", ())]
    remote = [host for host in hosts if is_tcp(host)]
    flag = typed(given.get("tlsverify", ("false",)), example=False)
    verified = daemon.values.get("tlsverify", flag)
    if remote and verified is not True:
        yield (
            f"hosts: {remote[0]} without tlsverify would give root on the board to anybody in its"
            " network; use docker.api of the target"
        )
    for name in ("tlscacert", "tlscert", "tlskey", "seccomp-profile"):
        path = daemon.values.get(name)
        known = isinstance(path, str) and (path in daemon.files or facts.exists(path))
        if path not in (None, "builtin", "unconfined", "") and not known:
            yield f"{name}: there is no {path} on the board, and this run would not write it"
    if hosts and not any(map(is_default_socket, hosts)):
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


def _remapped_user(daemon: DaemonConfig, facts: HostFacts) -> Iterator[str]:
    """Yield what is wrong with the user and the group that ``userns-remap`` names.

    Source: ``parseRemappedRoot`` in moby's ``daemon/daemon_unix.go``. It makes ``dockremap`` itself
    if the key is ``default``; here the step userns does it.
    """
    remap = daemon.values.get("userns-remap")
    if not remap or remap == "default":
        return
    user, colon, group = remap.partition(":")
    name = _named(user, facts.accounts)
    if user != "default" and name is None:
        yield f"userns-remap: the board has no user {user}; make it, or write default"
        return
    name = name or REMAP_USER
    # Without a group, the one with the same name or number.
    named = colon or user != "default"
    if named and _named(group if colon else user, facts.groups) is None:
        yield f"userns-remap: the board has no group {group if colon else user}"
    uid = str(facts.accounts.get(name, ""))
    for path in (SUBUID, SUBGID):
        lines = (line.split(":") for line in facts.files.text(path).splitlines())
        names = {line[0] for line in lines if len(line) == 3}
        if user != "default" and not names & {name, uid, group or name}:
            yield (
                f"userns-remap: {path} has no range for {name}, which the daemon needs to start:"
                f" usermod --add-subuids FIRST-LAST --add-subgids FIRST-LAST {name}"
            )


def _named(text: str, known: Mapping[str, int]) -> str | None:
    """Return the name of an account or a group that is given by its name or its number."""
    if text.isdecimal():
        return next((name for name, number in known.items() if number == int(text)), None)
    return text if text in known else None


def _data_root(daemon: DaemonConfig, facts: HostFacts) -> Iterator[str]:
    given = parse_flags(daemon.flags).get("data-root", ())
    keys = [(name, str(daemon.values[name])) for name in _ROOT_KEYS if name in daemon.values]
    for name, root in [*keys, *(("data-root, a flag of the daemon", root) for root in given)]:
        if posixpath.normpath(root) != DATA_ROOT:
            yield f"{name}: {root} {_NOT_ENCRYPTED}"
    found = facts.engine.root_dir if facts.engine is not None else ""
    if not keys and not given and found and not PurePosixPath(found).is_relative_to(DATA_ROOT):
        yield f"data-root: the running daemon has its data in {found}, which {_NOT_ENCRYPTED}"


def _storage(profile: Profile, daemon: DaemonConfig) -> Iterator[str]:
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
