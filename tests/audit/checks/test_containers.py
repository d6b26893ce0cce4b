"""Section 5: the containers that run, each evaluated by how it was started."""

import json
from typing import Any

import pytest

from bootwright.audit.checks import images, swarm
from bootwright.audit.checks.containers import EVALUATORS
from bootwright.audit.facts import AuditFacts
from bootwright.audit.inspected import Container, ContainerMount, Port
from bootwright.audit.model import Evaluation
from tests.support.auditcontainers import bind, container, image, restricted
from tests.support.auditfacts import (
    HARDENED_INFO,
    mute,
    provisioned,
    stock,
    stopped,
    subject,
    without_docker,
)
from tests.support.recorded_bench import recorded

SECTION = [f"5.{number}" for number in range(1, 33)]
ALL = {**images.EVALUATORS, **EVALUATORS, **swarm.EVALUATORS}
ROOTLESS = {"engine_owner": 1000}
SELINUX = {
    "selinux": True,
    "info": {**HARDENED_INFO, "SecurityOptions": ["name=selinux", "name=seccomp,profile=default"]},
}


DENIES = '{"defaultAction":"SCMP_ACT_ERRNO"}'


def seccomp(default: str, *rules: tuple[str, ...]) -> str:
    """Return an option with a profile of a default action, and rules: an action and its calls."""
    syscalls = [{"action": f"SCMP_ACT_{action}", "names": names} for action, *names in rules]
    profile = {"defaultAction": f"SCMP_ACT_{default}", "syscalls": syscalls}
    return f"seccomp={json.dumps(profile)}"


def info(**different: Any) -> dict[str, Any]:
    return {"info": {**HARDENED_INFO, **different}}


def evaluate(check: str, *containers: Container, **facts: Any) -> Evaluation:
    return EVALUATORS[check](subject(provisioned(containers=containers, **facts)))


def test_the_whole_section_is_evaluated() -> None:
    assert list(EVALUATORS) == SECTION


# Differences from the recorded run of docker-bench on the same board.
def test_a_plain_container_is_evaluated_as_by_docker_bench() -> None:
    plain = container(name="my_container")
    facts = subject(stock(containers=(plain,), images=(image(),)))
    found = {check: evaluator(facts).result for check, evaluator in ALL.items()}
    assert found == {check: result for check, result in recorded("stock").items() if check in ALL}


def test_a_restricted_container_passes_all_but_selinux_and_its_port() -> None:
    held = restricted(name="my_container")
    facts = subject(provisioned(containers=(held,), images=(image(healthcheck=True),)))
    found = {check: evaluator(facts).result for check, evaluator in ALL.items()}
    expected = {check: result for check, result in recorded("hardened").items() if check in ALL}
    # docker-bench takes no-new-privileges for an option of SELinux.
    assert found == {**expected, "5.3": "warn"}
    assert [check for check, result in found.items() if result == "warn"] == ["5.3", "5.9"]


