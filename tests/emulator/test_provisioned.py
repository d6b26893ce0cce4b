"""A board that was provisioned: its settings, a second run, a new kernel."""

import json

import pytest

from bootwright.core.errors import InputError
from bootwright.core.secret import Secret
from tests.support.hostboard import Board, changed_steps, wait_until

pytestmark = pytest.mark.emulator


def test_a_second_run_changes_and_restarts_nothing(board: Board) -> None:
    started = "systemctl show -p ExecMainStartTimestampMonotonic --value docker"
    before = board.sh(f"{started}; find /etc /var/lib/bootwright -newer /run/docker.pid -type f")
    done = board.provision()
    assert done.error is None
    assert (done.changed, done.restarted) == ((), ())
    after = board.sh(f"{started}; find /etc /var/lib/bootwright -newer /run/docker.pid -type f")
    assert before == after


def test_every_setting_is_read_back_from_the_running_daemon(board: Board) -> None:
    info = json.loads(board.sh("docker info --format '{{json .}}'"))
    assert info["LiveRestoreEnabled"] is True
    assert info["LoggingDriver"] == "local"
    assert info["Driver"] == "overlay2"
    assert "name=userns" in info["SecurityOptions"]
    assert any(item.startswith("name=seccomp") for item in info["SecurityOptions"])
    assert info["DockerRootDir"].startswith("/var/lib/docker/")
    assert info["ExperimentalBuild"] is False
    assert info["RegistryConfig"]["InsecureRegistryCIDRs"] == ["127.0.0.0/8"]
    bridge = json.loads(board.sh("docker network inspect bridge"))[0]
    assert bridge["Options"]["com.docker.network.bridge.enable_icc"] == "false"
    host = json.loads(board.sh("docker inspect old"))[0]["HostConfig"]
    assert host["LogConfig"]["Type"] == "local"
    assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}
    inside = board.sh(
        "docker exec old /bin/busybox sh -c"
        " 'grep -e NoNewPrivs -e Seccomp: /proc/1/status; cat /proc/1/uid_map;"
        ' grep "open files" /proc/1/limits\''
    ).split()
    assert inside[:4] == ["NoNewPrivs:", "1", "Seccomp:", "2"]
    assert inside[4:7] == ["0", "165536", "65536"]
    # Of the container itself: what runc executes in it later, Go's runtime has raised (runc 4195).
    assert inside[10:12] == ["1024", "65536"]
    # No process forwards a published port.
    publish = "docker run -d --name web -p 127.0.0.1:8080:80 busybox:local"
    board.sh(f"{publish} /bin/busybox sleep 300")
    assert "docker-proxy" not in board.sh("cat /proc/[0-9]*/comm")
    board.sh("docker rm -f web")
    # In the file, and nowhere on the command line, which would stop the daemon.
    assert board.daemon_json()["log-level"] == "info"
    assert "log-level" not in board.sh("tr '\\0' ' ' </proc/$(cat /run/docker.pid)/cmdline")
    mounted = board.sh("findmnt --noheadings --output SOURCE /var/lib/docker")
    assert mounted.startswith("/dev/mapper/docker-data")


def test_the_kernel_watches_every_existing_path(board: Board) -> None:
    rules = board.sh("auditctl -l")
    for path in (
        *("/usr/sbin/dockerd", "/run/containerd", "/var/lib/docker", "/etc/docker"),
        *("/etc/docker/daemon.json", "/run/containerd/containerd.sock", "/usr/sbin/runc"),
    ):
        assert f"-w {path} -p " in rules, rules
    board.sh("touch /etc/default/docker")
    wait_until(
        lambda: (
            "/etc/default/docker" in board.sh("ausearch --input-logs -k bootwright-docker || true")
        )
    )


def test_a_new_kernel_restarts_the_board_and_docker_is_back(board: Board) -> None:
    """The emulator starts the same kernel again, like a board whose new kernel does not boot."""
    board.sh(
        "cp /boot/vmlinuz-$(uname -r) /boot/vmlinuz-9.9.9; ln -sfn boot/vmlinuz-9.9.9 /vmlinuz"
    )
    boot = "cat /proc/sys/kernel/random/boot_id"
    before = board.sh(boot)
    with pytest.raises(InputError, match=r"opens no key slot.*not restarted"):
        board.provision(passphrase=Secret(b"not the passphrase"))
    assert board.sh(boot) == before
    done = board.provision()
    assert done.error is None, done.error
    assert done.restarted == ("board",)
    assert changed_steps(done) == {"reboot"}
    assert any("although it was restarted for it" in warning for warning in done.warnings)
    assert board.sh(boot) != before
    wait_until(lambda: "old" in board.sh("docker ps --format '{{.Names}}' || true"))
    board.sh("docker exec old /bin/busybox true; mountpoint /var/lib/docker")
    # It restarts only once.
    again = board.provision()
    assert (again.changed, again.restarted) == ((), ())
