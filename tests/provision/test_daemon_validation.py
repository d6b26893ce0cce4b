"""What would keep the daemon from starting is found before anything is changed."""

from typing import Any

import pytest

from bootwright.hosts.file_modes import PathMode
from bootwright.provision.daemon_json import plan_daemon_json
from bootwright.provision.daemon_validation import DaemonConfig, cannot_start
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
        ({"mtu": "1400"}, 'mtu: "1400" is no whole number'),
        ({"mtu": True}, "mtu: true is no whole number"),
        ({"shutdown-timeout": 1.5}, "shutdown-timeout: 1.5 is no whole number"),
        ({"bip": 10}, "bip: 10 is no text"),
        ({"dns": "192.0.2.1"}, 'dns: "192.0.2.1" is no list of texts'),
        ({"labels": ["a=b", 1]}, "is no list of texts"),
        ({"authorization-plugins": 5}, "authorization-plugins: 5 is no list of texts"),
        ({"log-opts": ["tag=x"]}, 'log-opts: ["tag=x"] is no table'),
        ({"features": {"buildkit": "true"}}, 'features.buildkit: "true" is neither'),
        ({"log-level": "loud"}, "log-level: 'loud' is none of"),
        ({"log-driver": "jsonfile"}, "log-driver: 'jsonfile' is none of"),
        ({"log-driver": "local", "log-opts": {"max-sise": "1m"}}, "log-opts.max-sise"),
        ({"log-opts": {"max-file": 3}}, "log-opts.max-file: 3 is no text"),
        ({"storage-driver": "aufs"}, "storage-driver: aufs is gone since engine 24"),
        ({"storage-driver": "devicemapper"}, "devicemapper is gone since engine 25"),
        ({"storage-driver": "overlay3"}, "no engine has 'overlay3'"),
        ({"data-root": "/srv/docker"}, "data-root: /srv/docker is not on the encrypted volume"),
        ({"hosts": ["unix:///run/docker.sock", "192.0.2.7:2375"]}, "192.0.2.7:2375 without tls"),
        ({"userns-remap": "nobody-here"}, "the board has no user nobody-here"),
        ({"userns-remap": "4711:4711"}, "the board has no user 4711"),
        ({"userns-remap": "default:staff"}, "the board has no group staff"),
        ({"hosts": ["fd://", "tcp://0.0.0.0:2375"]}, "without tlsverify"),
        ({"hosts": ["tcp://0.0.0.0:2376"], "tlsverify": True}, "would find no daemon"),
        ({"hosts": "fd://"}, 'hosts: "fd://" is no list of texts'),
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


def test_a_key_is_checked_for_the_installed_engine() -> None:
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
    found = problems_of({"icc": False, "log-level": "info"}, flags=flags)
    assert [line.partition(":")[0] for line in found] == ["icc", "log-level"]
    assert "DOCKER_OPTS" in found[0]
    assert "--config-file" in problems_of({}, flags=("dockerd", "--config-file=/srv/d.json"))[0]


@pytest.mark.parametrize(
    "flags",
    [
        ("--data-root", "/srv/docker"),
        ("--data-root=/srv/docker",),
        ("-g", "/srv/docker"),
        ("-g/srv/docker",),
        ("--graph", "/srv/docker"),
        ("--graph=/srv/docker",),
        ("--icc", "--data-root=/srv/docker"),
    ],
)
def test_docker_data_beside_the_volume_is_refused_for_flags(flags: tuple[str, ...]) -> None:
    found = problems_of({}, flags=("dockerd", "-H", "fd://", *flags))
    assert len(found) == 1, found
    assert "data-root, a flag of the daemon: /srv/docker is not on the encrypted volume" in found[0]


def test_docker_data_beside_the_volume_is_refused_for_the_former_key_and_for_what_runs() -> None:
    found = problems_of({"graph": "/srv/docker"}, version="20.10.24")
    assert found == [f"graph: /srv/docker {ELSEWHERE}"]
    moved = stock(engine=engine(root_dir="/srv/docker/165536.165536"))
    assert problems_of({}, moved) == [
        "data-root: the running daemon has its data in /srv/docker/165536.165536, which"
        f" {ELSEWHERE}"
    ]
    remapped = stock(engine=engine(root_dir="/var/lib/docker/165536.165536"))
    assert problems_of({"data-root": "/var/lib/docker/"}, remapped) == []


ELSEWHERE = "is not on the encrypted volume; only /var/lib/docker is mounted from it"


@pytest.mark.parametrize(
    "flags",
    [
        ("-H", "tcp://0.0.0.0:2375"),
        ("-Htcp://0.0.0.0:2375",),
        ("-H=tcp://0.0.0.0:2375",),
        ("-DHtcp://0.0.0.0:2375",),
        ("--host=tcp://0.0.0.0:2375",),
        ("--host", "tcp://0.0.0.0:2375"),
        ("-H", "0.0.0.0:2375"),
        ("-H", ":2375"),
        ("-H", "tcp://0.0.0.0:2376", "--tls"),
        ("-H", "tcp://0.0.0.0:2376", "--tlsverify=false"),
    ],
)
def test_an_open_api_is_refused_for_flags(flags: tuple[str, ...]) -> None:
    found = problems_of({}, flags=("dockerd", "-H", "fd://", *flags))
    assert len(found) == 1, found
    assert "without tlsverify would give root on the board" in found[0]


def test_an_api_with_certificates_on_both_sides_is_accepted_for_flags() -> None:
    tls = ("--tlsverify", "--tlscacert=/etc/docker/ca.pem", "--tlscert", "/etc/docker/c.pem")
    flags = ("dockerd", "-H", "fd://", "-H", "tcp://0.0.0.0:2376", *tls)
    assert problems_of({}, flags=flags) == []
    assert "would find no daemon" in problems_of({}, flags=("dockerd", *flags[3:]))[0]


@pytest.mark.parametrize(
    "host", ["fd://", "unix:///var/run/docker.sock", "unix:///run/docker.sock", "unix://", ""]
)
def test_the_default_socket_by_each_of_its_names(host: str) -> None:
    values = {"hosts": [host, "tcp://127.0.0.1:2376"], "tlsverify": True}
    assert problems_of(values, flags=("dockerd",)) == []


def test_null_counts_as_no_value() -> None:
    assert problems_of({"icc": None, "hosts": None, "authorization-plugins": None}) == []


def test_user_namespaces_with_an_account_of_ones_own() -> None:
    ranges = {"/etc/subuid": "mia:100000:65536\n", "/etc/subgid": "mia:100000:65536\n"}
    ready = stock(ranges, groups={"mia": 1000, "staff": 50})
    for remap in ("mia", "1000", "mia:mia", "1000:50", "mia:staff"):
        assert problems_of({"userns-remap": remap}, ready) == []
    assert "no group 51" in problems_of({"userns-remap": "1000:51"}, ready)[0]
    assert "no group staff" in problems_of({"userns-remap": "mia:staff"}, stock(ranges))[0]
    found = problems_of({"userns-remap": "mia"}, stock(groups={"mia": 1000}))
    assert [line.split()[1] for line in found] == ["/etc/subuid", "/etc/subgid"]


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
