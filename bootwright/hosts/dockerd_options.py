"""The command line of a Docker daemon, read by the engine's own rules.

Provisioning and the audit read it here. Sources: pflag, which parses the command line; moby's
``cmd/dockerd/config.go``, ``config_unix.go`` and ``options.go`` (from 29 on ``daemon/command``),
branches 20.10 to 29; moby's ``opts/hosts.go`` for the addresses of the API.
"""

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

DEFAULT_SOCKET = "/run/docker.sock"
"""Where the docker command looks for the daemon; /var/run is a link to /run."""

_LETTERS = {
    "D": "debug",
    "G": "group",
    "H": "host",
    "b": "bridge",
    "g": "graph",
    "h": "help",
    "l": "log-level",
    "p": "pidfile",
    "s": "storage-driver",
    "v": "version",
}
"""The names of flags with one letter."""

_KEYS_OF_FLAGS = {
    "add-runtime": "runtimes",
    "allow-nondistributable-artifact": "allow-nondistributable-artifacts",
    "authorization-plugin": "authorization-plugins",
    "cdi-spec-dir": "cdi-spec-dirs",
    "cluster-store-opt": "cluster-store-opts",
    "default-address-pool": "default-address-pools",
    "default-network-opt": "default-network-opts",
    "default-ulimit": "default-ulimits",
    "dns-opt": "dns-opts",
    "exec-opt": "exec-opts",
    "feature": "features",
    "graph": "data-root",
    "host": "hosts",
    "insecure-registry": "insecure-registries",
    "label": "labels",
    "log-opt": "log-opts",
    "node-generic-resource": "node-generic-resources",
    "nri-opt": "nri-opts",
    "registry-mirror": "registry-mirrors",
    "storage-opt": "storage-opts",
}
"""The keys of daemon.json of flags that have another name there."""

BOOLEANS = frozenset(
    (
        *("allow-direct-routing", "cri-containerd", "debug", "disable-legacy-registry"),
        *("experimental", "help", "icc", "init", "ip-forward", "ip-forward-no-drop", "ip-masq"),
        *("ip6tables", "iptables", "ipv6", "live-restore", "no-new-privileges", "raw-logs"),
        *("rootless", "selinux-enabled", "tls", "tlsverify", "userland-proxy", "validate"),
        *("version", "api-enable-cors"),
    )
)
"""Flags that are true or false: the next word is never their value, only what follows ``=``."""

_VALUES = frozenset(
    (
        *(*_KEYS_OF_FLAGS, "api-cors-header", "bip", "bip6", "bridge", "bridge-accept-fwmark"),
        *("cgroup-parent", "cluster-advertise", "cluster-store", "config-file", "containerd"),
        *("containerd-namespace", "containerd-plugins-namespace", "cpu-rt-period"),
        *("cpu-rt-runtime", "data-root", "default-cgroupns-mode", "default-gateway"),
        *("default-gateway-v6", "default-ipc-mode", "default-runtime", "default-shm-size", "dns"),
        *("dns-search", "exec-root", "firewall-backend", "fixed-cidr", "fixed-cidr-v6", "group"),
        *("host-gateway-ip", "http-proxy", "https-proxy", "init-path", "ip", "log-driver"),
        *("log-format", "log-level", "max-concurrent-downloads", "max-concurrent-uploads"),
        *("max-download-attempts", "metrics-addr", "mtu", "network-control-plane-mtu"),
        *("network-diagnostic-port", "no-proxy", "oom-score-adjust", "pidfile"),
        *("seccomp-profile", "shutdown-timeout", "storage-driver", "swarm-default-advertise-addr"),
        *("tlscacert", "tlscert", "tlskey", "userland-proxy-path", "userns-remap"),
    )
)
"""Flags that take a value: without ``=`` the next word, whatever that is."""

_TRUTH = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}
"""The texts that Go parses as true and false."""


