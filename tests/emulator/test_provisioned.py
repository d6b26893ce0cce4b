"""A board that was provisioned: its settings, and a second run."""

import json

import pytest

from tests.support.hostboard import Board, wait_until

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
