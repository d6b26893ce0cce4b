"""A board without an emulator: Debian of this machine's architecture in a container.

systemd, sshd and the Docker daemon are real, and run at this machine's full speed: a container
starts in less than a second, where an emulated board takes ten. So what the daemon does with a
change, and how a change is put back, is tested here. What needs the board's processor, kernel, disk
or boot is tested on emulated boards (:mod:`tests.support.stages`).

Two things that this machine's kernel does not allow in a container are only stood in for, and are
real on an emulated board: the encrypted volume (Docker's folders seem to be on one) and the
kernel's audit rules (``auditctl`` keeps them in a file).
"""

import contextlib
import gzip
import itertools
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest

from bootwright.core import paths
from bootwright.core.endpoints import Endpoint, SshEndpoint
from bootwright.core.secret import Secret
from bootwright.provision.facts_script import UPGRADED
from tests.support.hostboard import OLD_CONTAINER, HostBoard, wait_until
from tests.support.locks import alone
from tests.support.package_cache import package_cache
from tests.support.stages import PROVISION_SOURCES, digest, sources_digest

PACKAGES = (
    *("systemd-sysv", "dbus", "udev", "openssh-server", "iproute2", "iptables", "kmod", "sudo"),
    *("systemd-timesyncd", "apparmor", "auditd", "ca-certificates", "busybox-static", "docker.io"),
    *("syslog-ng-core", "syslog-ng-mod-http"),
)

OLDEST_DAYS = 30
"""Days after which everything is made anew, with the packages of that day."""

UNUSED_DAYS = 2
"""Days after which what other versions of the tests have made is removed."""

START_S = 60.0
"""Seconds until SSH answers; about 4."""

DATA = {
    "volume": "/mnt/docker-data",
    "docker": "/var/lib/docker",
    "containerd": "/var/lib/containerd",
}
"""What seems to be on the encrypted volume: folders of the test, and where the board has them."""

SETTLE = """\
[Unit]
Description=Control groups that Docker may use, and what says that the data is encrypted
DefaultDependencies=no
Before=sysinit.target
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/settle
[Install]
WantedBy=sysinit.target
"""

SETTLE_SCRIPT = """#!/bin/sh
# The control groups of a container begin with a view that is only for reading.
for folder in /sys/fs/cgroup /sys/fs/cgroup/*/; do
    mount -o remount,bind,rw "$folder"
done
mount --bind /block /sys/dev/block
"""

VOLUME_OPTIONS = "CONFIG_BLK_DEV_DM=y\nCONFIG_DM_CRYPT=y\n"
"""Options that the kernel of a board with an encrypted volume has."""

SLEEPS = """\
[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""

AUDITCTL = r"""#!/bin/sh
# Stands for the kernel's audit rules: they are in a file.
rules=/run/audit-rules
touch "$rules"
case ${1-} in
-l)
    # Like auditctl, with a "/" after a folder that is watched with all below it.
    while read -r line; do
        path=${line#-w }
        path=${path%% -p *}
        [ "$path" = "$line" ] || [ ! -d "$path" ] || line="-w $path/${line#"-w $path"}"
        echo "$line"
    done <"$rules"
    ;;
-s) echo "enabled 1" ;;
-R)
    grep -e '^-[wa] ' "$2" >>"$rules"
    # The rules to delete.
    sed -n 's/^-W /-w /p; s/^-d /-a /p' "$2" >"$rules.gone"
    grep -vxF -f "$rules.gone" "$rules" >"$rules.new"
    mv "$rules.new" "$rules"
    ;;
*) echo "$*" >>"$rules" ;;
esac
"""

FILES = {
    "etc/hostname": "odroid\n",
    "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 odroid\n",
    "etc/machine-id": "",
    "etc/systemd/system/settle.service": SETTLE,
    "etc/systemd/system/auditd.service": SLEEPS,
    "etc/systemd/system/systemd-timesyncd.service": SLEEPS,
    "usr/local/sbin/settle": SETTLE_SCRIPT,
    "usr/sbin/auditctl": AUDITCTL,
}
"""What the system is given beside its packages."""


@dataclass
class NativeBoard(HostBoard):
    """A running container, and a connection to it.

    Attributes:
        address: of its SSH server.
        identity: the private key that may log in as root.
        host_key: its SSH server's public key.
        host_address: at which it reaches this machine.
    """

    address: str = field(kw_only=True)
    identity: Path = field(kw_only=True)
    host_key: str = field(kw_only=True)
    host_address: str = field(kw_only=True)

    # The profile's 65536 may be more than this machine lets a container have.
    daemon: ClassVar[dict[str, Any]] = {
        "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1024, "Hard": 4096}}
    }

    @property
    def endpoint(self) -> Endpoint:
        """Where SSH reaches it."""
        server = SshEndpoint(
            host=self.address, user="root", identity=self.identity, known_host_keys=(self.host_key,)
        )
        return Endpoint(name="native", ssh=server)


def need_native_boards() -> None:
    """Skip the test where no container can be made; fail if a tool is missing."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for a container of systemd-nspawn")
    for tool in ("systemd-nspawn", "mmdebstrap", "ip"):
        if shutil.which(tool) is None:
            pytest.fail(f"{tool} is not installed: run scripts/setup test")