@pytest.mark.parametrize(
    ("check", "different", "evidence"),
    [
        ("5.2", {"apparmor": ""}, "no AppArmor profile"),
        ("5.2", {"apparmor": "unconfined"}, "AppArmor: unconfined"),
        ("5.4", {"cap_add": ("NET_ADMIN",)}, "it adds NET_ADMIN"),
        ("5.4", {"cap_add": ("CAP_SYS_ADMIN", "chown")}, "it adds SYS_ADMIN"),
        ("5.4", {"cap_add": ("cap_sys_ptrace",)}, "it adds SYS_PTRACE"),
        ("5.4", {"cap_add": ("all",)}, "it adds ALL"),
        ("5.4", {"privileged": True}, "privileged: it has all capabilities"),
        ("5.5", {"privileged": True}, "privileged"),
        ("5.6", {"mounts": (bind("/"),)}, "/ is writable"),
        ("5.6", {"mounts": (bind("/", writable=False),)}, "/ is readable"),
        ("5.6", {"mounts": (bind("/proc", writable=False),)}, "/proc is readable"),
        ("5.6", {"mounts": (bind("/sys", writable=False),)}, "/sys is readable"),
        ("5.6", {"mounts": (bind("/etc/"),)}, "/etc is writable"),
        ("5.6", {"mounts": (bind("//etc"),)}, "/etc is writable"),
        ("5.6", {"mounts": (bind("/srv/../etc"),)}, "/etc is writable"),
        ("5.6", {"mounts": (bind("/etc/cron.d"),)}, "/etc/cron.d is writable"),
        ("5.6", {"mounts": (bind("/dev/mmcblk0"),)}, "/dev/mmcblk0 is writable"),
        ("5.6", {"mounts": (bind("/bin"),)}, "/usr/bin is writable"),
        (
            "5.6",
            {"mounts": (ContainerMount("volume", "/etc", "/x", True, ""),)},
            "/etc is writable",
        ),
        ("5.8", {"ports": (Port("80/tcp", "192.0.2.7", 80),)}, "privileged ports 192.0.2.7:80"),
        ("5.8", {"ports": (Port("80/tcp", "::", 1023),)}, "privileged ports [::]:1023"),
        ("5.8", {"network_mode": "host", "ports": ()}, "every port it opens is the board's"),
        ("5.9", {"network_mode": "host", "ports": ()}, "every port it opens is the board's"),
        ("5.10", {"network_mode": "host"}, "network: the host's"),
        ("5.11", {"memory": 0}, "memory is not limited"),
        ("5.12", {"cpu_shares": 0}, "the CPU is not limited"),
        ("5.12", {"cpu_shares": 1024}, "1024 CPU shares, as every container has"),
        ("5.13", {"readonly": False}, "its root file system is writable"),
        ("5.14", {"ports": (Port("80/tcp", "", 8080),)}, "on every address: *:8080"),
        ("5.14", {"ports": (Port("80/tcp", "0.0.0.0", 8080),)}, "on every address: 0.0.0.0:8080"),
        ("5.14", {"ports": (Port("80/tcp", "::", 8080),)}, "on every address: [::]:8080"),
        ("5.14", {"network_mode": "host", "ports": ()}, "every port it opens is the board's"),
        (
            *("5.14", {"ports": (Port("80/tcp", "::ffff:0.0.0.0", 8080),)}),
            "on every address: [::ffff:0.0.0.0]:8080",
        ),
        ("5.15", {"restart": ("always", 0)}, "always, without limit"),
        ("5.15", {"restart": ("unless-stopped", 0)}, "unless-stopped, without limit"),
        ("5.15", {"restart": ("on-failure", 0)}, "on-failure, without limit"),
        ("5.15", {"restart": ("on-failure", 6)}, "on-failure, 6 times"),
        ("5.16", {"pid_mode": "host"}, "processes: the host's"),
        ("5.17", {"ipc_mode": "host"}, "IPC: the host's"),
        ("5.21", {"uts_mode": "host"}, "host name: the host's"),
        ("5.18", {"device_rules": ("a *:* rwm",)}, "any device, by the rule a *:* rwm"),
        ("5.18", {"device_rules": ("c 1:3 r", "b *:* r"), "privileged": True}, "the rule b *:* r"),
        (
            "5.20",
            {"mounts": (ContainerMount("bind", "/srv", "/x", False, "shared"),)},
            "/x is shared",
        ),
        (
            "5.20",
            {"mounts": (ContainerMount("bind", "/srv", "/x", False, "rshared"),)},
            "/x is rshared",
        ),
        ("5.22", {"security": ("seccomp=unconfined",)}, "seccomp=unconfined"),
        ("5.22", {"security": ("seccomp:unconfined",)}, "seccomp=unconfined"),
        ("5.22", {"privileged": True}, "privileged, which switches seccomp off"),
        # runc takes this for no profile at all.
        ("5.22", {"security": ("seccomp={}",)}, "denies nothing"),
        ("5.22", {"security": (seccomp("ALLOW"),)}, "denies nothing"),
        ("5.22", {"security": (seccomp("LOG", ("ALLOW", "read")),)}, "denies nothing"),
        ("5.22", {"security": (seccomp("ALLOW", ("ERRNO",)),)}, "denies nothing"),
        ("5.25", {"cgroup_parent": "/mine"}, "cgroup parent /mine"),
        *(
            ("5.26", {"security": security, "no_new_privileges": known}, evidence)
            for security, known, evidence in (
                (("no-new-privileges=false",), False, "no-new-privileges=false"),
                (("no-new-privileges:0",), None, "no-new-privileges=0"),
                # Older than the daemon's default, which it never got.
                ((), False, "created without no-new-privileges"),
            )
        ),
        ("5.27", {"health": None}, "no health check"),
        ("5.27", {"health": "none"}, "no health check"),
        ("5.29", {"pids_limit": None}, "processes are not limited"),
        ("5.29", {"pids_limit": 0}, "processes are not limited"),
        ("5.29", {"pids_limit": -1}, "processes are not limited"),
        ("5.29", {"pids_limit": 2**40}, "more than any kernel"),
        ("5.31", {"userns_mode": "host"}, "users: the host's"),
        ("5.32", {"mounts": (bind("/run/docker.sock"),)}, "/run/docker.sock is mounted"),
        ("5.32", {"mounts": (bind("/var/run/docker.sock", writable=False),)}, "is mounted at"),
        ("5.32", {"mounts": (bind("/run/containerd/containerd.sock"),)}, "containerd.sock is"),
        ("5.32", {"mounts": (bind("/var/run"),)}, "which holds /run/docker.sock"),
        ("5.32", {"mounts": (bind("/run/"),)}, "which holds /run/docker.sock"),
        ("5.32", {"mounts": (bind("/"),)}, "which holds /run/docker.sock"),
        ("5.32", {"mounts": (bind("/run/containerd"),)}, "holds /run/containerd/containerd.sock"),
        ("5.32", {"mounts": (bind("/srv/p.sock", "/var/run/docker.sock"),)}, "is mounted as"),
    ],
)
def test_containers_that_warn(check: str, different: dict[str, Any], evidence: str) -> None:
    found = evaluate(check, restricted(name="good"), restricted(**different))
    assert found.result == "warn"
    bad = {item.subject: item for item in found.items}["web"]
    assert (bad.result, evidence in bad.evidence) == ("warn", True), bad.evidence
    assert "web" in found.evidence


