"""Facts about boards for tests of an audit: before and after hardening, and without Docker.

The paths, rules and answers are those of a Debian 12 board with docker.io 20.10 on ARMv7.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from bootwright.audit.facts import AuditFacts
from bootwright.audit.inspected import EngineNetwork
from bootwright.audit.model import Subject
from bootwright.core.paths import checkout
from bootwright.hosts.audit_rules import parse_audit_rules
from bootwright.hosts.file_modes import PathMode
from bootwright.hosts.profile import Profile, load_profile
from bootwright.hosts.systemd_units import HostUnit
from tests.support.host_facts import SAME_FOLDERS

PROFILE: Profile = load_profile(checkout() / "profiles")

COMMAND = "/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock $DOCKER_OPTS"
FLAGS = ("/usr/sbin/dockerd", "-H", "fd://", "--containerd=/run/containerd/containerd.sock")

DAEMON_JSON: Mapping[str, Any] = {
    "icc": False,
    "log-level": "info",
    "storage-driver": "overlay2",
    "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1024, "Hard": 65536}},
    "userns-remap": "default",
    "log-driver": "local",
    "log-opts": {"max-size": "10m", "max-file": "3"},
    "no-new-privileges": True,
    "live-restore": True,
    "userland-proxy": False,
}
"""What provisioning makes of a board that ships no logs and has no remote API."""

RELAY: Mapping[str, Any] = {
    "log-driver": "syslog",
    "log-opts": {
        "syslog-address": "unixgram:///run/bootwright-logs.sock",
        "syslog-format": "rfc5424micro",
    },
}
"""The settings in daemon.json if logs are shipped."""

API: Mapping[str, Any] = {
    "hosts": ["fd://", "tcp://192.0.2.7:2376"],
    "tlsverify": True,
    "tlscacert": "/etc/docker/tls/ca.pem",
    "tlscert": "/etc/docker/tls/server-cert.pem",
    "tlskey": "/etc/docker/tls/server-key.pem",
}
"""More settings in daemon.json if the target has a remote API."""

_INFO: Mapping[str, Any] = {
    "ServerVersion": "20.10.24+dfsg1",
    "Containers": 0,
    "ContainersRunning": 0,
    "Images": 0,
    "Driver": "overlay2",
    "LoggingDriver": "json-file",
    "CgroupDriver": "systemd",
    "CgroupVersion": "2",
    "Debug": False,
    "ExperimentalBuild": False,
    "LiveRestoreEnabled": False,
    "DockerRootDir": "/var/lib/docker",
    "Plugins": {"Volume": ["local"], "Network": ["bridge", "host"], "Authorization": None},
    "RegistryConfig": {
        "InsecureRegistryCIDRs": ["127.0.0.0/8"],
        "IndexConfigs": {"docker.io": {"Name": "docker.io", "Mirrors": [], "Secure": True}},
        "Mirrors": [],
    },
    "SecurityOptions": ["name=apparmor", "name=seccomp,profile=default", "name=cgroupns"],
    "Swarm": {"NodeID": "", "LocalNodeState": "inactive", "ControlAvailable": False},
    "Warnings": None,
}

HARDENED_INFO: Mapping[str, Any] = {
    **_INFO,
    "LoggingDriver": "local",
    "LiveRestoreEnabled": True,
    "DockerRootDir": "/var/lib/docker/165536.165536",
    "SecurityOptions": [*_INFO["SecurityOptions"], "name=userns"],
}

_RULES = """\
-w /usr/sbin/dockerd -p rwxa -k docker
-w /run/containerd -p rwa -k docker
-w /var/lib/docker -p rwa -k docker
-w /mnt/docker-data/var/lib/docker -p rwa -k docker
-w /etc/docker -p wa -k docker
-w /usr/lib/systemd/system/docker.service -p wa -k docker
-w /run/containerd/containerd.sock -p wa -k docker
-w /usr/lib/systemd/system/docker.socket -p wa -k docker
-w /etc/default/docker -p wa -k docker
-w /etc/docker/daemon.json -p wa -k docker
-w /etc/containerd/config.toml -p wa -k docker
-w /usr/bin/containerd -p rwxa -k docker
-w /usr/bin/containerd-shim -p rwxa -k docker
-w /usr/bin/containerd-shim-runc-v1 -p rwxa -k docker
-w /usr/bin/containerd-shim-runc-v2 -p rwxa -k docker
-w /usr/bin/runc -p rwxa -k docker
-w /usr/sbin/runc -p rwxa -k docker
"""

_MODES = (
    ("/usr/sbin/dockerd", 0o755, "root:root", "regular file"),
    ("/run/containerd", 0o711, "root:root", "directory"),
    ("/var/lib/docker", 0o710, "root:root", "directory"),
    ("/mnt/docker-data/var/lib/docker", 0o710, "root:root", "directory"),
    ("/etc/docker", 0o755, "root:root", "directory"),
    ("/usr/lib/systemd/system/docker.service", 0o644, "root:root", "regular file"),
    ("/usr/lib/systemd/system/docker.socket", 0o644, "root:root", "regular file"),
    ("/run/containerd/containerd.sock", 0o660, "root:root", "socket"),
    ("/run/docker.sock", 0o660, "root:docker", "socket"),
    ("/etc/default/docker", 0o644, "root:root", "regular file"),
    ("/etc/containerd/config.toml", 0o644, "root:root", "regular file"),
    ("/usr/bin/containerd", 0o755, "root:root", "regular file"),
    ("/usr/bin/containerd-shim", 0o755, "root:root", "regular file"),
    ("/usr/bin/containerd-shim-runc-v1", 0o755, "root:root", "regular file"),
    ("/usr/bin/containerd-shim-runc-v2", 0o755, "root:root", "regular file"),
    ("/usr/bin/runc", 0o777, "root:root", "symbolic link"),
    ("/usr/sbin/runc", 0o755, "root:root", "regular file"),
)


def path_mode(
    path: str, mode: int = 0o644, owner: str = "root:root", kind: str = "regular file"
) -> PathMode:
    return PathMode(path, mode, owner, kind)


def bridge(icc: bool) -> EngineNetwork:
    """Return the default bridge."""
    options = {
        "com.docker.network.bridge.default_bridge": "true",
        "com.docker.network.bridge.enable_icc": "true" if icc else "false",
        "com.docker.network.bridge.name": "docker0",
    }
    return EngineNetwork("bridge", "bridge", options, ())


def stock(**different: Any) -> AuditFacts:
    """Return the facts of a board with docker.io as Debian installs it, and auditd without rules.

    No container, no image.
    """
    unit = HostUnit("loaded", "active", "enabled", command=COMMAND)
    facts = AuditFacts(
        hostname="odroid",
        os="Debian GNU/Linux 12 (bookworm)",
        kernel="6.1.0-50-armmp-lpae",
        arch="armv7l",
        tools=frozenset(["docker", "dockerd", "auditctl", "systemctl"]),
        mounts={
            **{"/": "179:1", "/proc": "0:21", "/run": "0:25"},
            **{"/var/lib/docker": "253:0", "/var/lib/containerd": "253:0"},
        },
        docker_group=(),
        units={
            "docker.service": unit,
            "docker.socket": HostUnit("loaded", "active", "enabled"),
            "containerd.service": HostUnit("loaded", "active", "enabled"),
            "auditd.service": HostUnit("loaded", "active", "enabled"),
        },
        audit=(),
        audit_on=True,
        audit_never=(),
        audit_pid=300,
        same_folders=SAME_FOLDERS,
        modes={path: PathMode(path, mode, owner, kind) for path, mode, owner, kind in _MODES},
        acls=frozenset(),
        tls={},
        engine_owner=0,
        daemons=1,
        settings="/etc/docker/daemon.json",
        daemon_json=None,
        flags=FLAGS,
        info=_INFO,
        containers=(),
        images=(),
        networks=(
            bridge(icc=True),
            EngineNetwork("host", "host", {}, ()),
            EngineNetwork("none", "null", {}, ()),
        ),
        sshd_containers=frozenset(),
        listening=("0.0.0.0:22", "[::]:22"),
        lsm=("lockdown", "capability", "yama", "apparmor"),
        selinux=False,
        content_trust="",
        root=True,
        troubles={},
    )
    return _with(facts, different)


def provisioned(**different: Any) -> AuditFacts:
    """Return the facts of the same board after ``inv provision``."""
    before = stock()
    networks = before.networks or ()
    facts = replace(
        before,
        audit=parse_audit_rules(_RULES.splitlines()),
        modes={**before.modes, "/etc/docker/daemon.json": path_mode("/etc/docker/daemon.json")},
        daemon_json=DAEMON_JSON,
        info=HARDENED_INFO,
        networks=(bridge(icc=False), *networks[1:]),
        content_trust="1",
    )
    return _with(facts, different)


def with_api(**different: Any) -> AuditFacts:
    """Return the facts of a provisioned board with a remote API and a relay for its logs."""
    files = {
        "tlscacert": path_mode("/etc/docker/tls/ca.pem", 0o444),
        "tlscert": path_mode("/etc/docker/tls/server-cert.pem", 0o444),
        "tlskey": path_mode("/etc/docker/tls/server-key.pem", 0o400),
    }
    before = provisioned()
    facts = replace(
        before,
        units={**before.units, "bootwright-logs.service": HostUnit("loaded", "active")},
        modes={**before.modes, **{mode.path: mode for mode in files.values()}},
        tls=files,
        daemon_json={**DAEMON_JSON, **RELAY, **API},
        flags=("/usr/sbin/dockerd", "--containerd=/run/containerd/containerd.sock"),
        info={**HARDENED_INFO, "LoggingDriver": "syslog"},
        listening=("0.0.0.0:22", "[::]:22", "192.0.2.7:2376"),
    )
    return _with(facts, different)


def without_docker(**different: Any) -> AuditFacts:
    """Return the facts of a board as it is flashed: neither Docker nor auditd."""
    folders = ("/var/lib/docker", "/mnt/docker-data/var/lib/docker")
    facts = replace(
        stock(),
        tools=frozenset(["systemctl"]),
        docker_group=None,
        units={},
        audit=None,
        audit_on=False,
        audit_pid=0,
        daemons=0,
        modes={path: path_mode(path, 0o755, kind="directory") for path in folders},
        engine_owner=None,
        flags=(),
        **_NO_ANSWER,
    )
    return _with(facts, different)


def stopped(facts: AuditFacts) -> AuditFacts:
    """Return the facts of the same board after ``systemctl stop docker``."""
    return replace(facts, engine_owner=None, daemons=0, flags=(), **_NO_ANSWER)


def mute(facts: AuditFacts) -> AuditFacts:
    """Return the facts of the same board while its engine runs and does not answer."""
    trouble = {"info": "no answer within 60 s"}
    return replace(facts, **_NO_ANSWER, troubles={**facts.troubles, **trouble})


_NO_ANSWER: dict[str, Any] = {"info": None, "containers": None, "images": None, "networks": None}


def subject(facts: AuditFacts, **different: Any) -> Subject:
    """Return what an evaluator is given: the facts, and the profile that is shipped."""
    return Subject(**{"facts": facts, "profile": PROFILE, **different})


def _with(facts: AuditFacts, different: Mapping[str, Any]) -> AuditFacts:
    assert set(different) <= {field.name for field in fields(facts)}
    return replace(facts, **different)