@contextmanager
def provisioned_board(folder: Path) -> Iterator[NativeBoard]:
    """Give a provisioned board with a container ``old``; it is gone afterwards.

    One runs at a time on a machine: two were seen to disturb each other.

    Args:
        folder: of the test's own, for what the board writes.
    """
    with alone(_kept() / "running"):
        yield from _provisioned_board(folder)


def _provisioned_board(folder: Path) -> Iterator[NativeBoard]:
    kept = _kept()
    with alone(kept / "making"):
        base = _base(kept)
        sources = sources_digest((*PROVISION_SOURCES, "tests/support/nativeboard.py"))
        made = kept / f"provisioned-{digest(base.name, sources)}"
        if not made.exists():
            _provision(base, made)
    (folder / "data").mkdir(parents=True)
    subprocess.run(["cp", "-a", f"{made}/data/.", folder / "data"], check=True)
    with _running((made / "changes", base / "root"), folder, base) as board:
        # systemd does not always know the mounts of the container yet when it decides what to start
        # at a boot, and leaves out what requires one.
        start = (
            "{ systemctl reset-failed; systemctl start auditd systemd-timesyncd docker;"
            " docker start old; } >/dev/null 2>&1"
            "; docker ps --format '{{.Names}}' || true"
        )
        wait_until(lambda: "old" in board.sh(start))
        yield board


def _kept() -> Path:
    return paths.cache_dir() / "test-native"


