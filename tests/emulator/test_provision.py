"""A card booted in the emulator becomes a hardened Docker host, with the real Docker."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bootwright.core.config import Docker, Target
from bootwright.core.errors import InputError, RefusedError
from bootwright.core.secret import Secret
from bootwright.pki.certificate_store import CertificateSubject, issue
from bootwright.pki.certificates import ServerNames, server_names
from bootwright.pki.command import issued_certificate
from bootwright.pki.io.store import PkiStore
from bootwright.provision.desired_state import TlsFiles
from bootwright.provision.one_board import ProvisionOptions
from bootwright.provision.result import ProvisionResult
from tests.support.hostboard import GUEST_S, Board, wait_until

pytestmark = pytest.mark.emulator


@pytest.fixture
def board(provisioned: Board) -> Board:
    return provisioned


def names(result: ProvisionResult) -> set[str]:
    return {step.name for step in result.changed}


def test_a_fresh_board_becomes_a_hardened_docker_host(unlocked: Board) -> None:
    board = unlocked
    look = ProvisionOptions(dry_run=True, directory=board.known, wait=GUEST_S)
    plan = board.provision(options=look)
    assert plan.planned
    assert {"packages", "daemon", "audit"} <= names(plan)
    assert board.sh("command -v docker || echo none").strip() == "none"

    done = board.provision()
    assert done.error is None, done.error
    assert {"packages", "userns", "daemon", "audit"} <= names(done)
    assert "docker.service" in done.restarted
    assert done.versions["server"]
    assert done.versions["client"]
    assert not done.rolled_back
    assert {check for waiver in done.waived for check in waiver.checks} == {"2.12", "2.13"}


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
    wait_until(lambda: "/etc/default/docker" in board.sh("ausearch --input-logs -k docker || true"))


def test_what_cannot_start_is_refused_before_anything_changes(board: Board) -> None:
    with pytest.raises(RefusedError, match="v1 registry"):
        board.provision({"daemon": {"disable-legacy-registry": True}})
    with pytest.raises(RefusedError, match="image busybox:local") as error:
        board.provision({"daemon": {"userns-remap": ""}})
    assert "container old" in str(error.value)
    assert "--migrate-userns" in str(error.value)
    assert board.provision().changed == ()


def test_the_remote_api_listens_with_mutual_tls_only(board: Board, tmp_path: Path) -> None:
    pid = board.pid_of_old()
    api = "tcp://127.0.0.1:2376"
    target = Target(name="odroid", board="b", rootfs="r", hostname="odroid", docker=Docker(api=api))
    store, now = PkiStore(tmp_path / "pki"), datetime.now(UTC)
    made = issued_certificate(
        store, CertificateSubject("server", "odroid"), server_names(target), now
    )
    tls = TlsFiles(made.ca_pem, made.cert_pem, made.key_pem)
    client = issue(
        store.load(), CertificateSubject("client", "alice"), ServerNames(), now
    ).certificates
    pair = client.pairs[CertificateSubject("client", "alice")]
    assert pair.key is not None

    done = board.provision({"api": api}, tls=tls)
    assert done.error is None, done.error
    assert names(done) == {"tls", "daemon"}
    assert made.key_pem.reveal().decode() not in str(done.as_json())
    assert board.pid_of_old() == pid
    modes = board.sh("cd /etc/docker/tls && stat -c '%a %U:%G %n' *")
    assert modes.splitlines() == [
        "444 root:root ca.pem",
        "444 root:root server-cert.pem",
        "400 root:root server-key.pem",
    ]
    docker = f"docker -H {api} --tlsverify --tlscacert=/etc/docker/tls/ca.pem"
    assert "refused" in board.sh(f"{docker} version >/dev/null 2>&1 || echo refused")
    assert "refused" in board.sh(f"docker -H {api} version >/dev/null 2>&1 || echo refused")
    board.sh("umask 077; cat >/run/cert.pem", pair.certificate_pem())
    board.sh("umask 077; cat >/run/key.pem", pair.key.reveal())
    with_client = f"{docker} --tlscert=/run/cert.pem --tlskey=/run/key.pem"
    assert "old" in board.sh(f"{with_client} ps --format '{{{{.Names}}}}'")
    board.sh("docker ps")  # By the socket, as before.
    assert board.provision({"api": api}, tls=tls).changed == ()

    back = board.provision()
    assert back.error is None, back.error
    assert "hosts" not in board.daemon_json()
    assert "refused" in board.sh(f"{with_client} ps >/dev/null 2>&1 || echo refused")
    assert board.pid_of_old() == pid


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
    assert names(done) == {"reboot"}
    assert any("although it was restarted for it" in warning for warning in done.warnings)
    assert board.sh(boot) != before
    wait_until(lambda: "old" in board.sh("docker ps --format '{{.Names}}' || true"))
    board.sh("docker exec old /bin/busybox true; mountpoint /var/lib/docker")
    # It restarts only once.
    again = board.provision()
    assert (again.changed, again.restarted) == ((), ())


def test_user_namespaces_can_be_switched_off(board: Board) -> None:
    done = board.provision({"daemon": {"userns-remap": ""}}, migrate_userns=True)
    assert done.error is None, done.error
    assert board.sh("docker ps -aq; docker images -q").strip() == ""
    # Nothing is lost: the data is where Docker finds it if they are switched on again.
    assert "old" in board.sh("cat /var/lib/docker/*.*/containers/*/config.v2.json")
