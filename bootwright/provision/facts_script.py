"""The script by which a board reports itself as a Docker host.

It is ``provision/shell/host_facts.sh``; the parser of its answer is in
:mod:`bootwright.provision.facts`.

Sources: systemctl(1) ``show``, sshd(8) ``-T``, auditctl(8), proc_pid_mountinfo(5), dpkg-query(1),
pacman(8), subuid(5), and the kernel's ``Documentation/ABI/testing/sysfs-block-dm``.
"""

from dataclasses import dataclass

from bootwright.core.board_names import STATE
from bootwright.core.shell import render
from bootwright.remote.sections import SECTIONS

TRANSACTION = f"{STATE}/transaction"
"""What a change needs to be put back; there only while one is under way."""

UPGRADED = f"{STATE}/upgraded"
"""When the packages were last brought up to date: a date, and what could not be fetched."""

PACKAGES_BEGUN = f"{STATE}/packages-begun"
"""There while work on packages has begun and has not ended well, as after a loss of power."""

REBOOTED_FOR = f"{STATE}/rebooted-for"
"""The kernel that the board was restarted for, so that one that never boots is not tried
for ever."""

DATA_ROOT = "/var/lib/docker"

PID_FILE = "/run/docker.pid"
"""Written when the daemon starts."""

SSHD_PID_FILE = "/run/sshd.pid"
"""Written when sshd starts, and when it reads its files again."""

SSHD_READ = "/run/bootwright-sshd-read"
"""Which files we had sshd read, by their digest, and its pid file after it."""

PROVEN = "/run/bootwright-proven"
"""The daemon's process that was last proven to do what daemon.json says, and its versions."""

RELAY_CONTROL = f"{STATE}/logs/control"
"""Where the relay of logs tells its figures; see :mod:`bootwright.provision.log_relay`."""

RELOADED = "/run/bootwright-reloaded"
"""Written when we had the daemon read daemon.json again."""

UNITS = (
    *("docker.service", "docker.socket", "containerd.service", "auditd.service"),
    *("systemd-timesyncd.service", "chrony.service", "chronyd.service", "ntpd.service"),
    *("ntpsec.service", "ntp.service", "openntpd.service", "ntpd-rs.service"),
    *("ssh.service", "sshd.service"),
    *("bootwright-logs.service", "bootwright-logs.socket", "bootwright-containers.service"),
)

_PROPERTIES = (
    *("Id", "LoadState", "ActiveState", "UnitFileState", "NeedDaemonReload", "ExecStart"),
    *("StateChangeTimestampMonotonic", "ActiveEnterTimestampMonotonic"),
)


@dataclass(frozen=True)
class Questions:
    """What the script is asked beside the usual: what the plan for a target needs to know.

    Attributes:
        packages: their names in every distribution.
        kernel: options without ``CONFIG_``.
        paths: whose owner and mode matter; shell patterns.
        files: whose content matters.
        secret_files: of which only the digest leaves the board.
        whole: ask the engine as well, even if it was proven and has not changed.
    """

    packages: tuple[str, ...]
    kernel: tuple[str, ...]
    paths: tuple[str, ...]
    files: tuple[str, ...]
    secret_files: tuple[str, ...] = ()
    whole: bool = True


def host_script(questions: Questions) -> str:
    """Return the script that reports on the board; it needs root."""
    return render(
        SECTIONS,
        "hosts/shell/wait_until_started.sh",
        "hosts/shell/same_folders.sh",
        "hosts/shell/root_docker.sh",
        "provision/shell/sshd_read.sh",
        "provision/shell/host_facts.sh",
        everything=questions.whole,
        pid_file=PID_FILE,
        proven_file=PROVEN,
        reloaded_file=RELOADED,
        sshd_pid_file=SSHD_PID_FILE,
        sshd_read_file=SSHD_READ,
        upgraded_file=UPGRADED,
        begun_file=PACKAGES_BEGUN,
        rebooted_file=REBOOTED_FOR,
        relay_control=RELAY_CONTROL,
        transaction=TRANSACTION,
        properties=tuple(f"--property={name}" for name in _PROPERTIES),
        units=UNITS,
        kernel_options=f"^CONFIG_({'|'.join(questions.kernel) or 'NONE'})=[ym]",
        packages=questions.packages,
        # The profile's loader lets no blank or quote into them.
        paths=" ".join(questions.paths),
        secret_files=questions.secret_files,
        files=tuple(path.lstrip("/") for path in questions.files),
    )


def proven_script(client: str, server: str, warnings: tuple[str, ...] = ()) -> str:
    """Return the script that records that the daemon that runs was proven.

    The record is void when the daemon has ended or daemon.json is changed: see :data:`PROVEN`.

    Args:
        client: version of the docker command; empty if it is not known.
        server: version of the engine, likewise.
        warnings: what the engine warns of.
    """
    return render(
        "provision/shell/remember_proven.sh",
        pid_file=PID_FILE,
        proven_file=PROVEN,
        versions=f"{client or '-'} {server or '-'}",
        warnings=warnings,
    )


def docker_data_script() -> str:
    """Return the script that reports the names of containers, images and volumes."""
    return render(SECTIONS, "hosts/shell/root_docker.sh", "provision/shell/docker_data.sh")