def _base(kept: Path) -> Path:
    """Return the folder of the system without a change; make it if it is not there."""
    base = kept / f"base-{digest(*PACKAGES, VOLUME_OPTIONS, *itertools.chain(*FILES.items()))}"
    if base.exists() and time.time() - base.stat().st_mtime < OLDEST_DAYS * 86400:
        return base
    for former in kept.glob("*-*"):
        # Another run of the tests may use what is newer.
        if time.time() - former.stat().st_mtime > UNUSED_DAYS * 86400:
            shutil.rmtree(former)
    draft = kept / "draft-base"
    # Of a run that was ended.
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True, mode=0o700)
    with package_cache() as port:
        proxy = {} if port is None else {"http_proxy": f"http://127.0.0.1:{port}"}
        subprocess.run(
            [
                *("mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
                *("--format=directory", "--quiet", "bookworm", str(draft / "root")),
            ],
            check=True,
            env=os.environ | proxy,
            stdin=subprocess.DEVNULL,
        )
    _settle(draft)
    draft.rename(base)
    return base


def _settle(base: Path) -> None:
    """Give the system keys, and what stands in for something."""
    root = base / "root"
    keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", ""]
    subprocess.run([*keygen, "-f", base / "id"], check=True)
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    subprocess.run([*keygen, "-f", root / "etc/ssh/ssh_host_ed25519_key"], check=True)
    ssh = root / "root/.ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    shutil.copy(base / "id.pub", ssh / "authorized_keys")
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(0o755 if "sbin" in name else 0o644)
    release = os.uname().release
    (root / f"boot/config-{release}").write_text(_kernel_options(release) + VOLUME_OPTIONS)
    # Packages are up to date: nothing has to be fetched.
    upgraded = root / UPGRADED.lstrip("/")
    upgraded.parent.mkdir(parents=True, exist_ok=True)
    upgraded.write_text(f"{datetime.now(UTC).date()}\n")
    wants = root / "etc/systemd/system/sysinit.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "settle.service").symlink_to("../settle.service")
    for unit in ("apt-daily.timer", "apt-daily-upgrade.timer", "console-getty.service"):
        link = root / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")


def _kernel_options(release: str) -> str:
    """Return the configuration of this machine's kernel; empty where it is not known."""
    with contextlib.suppress(OSError):
        return Path(f"/boot/config-{release}").read_text()
    with contextlib.suppress(OSError), gzip.open("/proc/config.gz", "rt") as file:
        return file.read()
    return ""


def _provision(base: Path, made: Path) -> None:
    draft = made.with_name(f"{made.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    with _running((base / "root",), draft, base) as board:
        board.sh("mkdir -p /tmp/root/bin")
        done = board.provision()
        assert done.error is None, done.error
        board.sh(OLD_CONTAINER)
        board.sh("systemctl stop docker.socket docker; sync")
    draft.rename(made)


@contextmanager
def _running(below: tuple[Path, ...], folder: Path, base: Path) -> Iterator[NativeBoard]:
    """Run a container whose root is ``below``, read-only, and what it changes in ``folder``."""
    for name in ("changes", "work", "root", *(f"data/{name}" for name in DATA)):
        (folder / name).mkdir(parents=True, exist_ok=True)
    layers = ":".join(map(str, below))
    overlay = f"lowerdir={layers},upperdir={folder / 'changes'},workdir={folder / 'work'}"
    with _container(overlay, folder) as (here, there):
        board = NativeBoard(
            folder / "known",
            Secret(b"there is no volume"),
            address=there,
            identity=base / "id",
            host_key=_host_key(base),
            host_address=here,
        )
        try:
            yield board
        finally:
            board.close()
    shutil.rmtree(folder / "work", ignore_errors=True)


def _host_key(base: Path) -> str:
    public = (base / "root/etc/ssh/ssh_host_ed25519_key.pub").read_text().split()
    return f"{public[0]} {public[1]}"


@contextmanager
def _container(overlay: str, folder: Path) -> Iterator[tuple[str, str]]:
    """Run systemd in an overlay; yield the addresses of this machine and of the container.

    It ends with the test's process too: no mount and no container is left then.
    """
    name = f"bw{random.randrange(16**8):08x}"
    # Of the network for benchmarks (RFC 2544): nobody else uses it. Four addresses for each board.
    third, fourth = random.randrange(256), random.randrange(0, 256, 4)
    here, there = (f"198.18.{third}.{fourth + host}" for host in (1, 2))
    argv = [
        *("systemd-nspawn", "--quiet", "--keep-unit", "--register=no", f"--machine={name}"),
        *(f"--directory={folder / 'root'}", "--boot", "--network-veth", "--capability=all"),
        *("--system-call-filter=@keyring bpf", "--console=pipe"),
        *("--timezone=off", "--resolv-conf=off"),
        *(f"--bind={folder / 'data' / name}:{place}" for name, place in DATA.items()),
        f"--bind-ro={_volume(folder)}:/block",
    ]
    groups = _cgroups(name)
    enter = "".join(f"echo $$ >{group}/cgroup.procs && " for group in groups)
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    with (folder / "console.log").open("wb") as console:
        process = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig=KILL", "unshare", "--mount", "sh", "-c"),
                f'{enter}mount -t overlay -o "$1" overlay "$2" && shift 2 && exec "$@"',
                *("sh", overlay, str(folder / "root"), *argv),
            ],
            env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1" if unified else "0"},
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
        )
    leader = None
    try:
        leader = _leader(process)
        inside = ["nsenter", f"--target={leader}", "--net", "ip"]
        link = f"ve-{name}"[:15]
        for command in (
            ["ip", "address", "add", f"{here}/30", "dev", link],
            ["ip", "link", "set", link, "up"],
            [*inside, "address", "add", f"{there}/30", "dev", "host0"],
            [*inside, "link", "set", "host0", "up"],
        ):
            subprocess.run(command, check=True)
        yield here, there
    finally:
        # As a power cut: all processes of the container end with the first one.
        if leader is None:
            process.kill()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(leader, signal.SIGKILL)
        process.wait()
        for group in groups:
            for path in sorted(group.rglob("*/"), reverse=True):
                with contextlib.suppress(OSError):
                    path.rmdir()
            with contextlib.suppress(OSError):
                group.rmdir()


def _leader(process: subprocess.Popen[bytes]) -> int:
    """Return the process id of the container's first process."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        assert process.poll() is None, "systemd-nspawn has ended"
        for pid in children.read_text().split():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text() == "systemd\n":
                    return int(pid)
        time.sleep(0.05)
    raise AssertionError("systemd does not start")


def _volume(folder: Path) -> Path:
    """Return a folder in place of /sys/dev/block, which says that the data is encrypted."""
    device = (folder / "data").stat().st_dev
    uuid = folder / "block" / f"{os.major(device)}:{os.minor(device)}" / "dm" / "uuid"
    uuid.parent.mkdir(parents=True, exist_ok=True)
    uuid.write_text("CRYPT-LUKS2-stand-in\n")
    return folder / "block"


def _cgroups(name: str) -> list[Path]:
    """Make a control group of its own in each hierarchy: two containers must not share one."""
    groups = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        hierarchy = controllers.removeprefix("name=") or (
            "" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "unified"
        )
        group = Path("/sys/fs/cgroup") / hierarchy / path.lstrip("/") / name
        with contextlib.suppress(OSError):
            group.mkdir()
            for value in ("cpuset.cpus", "cpuset.mems"):
                if (group / value).exists():
                    (group / value).write_text((group.parent / value).read_text())
            groups.append(group)
    return groups
