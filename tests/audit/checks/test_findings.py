"""What passes the benchmark and is not safe, and what the benchmark does not see."""

from collections.abc import Mapping
from typing import Any

import pytest

from bootwright.audit.checks.findings import findings
from bootwright.audit.facts import AuditFacts
from bootwright.audit.inspected import ContainerMount
from bootwright.audit.model import Evaluation, Finding
from tests.support.auditcontainers import bind, container, restricted
from tests.support.auditfacts import (
    DAEMON_JSON,
    HARDENED_INFO,
    mute,
    path_mode,
    provisioned,
    stock,
    stopped,
    subject,
    with_api,
    without_docker,
)

PASS = Evaluation("pass", "")


def info(**different: Any) -> dict[str, Any]:
    return {"info": {**HARDENED_INFO, **different}}


def found(facts: AuditFacts, results: Mapping[str, Evaluation] | None = None) -> dict[str, Finding]:
    return {one.id: one for one in findings(subject(facts), results or {})}


def with_plugin(version: str) -> dict[str, Any]:
    return info(ServerVersion=version, Plugins={"Authorization": ["opa"]})


def volume(source: str) -> ContainerMount:
    return ContainerMount("volume", source, "/v", True, "")


def key(mode: int) -> dict[str, Any]:
    path = "/etc/docker/tls/server-key.pem"
    return {"tls": {"tlskey": path_mode(path, mode)}}


@pytest.mark.parametrize(
    "facts",
    [
        provisioned(content_trust="", containers=(restricted(),)),
        with_api(content_trust="", containers=(restricted(log_driver="syslog"),)),
        stock(),
        without_docker(),
        stopped(provisioned(content_trust="")),
        mute(provisioned(content_trust="")),
    ],
)
def test_boards_without_any_finding(facts: AuditFacts) -> None:
    assert found(facts) == {}


