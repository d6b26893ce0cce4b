"""A board's facts for tests: a Debian board with stock Docker, and what differs from it."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from bootwright.core.config import Docker, Target
from bootwright.core.paths import checkout
from bootwright.core.templates import Renderer
from bootwright.hosts.board_files import BoardFile, BoardFiles
from bootwright.hosts.engine import Engine
from bootwright.hosts.file_modes import PathMode
from bootwright.hosts.profile import Profile, load_profile
from bootwright.hosts.systemd_units import HostUnit
from bootwright.provision.desired_state import DesiredState
from bootwright.provision.facts import HostFacts, Mounted

PROFILE: Profile = load_profile(checkout() / "profiles")
RENDERER = Renderer(checkout() / "templates")

ENGINE = Engine(
    version="20.10.24+dfsg1",
    client_version="",
    containers=0,
    running=0,
    images=0,
    root_dir="/var/lib/docker",
    storage_driver="overlay2",
    log_driver="json-file",
    live_restore=False,
    swarm="inactive",
    security=("name=apparmor", "name=seccomp,profile=default", "name=cgroupns"),
    authorization=(),
)

COMMAND = "/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock $DOCKER_OPTS"

DATA = Mounted(("rw", "noatime"), "CRYPT-LUKS2-be789c29387b4280a4ffc553a4ca67a9-docker-data")

ETC = {
    "/etc/hostname": "odroid\n",
    "/etc/hosts": "127.0.0.1 localhost\n127.0.1.1 odroid\n",
    "/etc/timezone": "UTC\n",
    "/etc/ssh/sshd_config": "UsePAM yes\n",
    "/etc/subuid": "",
    "/etc/subgid": "",
}

SAME_FOLDERS = {
    "/bin": "/usr/bin",
    "/lib": "/usr/lib",
    "/sbin": "/usr/sbin",
    "/var/run": "/run",
    "/var/lock": "/run/lock",
}
"""As Debian has them."""

SSHD = {
    "passwordauthentication": "no",
    "kbdinteractiveauthentication": "no",
    "permitemptypasswords": "no",
    "permitrootlogin": "without-password",
}


def board_file(text: str, mode: int = 0o644) -> BoardFile:
    return BoardFile(text.encode(), mode, 0, 0)


def stock(files: Mapping[str, str] | None = None, **different: Any) -> HostFacts:
    """Return the facts; ``files`` are beside the usual ones, an empty text takes one away."""
    texts = {**ETC, **(files or {})}
    kernel = "6.1.0-50-armmp-lpae"
    known = {option for one in PROFILE.kernel.option for option in one.options}
    facts = HostFacts(
        hostname="odroid",
        kernel=kernel,
        boot_id="2284504e-2cc2-472b-9897-55f8e47deb2c",
        os_name="Debian GNU/Linux 12 (bookworm)",
        family="debian",
        modules=(kernel,),
        default_kernel=kernel,
        kernel_options=dict.fromkeys(known, "y"),
        max_user_namespaces=8000,
        mounts={
            "/": Mounted(("rw", "noatime"), None),
            "/var/lib/docker": DATA,
            "/var/lib/containerd": DATA,
        },
        tools=frozenset(
            [
                "apt-get",
                "docker",
                "dockerd",
                "auditctl",
                "useradd",
                "systemctl",
                "systemd-run",
            ]
        ),
        packages={
            name: "20.10.24+dfsg1-1+deb12u1" if name == "docker.io" else "1"
            for package in PROFILE.host.package
            if (name := package.debian)
        },
        units={
            "docker.service": HostUnit("loaded", "active", "enabled", command=COMMAND),
            "auditd.service": HostUnit("loaded", "active", "enabled"),
            "systemd-timesyncd.service": HostUnit("loaded", "active", "enabled"),
        },
        failed_units=(),
        accounts={"mia": 1000},
        groups={"mia": 1000},
        docker_group=(),
        plugins=(),
        modes={
            path: PathMode(path, 0o755, "root:root", kind)
            for path, kind in {
                "/var": "directory",
                "/var/lib": "directory",
                "/var/lib/docker": "directory",
                "/usr/sbin/dockerd": "regular file",
                "/etc/docker": "directory",
            }.items()
        },
        files=BoardFiles(
            {path: board_file(text) for path, text in texts.items() if text or path not in ETC},
            {"/etc/localtime": "/usr/share/zoneinfo/UTC"},
        ),
        digests={},
        audit=(),
        audit_error="",
        audit_impossible="",
        audit_recording=True,
        audit_receiver="auditd",
        same_folders=SAME_FOLDERS,
        audit_locked=False,
        sshd=SSHD,
        sshd_error="",
        sshd_matches=(),
        sshd_unread=False,
        missing_modules=None,
        health_checks_s=(),
        audit_space_kib=None,
        engine=ENGINE,
        engine_error="",
        engine_runs=True,
        iptables="nf_tables",
        iptables_error="",
        iptables_legacy=False,
        proven=(),
        proven_warnings=(),
        stored_containers=(),
        engine_flags=("/usr/sbin/dockerd", "-H", "fd://"),
        unread=False,
        relay_queued=0,
        relay_dropped=0,
        upgraded="2026-11-25",
        packages_begun=False,
        rebooted_for="",
        transaction=False,
        clock=None,
    )
    assert set(different) <= {field.name for field in fields(facts)}
    return replace(facts, **different)


def engine(**different: Any) -> Engine:
    return replace(ENGINE, **different)


def desired(docker: Mapping[str, Any] | None = None, **different: Any) -> DesiredState:
    """Return the desired state of a target whose ``[docker]`` is given."""
    known = {field.name for field in fields(DesiredState)}
    own = {key: value for key, value in different.items() if key not in known}
    target = Target(
        name="odroid",
        board="odroid-xu3",
        rootfs="debian",
        hostname="odroid",
        docker=Docker(**(docker or {})),
        **own,
    )
    mine = {key: value for key, value in different.items() if key in known}
    return DesiredState(
        **{"target": target, "login": "root", "profile": PROFILE, "renderer": RENDERER, **mine}
    )