@pytest.mark.parametrize(
    ("check", "different"),
    [
        ("5.4", {"cap_add": ("chown", "CAP_NET_RAW")}),
        ("5.6", {"mounts": (bind("/srv/data"), bind("/etcetera"), bind("/etc", writable=False))}),
        ("5.6", {"mounts": (ContainerMount("tmpfs", "", "/etc", True, ""),)}),
        ("5.8", {"ports": (Port("80/tcp", "192.0.2.7", 1024),)}),
        ("5.12", {"cpu_shares": 0, "nano_cpus": 500_000_000}),
        ("5.12", {"cpu_shares": 0, "cpu_quota": 50_000}),
        ("5.14", {"ports": (Port("80/tcp", "fd00::7", 8080),)}),
        ("5.15", {"restart": ("on-failure", 1)}),
        ("5.15", {"restart": ("no", 0)}),
        ("5.17", {"ipc_mode": "shareable"}),
        ("5.20", {"mounts": (ContainerMount("bind", "/srv", "/x", True, "rslave"),)}),
        ("5.22", {"security": (f"seccomp={DENIES}",)}),
        ("5.22", {"security": ("seccomp=builtin",)}),
        ("5.22", {"security": (seccomp("ALLOW", ("ERRNO", "kexec_load")),)}),
        ("5.26", {"security": ("no-new-privileges",), "no_new_privileges": None}),
        ("5.26", {"security": ("no-new-privileges=false", "no-new-privileges=true")}),
        ("5.26", {"security": ()}),
        ("5.27", {"health": "unhealthy"}),
        ("5.32", {"mounts": (bind("/run/lock"), bind("/srv/docker.sock.d"))}),
    ],
)
def test_containers_that_pass(check: str, different: dict[str, Any]) -> None:
    found = evaluate(check, restricted(**different))
    assert found.result == "pass", found


