"""What would keep the daemon from starting is found before anything is changed."""

from typing import Any

import pytest

from bootwright.hosts.file_modes import PathMode
from bootwright.provision.daemon_json import plan_daemon_json
from bootwright.provision.daemon_validation import DaemonConfig, cannot_start, flag_keys
from bootwright.provision.facts import HostFacts
from tests.support.host_facts import PROFILE, desired, engine, stock

ULIMIT = {"nofile": {"Name": "nofile", "Soft": 1024, "Hard": 4096}}


def problems_of(
    values: dict[str, Any],
    facts: HostFacts | None = None,
    version: str = "28.3.3",
    flags: tuple[str, ...] = ("/usr/bin/dockerd", "-H", "fd://"),
    **more: Any,
) -> list[str]:
    return cannot_start(PROFILE, DaemonConfig(values, version, flags, **more), facts or stock())


@pytest.mark.parametrize("version", ["20.10.24+dfsg1", "23.0.0", "26.1.5+dfsg1", "28.3.3", ""])
def test_the_profile_itself_starts_on_every_engine(version: str) -> None:
    made = plan_daemon_json(PROFILE, desired().target.docker, "", (), version)
    assert problems_of(dict(made.values), version=version) == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"disable-legacy-registry": True}, "v1 registry protocol"),
        ({"no-such-key": 1}, "no-such-key: no engine knows this key"),
        ({"icc": False, "iptables": False}, "icc = false needs iptables"),
        ({"icc": "false"}, 'icc: "false" is neither true nor false'),
        ({"log-level": "loud"}, "log-level: 'loud' is none of"),
        ({"log-driver": "jsonfile"}, "log-driver: 'jsonfile' is none of"),
        ({"log-driver": "local", "log-opts": {"max-sise": "1m"}}, "log-opts.max-sise"),
        ({"log-opts": {"max-file": 3}}, "log-opts.max-file: 3 is no text"),
        ({"storage-driver": "aufs"}, "storage-driver: aufs is gone since engine 24"),
        ({"storage-driver": "devicemapper"}, "devicemapper is gone since engine 25"),
        ({"storage-driver": "overlay3"}, "no engine has 'overlay3'"),
        ({"data-root": "/srv/docker"}, "not on the encrypted volume"),
        ({"hosts": ["fd://", "tcp://0.0.0.0:2375"]}, "without tlsverify"),
        ({"hosts": ["tcp://0.0.0.0:2376"], "tlsverify": True}, "would find no daemon"),
        ({"hosts": "fd://"}, "hosts: write a list"),
        ({"tlsverify": True, "tlskey": "/etc/docker/key.pem"}, "there is no /etc/docker/key.pem"),
        ({"pidfile": "/run/other.pid"}, "pidfile: the daemon is found by"),
        ({"seccomp-profile": "/etc/docker/none.json"}, "there is no /etc/docker/none.json"),
        ({"authorization-plugins": ["opa"]}, "authorization-plugins: opa does not run"),
        (
            {"userns-remap": "default", "features": {"containerd-snapshotter": True}},
            "does not start with features.containerd-snapshotter",
        ),
        ({"default-ulimits": {"nofile": 1024}}, "default-ulimits.nofile: write it like"),
        (
            {"default-ulimits": {"nofile": {"Name": "nofile", "Soft": 9, "Hard": 1}}},
            "soft limit 9 is above the hard limit 1",
        ),
    ],
)
def test_what_cannot_start_is_named(values: dict[str, Any], said: str) -> None:
    # With nothing in the way of the addresses but the file itself.
    found = problems_of(values, flags=("/usr/bin/dockerd",))
    assert len(found) == 1, found
    assert said in found[0]


@pytest.mark.parametrize(
    ("values", "different", "said"),
    [
        ({"userns-remap": "default"}, {"max_user_namespaces": None}, "CONFIG_USER_NS"),
        ({"userns-remap": "default"}, {"max_user_namespaces": 0}, "max_user_namespaces = 0"),
        (
            {"userns-remap": "default"},
            {"modes": {"/var/lib": PathMode("/var/lib", 0o750, "root:root", "directory")}},
            "others may not enter /var/lib",
        ),
        ({"live-restore": True}, {"engine": engine(swarm="active")}, "in a swarm"),
    ],
)
def test_what_the_board_lacks_is_named(
    values: dict[str, Any], different: dict[str, Any], said: str
) -> None:
    assert problems_of(values) == []
    found = problems_of(values, stock(**different))
    assert len(found) == 1, found
    assert said in found[0]


def test_a_key_is_judged_by_the_installed_engine() -> None:
    assert problems_of({"cdi-spec-dirs": []}) == []
    assert "came with 25" in problems_of({"cdi-spec-dirs": []}, version="24.0.7")[0]
    assert problems_of({"storage-driver": "devicemapper"}, version="23.0.1") == []


@pytest.mark.parametrize(
    "plugins", [("/run/docker/plugins/opa.sock",), ("/etc/docker/plugins/opa.spec",)]
)
def test_an_authorization_plugin_that_is_there(plugins: tuple[str, ...]) -> None:
    assert problems_of({"authorization-plugins": ["opa"]}, stock(plugins=plugins)) == []
    assert problems_of({"authorization-plugins": ["opa:latest"]}, stock(plugins=plugins)) == []
    managed = stock(engine=engine(authorization=("opa:latest",)))
    assert problems_of({"authorization-plugins": ["opa:latest"]}, managed) == []


def test_a_flag_and_a_key_for_the_same() -> None:
    flags = ("dockerd", "-H", "fd://", "--icc=true", "--log-opt", "tag=x", "-l=debug")
    assert flag_keys(flags) == ["hosts", "icc", "log-opts", "log-level"]
    found = problems_of({"icc": False, "log-level": "info"}, flags=flags)
    assert [line.partition(":")[0] for line in found] == ["icc", "log-level"]
    assert "DOCKER_OPTS" in found[0]
    assert "--config-file" in problems_of({}, flags=("dockerd", "--config-file=/srv/d.json"))[0]


@pytest.mark.parametrize(
    ("text", "sound"),
    [
        ('{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}', True),
        ("{", False),
        ("[]", False),
        ('{"defaultAction": "deny"}', False),
        ("{}", False),
    ],
)
def test_the_targets_own_seccomp_profile(text: str, sound: bool) -> None:
    path = "/etc/docker/seccomp.json"
    values = {"seccomp-profile": path}
    found = problems_of(values, seccomp=text, files=frozenset({path}))
    assert (found == []) == sound