@pytest.mark.parametrize(
    ("facts", "name", "evidence"),
    [
        (provisioned(), "dead-content-trust", "notary.docker.io"),
        (provisioned(**info(LoggingDriver="none")), "no-logs", "the daemon's log driver is none"),
        (
            *(provisioned(containers=(restricted(log_driver="none"),)), "no-logs"),
            "log driver none: web",
        ),
        (provisioned(**with_plugin("20.10.24+dfsg1")), "authorization-bypass", "opa"),
        (provisioned(**with_plugin("29.3.0")), "authorization-bypass", "CVE-2026-34040"),
        (with_api(**key(0o440)), "readable-tls-key", "0440 root:root /etc/docker/tls/"),
        (with_api(**key(0o604)), "readable-tls-key", "0604"),
        (
            *(provisioned(flags=("dockerd", "-H", "tcp://0.0.0.0:2375")), "open-tcp-api"),
            "tcp://0.0.0.0:2375",
        ),
        (
            *(with_api(daemon_json={**DAEMON_JSON, "hosts": ["192.0.2.7:2376"], "tls": True}),),
            *("open-tcp-api", "192.0.2.7:2376"),
        ),
        (provisioned(listening=("[::]:2375",)), "open-tcp-api", "[::]:2375"),
        (
            provisioned(docker_group=("pi", "web")),
            "docker-group",
            "docker, or the group of its socket: pi, web",
        ),
        (
            provisioned(containers=(container(state="exited", privileged=True),)),
            *("dangerous-stopped-container", "web: privileged"),
        ),
        (
            provisioned(containers=(restricted(state="created", mounts=(bind("/run"),)),)),
            *("dangerous-stopped-container", "holds /run/docker.sock"),
        ),
        (
            provisioned(containers=(restricted(state="exited", mounts=(bind("/"),)),)),
            *("dangerous-stopped-container", "/ is writable"),
        ),
        (
            provisioned(containers=(restricted(userns_mode="host"),)),
            *("opts-out-of-userns", "--userns host: web"),
        ),
        (
            provisioned(**info(SecurityOptions=["name=seccomp,profile=unconfined"])),
            *("seccomp-off", "the daemon's seccomp profile is unconfined"),
        ),
        (provisioned(**info(SecurityOptions=[])), "seccomp-off", "the engine has no seccomp"),
        (
            provisioned(containers=(restricted(mounts=(bind("/var/lib/docker/"),)),)),
            *("powerful-mount", "/var/lib/docker is writable"),
        ),
        (
            provisioned(containers=(restricted(mounts=(bind("/root"),)),)),
            *("powerful-mount", "/root is writable"),
        ),
        *(
            (provisioned(containers=(restricted(mounts=(bind(path),)),)), "powerful-mount", message)
            for path, message in (
                ("/root/.ssh", "/root/.ssh is writable and contains or belongs to /root"),
                ("/home/pi/.ssh", "/home/pi/.ssh is writable and contains or belongs to .ssh"),
                ("/var/spool/cron/crontabs", "belongs to /var/spool/cron"),
                ("/mnt/docker-data", "belongs to /mnt/docker-data"),
                (
                    "/mnt/docker-data/var/lib/docker/containers",
                    "belongs to /mnt/docker-data/var",
                ),
                ("/var/lib/docker/165536.165536/containers", "belongs to /var/lib/docker/165536"),
                ("/var/lib/docker/165536.165536/volumes", "belongs to /var/lib/docker/165536"),
            )
        ),
        (
            provisioned(containers=(restricted(unconfined_paths=True),)),
            *("system-paths-open", "systempaths=unconfined: web"),
        ),
        (
            provisioned(containers=(restricted(state="exited", device_rules=("b *:* rw",)),)),
            *("any-device", "web: b *:* rw"),
        ),
        (with_api(containers=(restricted(log_driver="json-file"),)), "logs-stay-here", ": web"),
        (provisioned(daemons=2), "second-daemon", "2 dockerd processes"),
        (
            provisioned(containers=(restricted(health="unhealthy"),)),
            *("unhealthy-container", "unhealthy: web"),
        ),
        (
            provisioned(engine_owner=1000, **info(SecurityOptions=["name=rootless"])),
            *("rootless", "1000"),
        ),
    ],
)
def test_findings(facts: AuditFacts, name: str, evidence: str) -> None:
    finding = found(facts)[name]
    assert evidence in finding.evidence
    assert finding.title
    assert finding.remedy


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        (provisioned(content_trust="0"), "dead-content-trust"),
        (provisioned(**with_plugin("29.3.1")), "authorization-bypass"),
        (provisioned(**with_plugin("30.0.0")), "authorization-bypass"),
        (provisioned(**with_plugin("dev")), "authorization-bypass"),
        (with_api(), "readable-tls-key"),
        (with_api(), "open-tcp-api"),
        (provisioned(listening=("0.0.0.0:22375",)), "open-tcp-api"),
        (stock(containers=(restricted(userns_mode="host"),)), "opts-out-of-userns"),
        (
            *(provisioned(containers=(container(privileged=True),)),),
            "dangerous-stopped-container",
        ),
        (
            *(provisioned(containers=(restricted(state="exited", mounts=(bind("/srv"),)),)),),
            "dangerous-stopped-container",
        ),
        (
            *(provisioned(containers=(restricted(mounts=(bind("/home/pi/data"),)),)),),
            "powerful-mount",
        ),
        (
            provisioned(containers=(restricted(mounts=(bind("/root", writable=False),)),)),
            "powerful-mount",
        ),
        *(
            (
                *(provisioned(containers=(restricted(mounts=(volume(place),)),), **root),),
                "powerful-mount",
            )
            for place, root in (
                ("/var/lib/docker/165536.165536/volumes/v/_data", {}),
                ("/root/docker/volumes/v/_data", info(DockerRootDir="/root/docker")),
            )
        ),
        (with_api(containers=(restricted(log_driver="syslog"),)), "logs-stay-here"),
        # There is nowhere else.
        (provisioned(containers=(restricted(log_driver="json-file"),)), "logs-stay-here"),
        (provisioned(containers=(restricted(device_rules=("c 188:* rw",)),)), "any-device"),
        (
            provisioned(containers=(restricted(health="unhealthy", state="exited"),)),
            "unhealthy-container",
        ),
    ],
)
def test_boards_without_a_finding(facts: AuditFacts, name: str) -> None:
    assert name not in found(facts)


def test_a_finding_names_its_checks_that_pass() -> None:
    assert found(provisioned(), {"4.5": PASS})["dead-content-trust"].checks == ("4.5",)
    warned = {"4.5": Evaluation("warn", "")}
    assert found(provisioned(), warned)["dead-content-trust"].checks == ()
    key_results = {"3.13": PASS, "3.14": Evaluation("warn", ""), "4.5": PASS}
    assert found(with_api(**key(0o640)), key_results)["readable-tls-key"].checks == ("3.13",)


def test_a_finding_names_its_subjects() -> None:
    assert found(provisioned(docker_group=("pi", "web")))["docker-group"].subjects == ("pi", "web")
    crowd = tuple(restricted(name=f"c{n:04}", log_driver="none") for n in range(1000))
    mute_ones = found(provisioned(containers=crowd))["no-logs"]
    assert len(mute_ones.subjects) == 1000
    assert "c0019 and 980 more" in mute_ones.evidence


def test_logs_that_stay_pass_2_13() -> None:
    facts = with_api(containers=(restricted(log_driver="json-file"),))
    assert found(facts, {"2.13": PASS})["logs-stay-here"].checks == ("2.13",)