@pytest.mark.parametrize(
    ("check", "different", "facts", "result", "evidence"),
    [
        ("5.2", {}, {"lsm": ("capability", "yama")}, "warn", "off in the board's kernel"),
        ("5.2", {}, {"lsm": ()}, "pass", ""),
        ("5.3", {"security": ("label=type:mine_t",)}, {}, "warn", "not in enforcing mode"),
        ("5.3", {}, {"selinux": True}, "warn", "selinux-enabled"),
        ("5.3", {}, SELINUX, "pass", ""),
        ("5.3", {"security": ("label=type:mine_t",)}, SELINUX, "pass", ""),
        ("5.3", {"security": ("label=disable",)}, SELINUX, "warn", "label=disable"),
        ("5.3", {"security": ("label:disable",)}, SELINUX, "warn", "label=disable"),
        ("5.3", {"security": ("disable",)}, SELINUX, "warn", "label=disable"),
        ("5.3", {"security": ("label=type:spc_t",)}, SELINUX, "warn", "spc_t"),
        ("5.3", {"privileged": True}, SELINUX, "warn", "privileged"),
        ("5.7", {}, {"sshd_containers": frozenset(["a" * 64])}, "warn", "sshd runs in it"),
        ("5.7", {}, {"sshd_containers": frozenset(["c" * 64])}, "pass", ""),
        ("5.7", {}, {"root": False}, "skipped", "only root"),
        ("5.11", {}, info(MemoryLimit=False), "warn", "kernel does not limit memory"),
        ("5.11", {"memory": 2**60}, info(MemTotal=2**31), "warn", "the board's 2048 MiB"),
        ("5.11", {"memory": 2**30}, info(MemTotal=2**31), "pass", ""),
        *(
            ("5.12", {"cpu_shares": 0, **different}, info(NCPU=4), result, "")
            for different, result in (
                ({"nano_cpus": 5 * 10**9}, "warn"),
                ({"nano_cpus": 4 * 10**9}, "pass"),
                ({"cpu_quota": 10**12}, "warn"),
                ({"cpu_quota": 400_000}, "pass"),
                ({"cpu_quota": 400_000, "cpu_period": 50_000}, "warn"),
                ({"cpu_quota": 10**12, "cpu_shares": 512}, "pass"),
            )
        ),
        ("5.12", {}, info(CPUShares=False), "warn", "kernel does not limit the CPU"),
        ("5.12", {"nano_cpus": 1}, info(CpuCfsQuota=False, CPUShares=False), "warn", "kernel"),
        ("5.29", {}, info(PidsLimit=False), "warn", "kernel does not limit processes"),
        (
            *("5.22", {}, info(SecurityOptions=["name=seccomp,profile=unconfined"])),
            *("warn", "the daemon's seccomp profile is unconfined"),
        ),
        (
            *("5.22", {"security": (f"seccomp={DENIES}",)}),
            *(info(SecurityOptions=["name=seccomp,profile=unconfined"]), "pass", ""),
        ),
        ("5.22", {}, info(SecurityOptions=["name=apparmor"]), "warn", "the engine has no seccomp"),
        ("5.22", {"security": ("seccomp=x",)}, {}, "skipped", "is not understood"),
        ("5.22", {"security": ("seccomp=" + "[" * 9999,)}, {}, "skipped", "is not understood"),
        (
            *("5.22", {}, info(SecurityOptions=["name=seccomp,profile=/tmp/mine.json"])),
            *("skipped", "the daemon's profile /tmp/mine.json"),
        ),
        *(
            (check, {"ports": ()}, info(Swarm={"LocalNodeState": "active"}), "skipped", "services")
            for check in ("5.8", "5.9", "5.14")
        ),
        (
            *("5.22", {"security": (f"seccomp={DENIES}",)}),
            *(info(SecurityOptions=["name=apparmor"]), "warn", "the engine has no seccomp"),
        ),
        ("5.26", {"security": (), "no_new_privileges": None}, {}, "skipped", "are not known"),
        ("5.26", {"security": (), "no_new_privileges": False}, {}, "warn", "today's default"),
        ("5.26", {"security": ()}, {"daemon_json": {}}, "pass", ""),
        (
            *("5.32", {"mounts": (bind("/run/user/1000"),)}, ROOTLESS),
            *("warn", "holds /run/user/1000/docker.sock"),
        ),
        (
            *("5.32", {"mounts": (bind("/srv/api"),)}),
            *({"flags": ("dockerd", "-H", "unix:///srv/api/d.sock")}, "warn", "/srv/api/d.sock"),
        ),
    ],
)
def test_facts_about_the_board_and_the_daemon_change_results(
    check: str, different: dict[str, Any], facts: dict[str, Any], result: str, evidence: str
) -> None:
    found = evaluate(check, restricted(**different), **facts)
    assert found.result == result, found
    assert evidence in found.evidence