@dataclass(frozen=True)
class Flag:
    """One flag of a command line.

    Attributes:
        name: its long name; empty for a word that is no flag, such as ``$DOCKER_OPTS``.
        value: its value; ``true`` for one that is true or false and has none.
        words: the words of the command line that say the same.
    """

    name: str
    value: str
    words: tuple[str, ...]

    @property
    def key(self) -> str:
        """The key of daemon.json that the flag stands for."""
        return _KEYS_OF_FLAGS.get(self.name, self.name)


def read_flags(words: Sequence[str]) -> Iterator[Flag]:
    """Yield the flags of a command line of dockerd, without the program, its first word.

    A flag that no engine has takes the next word as its value, unless that begins with ``-``.
    """
    rest = list(words[1:])
    while rest:
        word = rest.pop(0)
        if word == "--":
            yield from (Flag("", "", (one,)) for one in (word, *rest))
            return
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            if equals:
                yield Flag(name, value, (word,))
            else:
                yield _with_next(name, word, rest)
        elif word.startswith("-") and word != "-":
            yield from _letters(word[1:], rest)
        else:
            yield Flag("", "", (word,))


def _with_next(name: str, word: str, rest: list[str]) -> Flag:
    """Return a flag without ``=``; its value is taken from the words that follow."""
    known = name in _VALUES
    if name in BOOLEANS or not rest or (not known and rest[0].startswith("-")):
        return Flag(name, "true" if not known else "", (word,))
    value = rest.pop(0)
    return Flag(name, value, (word, value))


def _letters(letters: str, rest: list[str]) -> Iterator[Flag]:
    """Yield the flags of a word: ``D``, ``ldebug``, ``l=debug``, or ``Dl`` with what follows."""
    for position, letter in enumerate(letters):
        name, after = _LETTERS.get(letter, letter), letters[position + 1 :]
        if after.startswith("="):
            yield Flag(name, after[1:], (f"-{letter}{after}",))
            return
        if name not in BOOLEANS:
            if after:
                yield Flag(name, after, (f"-{letter}{after}",))
            else:
                yield _with_next(name, f"-{letter}", rest)
            return
        yield Flag(name, "true", (f"-{letter}",))


def parse_flags(words: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the values on a command line of dockerd, by the keys of daemon.json."""
    found: dict[str, list[str]] = {}
    for flag in read_flags(words):
        if flag.name:
            found.setdefault(flag.key, []).append(flag.value)
    return {key: tuple(values) for key, values in found.items()}


def without_key(words: Sequence[str], key: str) -> tuple[str, ...]:
    """Return a command line without the flags for a key of daemon.json."""
    kept = (word for flag in read_flags(words) if flag.key != key for word in flag.words)
    return (*words[:1], *kept)


def typed(values: Sequence[str], example: object) -> Any:
    """Return a flag's values in the type that they have in daemon.json, which ``example`` has."""
    if isinstance(example, bool):
        return _TRUTH.get(values[-1], values[-1])
    if isinstance(example, list):
        return list(values)
    if isinstance(example, dict):
        return {name: value for name, _, value in (text.partition("=") for text in values)}
    return values[-1]


def is_tcp(address: str) -> bool:
    """Return whether an address of the API is a TCP address, as one without a scheme is.

    An unknown scheme counts as TCP, although the daemon does not start with one.
    """
    scheme, separator, _ = address.strip().partition("://")
    return bool(scheme) and (not separator or scheme not in ("unix", "fd", "npipe"))


def is_default_socket(address: str) -> bool:
    """Return whether the docker command finds the daemon at this address without being told.

    ``fd://`` stands for the socket of systemd. ``unix://`` and an empty address stand for the
    default socket.
    """
    scheme, _, path = address.strip().partition("://")
    if scheme == "unix":
        path = posixpath.normpath(path or DEFAULT_SOCKET)
        return path.replace("/var/run/", "/run/", 1) == DEFAULT_SOCKET
    return scheme in ("", "fd")