@pytest.mark.parametrize(
    ("check", "different", "result"),
    [
        ("5.18", {"devices": ("/dev/ttyUSB0",)}, "info"),
        ("5.18", {"privileged": True}, "info"),
        ("5.18", {"device_rules": ("c 188:* rw",)}, "info"),
        ("5.18", {"device_requests": 1}, "info"),
        ("5.18", {}, "pass"),
        ("5.19", {"ulimits": ()}, "info"),
        ("5.23", {}, "manual"),
        ("5.24", {}, "manual"),
        ("5.28", {}, "info"),
        ("5.30", {"networks": ("bridge", "inside")}, "info"),
        ("5.30", {"networks": ("host",), "network_mode": "host"}, "info"),
        ("5.30", {"networks": ("inside",), "network_mode": "default"}, "pass"),
    ],
)
def test_containers_that_do_not_warn(check: str, different: dict[str, Any], result: str) -> None:
    assert evaluate(check, restricted(**different)).result == result


def test_a_service_in_a_swarm_publishes_ports_without_a_container_here() -> None:
    found = evaluate("5.14", **info(Swarm={"LocalNodeState": "active"}))
    assert found.result == "skipped"
    assert (
        evaluate("5.14", container(), **info(Swarm={"LocalNodeState": "active"})).result == "warn"
    )


def test_the_evidence_mentions_missing_user_remapping() -> None:
    found = EVALUATORS["5.31"](subject(stock(containers=(restricted(),))))
    assert found.result == "pass"
    assert "the daemon remaps no users (2.9)" in found.items[0].evidence


@pytest.mark.parametrize(
    ("state", "result"),
    [("inactive", "pass"), ("active", "warn"), ("locked", "warn"), ("", "skipped")],
)
def test_swarm_mode_is_off(state: str, result: str) -> None:
    assert evaluate("5.1", **info(Swarm={"LocalNodeState": state})).result == result


@pytest.mark.parametrize("check", [check for check in SECTION if check != "5.1"])
def test_stopped_containers_are_not_evaluated(check: str) -> None:
    done = container(state="exited", privileged=True)
    assert evaluate(check, done) == Evaluation("info", "no container runs")


@pytest.mark.parametrize("check", SECTION)
@pytest.mark.parametrize(
    ("facts", "cause"),
    [
        (without_docker(), "Docker is not installed"),
        (stopped(provisioned()), "the daemon does not run"),
        (mute(provisioned()), "no answer within 60 s"),
    ],
)
def test_unknown_facts_are_skipped(check: str, facts: AuditFacts, cause: str) -> None:
    found = EVALUATORS[check](subject(facts))
    assert found.result == "skipped"
    assert cause in found.evidence


def test_unknown_containers_never_pass() -> None:
    facts = subject(provisioned(containers=None, troubles={"containers": "no answer within 60 s"}))
    assert EVALUATORS["5.5"](facts) == Evaluation(
        "skipped", "docker did not report it: no answer within 60 s"
    )
