"""Section 2 of an audit: the settings of the daemon, and the values that it reports."""

from collections.abc import Mapping
from typing import Any

import pytest

from bootwright.audit.checks.daemon import EVALUATORS
from bootwright.audit.checks.settings import configured
from bootwright.audit.facts import AuditFacts
from bootwright.audit.model import CheckResult, Evaluation
from bootwright.hosts.systemd_units import HostUnit
from tests.support.auditfacts import (
    DAEMON_JSON,
    FLAGS,
    HARDENED_INFO,
    RELAY,
    bridge,
    mute,
    provisioned,
    stock,
    stopped,
    subject,
    with_api,
)


def evaluate(check: str, facts: AuditFacts) -> Evaluation:
    return EVALUATORS[check](subject(facts))


def board(
    values: Mapping[str, Any] | None = None,
    flags: tuple[str, ...] = (),
    info: Mapping[str, Any] | None = None,
    **different: Any,
) -> AuditFacts:
    """Return a provisioned board with other values, more flags, or other answers."""
    return provisioned(
        daemon_json={**DAEMON_JSON, **(values or {})},
        flags=(*FLAGS, *flags),
        info={**HARDENED_INFO, **(info or {})},
        **different,
    )


def test_flags_override_the_file_and_the_file_overrides_defaults() -> None:
    facts = board({"icc": False}, flags=("--icc=false", "--icc=true"))
    assert str(configured(facts, "icc")) == "icc = true (command line)"
    assert str(configured(board({"icc": False}), "icc")) == "icc = false (daemon.json)"
    assert str(configured(stock(), "icc")) == "icc = true (default)"
    options = configured(board(flags=("--log-opt", "tag=a=b", "--log-opt=mode=x")), "log-opts")
    assert options.value == {"tag": "a=b", "mode": "x"}


def mirror(address: str, index: str = "") -> dict[str, Any]:
    """Return the output of ``docker info`` if a registry has a mirror."""
    mirrors = {"Mirrors": [address]}
    return {"RegistryConfig": {"IndexConfigs": {index: mirrors}} if index else mirrors}


CASES: list[tuple[str, AuditFacts, CheckResult, str]] = [
    ("2.1", board(engine_owner=1000), "pass", "id 1000"),
    ("2.1", stopped(provisioned()), "skipped", "does not run"),
    ("2.2", board({"icc": True}), "pass", "icc = true (daemon.json) takes effect after a restart"),
    (
        "2.2",
        board(networks=(bridge(icc=True),)),
        "warn",
        "icc = true (network bridge); icc = false (daemon.json) takes effect after a restart",
    ),
    ("2.2", board(networks=()), "skipped", "icc = false (daemon.json)"),
    ("2.2", board({"icc": True}, networks=None), "warn", "icc = true (daemon.json)"),
    ("2.3", board({"log-level": "debug"}), "warn", 'log-level = "debug" (daemon.json)'),
    ("2.3", board(flags=("-l", "fatal")), "warn", 'log-level = "fatal" (command line)'),
    ("2.3", board(flags=("-l", "INFO")), "pass", "INFO"),
    ("2.3", board({"debug": True}, info={"Debug": True}), "warn", "debug = true (docker info)"),
    ("2.3", board({"debug": True}), "pass", ""),
    ("2.4", board(flags=("--iptables=0",)), "warn", "iptables = false (command line)"),
    ("2.4", board({"iptables": False}), "warn", "iptables = false (daemon.json)"),
    (
        "2.5",
        board(info={"RegistryConfig": {"InsecureRegistryCIDRs": ["127.0.0.0/8", "::1/128"]}}),
        "pass",
        "[]",
    ),
    (
        "2.5",
        board(info={"RegistryConfig": {"InsecureRegistryCIDRs": ["10.0.0.0/8"]}}),
        "warn",
        "10.0.0.0/8",
    ),
    (
        "2.5",
        board(info={"RegistryConfig": {"IndexConfigs": {"r:5000": {"Secure": False}}}}),
        "warn",
        "r:5000",
    ),
    ("2.5", board({"insecure-registries": ["r:5000"]}), "pass", "takes effect after a restart"),
    ("2.5", board(info=mirror("http://10.0.0.1:5000/")), "warn", "http://10.0.0.1:5000"),
    ("2.5", board(info=mirror("HTTP://r.example", "docker.io")), "warn", "HTTP://r.example"),
    ("2.5", board(info=mirror("http://127.0.0.1:5000/")), "pass", "[]"),
    ("2.5", board(info=mirror("https://r.example/")), "pass", "[]"),
    ("2.5", board({"registry-mirrors": ["http://r"]}), "pass", "registry-mirrors = ["),
    ("2.5", board({"registry-mirrors": ["http://r"]}, info={"RegistryConfig": 0}), "warn", "//r"),
    ("2.6", board(info={"Driver": "aufs"}), "warn", "storage-driver = aufs"),
    ("2.6", board({"storage-driver": "aufs"}), "pass", "takes effect after a restart"),
    ("2.7", with_api(), "pass", "tcp://192.0.2.7:2376; tlsverify = true (daemon.json)"),
    ("2.7", board({"hosts": ["unix:///run/docker.sock"]}, info={}), "info", "no TCP address"),
    ("2.7", board(flags=("-H", "tcp://0.0.0.0:2375")), "warn", "without TLS"),
    ("2.7", board(flags=("-H", "0.0.0.0:2375")), "warn", "without TLS"),
    ("2.7", board({"tls": True}, flags=("-H", "tcp://127.0.0.1:2376")), "warn", "without client"),
    ("2.7", board({"tlsverify": False}, flags=("-H", ":2376")), "warn", "tlsverify = false"),
    (
        "2.7",
        board({"tlsverify": True}, flags=("-H", ":2376", "--tlsverify=false")),
        "warn",
        "command line",
    ),
    # In another form than the engine takes.
    ("2.7", board({"tlsverify": "yes"}, flags=("-H", ":2376")), "warn", "without client"),
    # docker.socket listens on TCP, which is neither in a flag nor in the file.
    ("2.7", board(listening=("0.0.0.0:22", "[::]:2375")), "warn", "[::]:2375 without TLS"),
    ("2.8", board({"default-ulimits": {}}), "info", "default-ulimits = {}"),
    ("2.8", stock(flags=(*FLAGS, "--default-ulimit", "nofile=1024:65536")), "pass", "nofile"),
    (
        "2.9",
        board(info={"SecurityOptions": ["name=seccomp,profile=default"]}),
        "warn",
        'userns-remap = "default" (daemon.json) takes effect',
    ),
    (
        "2.9",
        stock(info={**HARDENED_INFO, "SecurityOptions": ["name=rootless"]}),
        "pass",
        "rootless",
    ),
    ("2.10", board({"cgroup-parent": "/mine"}), "warn", "/mine"),
    ("2.10", board({"cgroup-parent": "system.slice"}), "pass", "system.slice"),
    ("2.11", board({"storage-opts": ["dm.basesize=20G"]}), "warn", "dm.basesize"),
    # moby reads it in lower case.
    ("2.11", board({"storage-opts": ["DM.BaseSize=20G"]}), "warn", "DM.BaseSize"),
    ("2.11", board({"storage-opts": ["overlay2.size=1G"]}), "pass", "overlay2.size"),
    ("2.12", board(info={"Plugins": {"Authorization": ["opa"]}}), "pass", "opa"),
    ("2.12", board({"authorization-plugins": ["opa"]}), "warn", "takes effect after a restart"),
    ("2.14", board({"no-new-privileges": False}), "warn", "no-new-privileges = false"),
    ("2.14", board(flags=("--no-new-privileges=false",)), "warn", "command line"),
    (
        "2.14",
        board(info={"ServerVersion": "28.3.3"}),
        "warn",
        "no name=no-new-privileges (docker info); no-new-privileges = true (daemon.json)",
    ),
    (
        "2.15",
        board(info={"LiveRestoreEnabled": False}),
        "warn",
        "live-restore = true (daemon.json) takes effect",
    ),
    (
        "2.15",
        board(info={"LiveRestoreEnabled": False, "Swarm": {"LocalNodeState": "active"}}),
        "info",
        "swarm",
    ),
    ("2.16", board({"userland-proxy": True}), "warn", "userland-proxy = true"),
    ("2.17", board(info={"SecurityOptions": ["name=seccomp,profile=builtin"]}), "pass", "builtin"),
    (
        "2.17",
        board(
            {"seccomp-profile": "/etc/docker/seccomp.json"},
            info={"SecurityOptions": ["name=seccomp,profile=/etc/docker/seccomp.json"]},
        ),
        "pass",
        "seccomp.json",
    ),
    (
        "2.17",
        board(info={"SecurityOptions": ["name=seccomp,profile=unconfined"]}),
        "warn",
        "unconfined",
    ),
    (
        "2.17",
        board(
            {"seccomp-profile": "/tmp/mine.json"},
            info={"SecurityOptions": ["name=seccomp,profile=/tmp/mine.json"]},
        ),
        "manual",
        "/tmp/mine.json",
    ),
    ("2.17", board(info={"SecurityOptions": ["name=apparmor"]}), "warn", "no name=seccomp"),
    # dockerd takes a table that it does not know apart.
    ("2.4", board({"x": {"iptables": False}}), "skipped", "it is in the table 'x'"),
    ("2.16", board({"x": {"userland-proxy": True}}), "skipped", "it is in the table 'x'"),
    ("2.4", board({"log-opts": {"iptables": "x"}}), "pass", "iptables = true"),
    ("2.18", board(info={"ExperimentalBuild": True}), "warn", "experimental = true"),
]


@pytest.mark.parametrize(
    ("check", "facts", "result", "message"), CASES, ids=[f"{case[0]}-{case[3]}" for case in CASES]
)
def test_a_daemon_is_evaluated_by_its_values_in_use(
    check: str, facts: AuditFacts, result: CheckResult, message: str
) -> None:
    found = evaluate(check, facts)
    assert (found.result, message in found.evidence) == (result, True), found.evidence


@pytest.mark.parametrize(
    ("driver", "options", "result", "message"),
    [
        ("syslog", RELAY["log-opts"], "pass", "the board's relay"),
        ("syslog", {"syslog-address": "tcp+tls://logs.example:6514"}, "pass", "logs.example"),
        ("syslog", {"syslog-address": "udp://192.0.2.1:514"}, "pass", "192.0.2.1"),
        ("syslog", {"syslog-address": "udp://127.0.0.1:514"}, "warn", "on the board itself"),
        ("syslog", {"syslog-address": "unix:///dev/log"}, "warn", "on the board itself"),
        ("syslog", {"syslog-address": "tcp://[::1]:514"}, "warn", "on the board itself"),
        ("syslog", {"syslog-address": "tcp://[::"}, "warn", "on the board itself"),
        ("syslog", {}, "warn", "without syslog-address"),
        ("gelf", {"gelf-address": "udp://logs.example:12201"}, "pass", "logs.example"),
        ("fluentd", {"fluentd-address": "logs.example:24224"}, "pass", "logs.example"),
        ("fluentd", {}, "warn", "without fluentd-address"),
        ("splunk", {"splunk-url": "https://logs.example:8088"}, "pass", "logs.example"),
        ("splunk", {"splunk-url": "http://127.0.0.1"}, "warn", "on the board itself"),
        ("splunk", {}, "warn", "without splunk-url"),
        ("awslogs", {}, "pass", "awslogs"),
        *(
            ("syslog", {"syslog-address": address}, "warn", "on the board itself")
            for address in (
                *("tcp://localhost.localdomain:514", "udp://ip6-localhost:514", "tcp://LOCALHOST"),
                *("tcp://localhost.:514", "tcp://a.localhost", "tcp://[::ffff:127.0.0.1]:514"),
                *("tcp://0:514", "tcp://127.1", "tcp://2130706433:514", "tcp://0x7f000001"),
                *("tcp://[::1%25lo]:514", "tcp://odroid:514", "tcp://ODROID.local.:514"),
            )
        ),
        ("syslog", {"syslog-address": "tcp://odroid.example:514"}, "pass", "odroid.example"),
        ("syslog", {"syslog-address": "tcp://[fd00::7]:514"}, "pass", "fd00::7"),
        ("json-file", {}, "warn", "on the board"),
        ("local", {}, "warn", "on the board"),
        ("journald", {}, "warn", "on the board"),
        # docker-bench passes both of these.
        ("none", {}, "warn", "on the board"),
        ("loki:latest", {}, "skipped", "a plugin"),
    ],
)
def test_where_logs_go(
    driver: str, options: dict[str, str], result: CheckResult, message: str
) -> None:
    values = {"log-driver": driver, "log-opts": options}
    units = {"bootwright-logs.service": HostUnit("loaded", "active")}
    found = evaluate("2.13", board(values, info={"LoggingDriver": driver}, units=units))
    assert (found.result, message in found.evidence) == (result, True), found.evidence


def test_a_relay_that_is_down_ships_nothing() -> None:
    for units in ({}, {"bootwright-logs.service": HostUnit("loaded", "failed")}):
        facts = board(dict(RELAY), info={"LoggingDriver": "syslog"}, units=units)
        found = evaluate("2.13", facts)
        assert (found.result, "is down" in found.evidence) == ("warn", True), found.evidence


def test_options_of_another_log_driver_are_not_used() -> None:
    values = {"log-driver": "gelf", "log-opts": RELAY["log-opts"]}
    found = evaluate("2.13", board(values, info={"LoggingDriver": "syslog"}))
    assert (found.result, "the destination is not known" in found.evidence) == ("warn", True)


FILE_ALONE = ("2.4", "2.8", "2.10", "2.11", "2.16")
"""Checks of settings that no engine reports."""

REPORTED = ("2.2", "2.3", "2.5", "2.6", "2.9", "2.14", "2.15", "2.17", "2.18")
"""Checks of what it does."""


def test_a_stopped_daemon_is_evaluated_by_its_file() -> None:
    facts = stopped(provisioned())
    for check in FILE_ALONE:
        found = evaluate(check, facts)
        assert found.result == "pass"
        assert found.evidence.endswith("; the daemon does not run")
    for check in REPORTED:
        found = evaluate(check, facts)
        assert (found.result, "the daemon does not run" in found.evidence) == ("skipped", True)


def test_a_stopped_daemon_is_evaluated_by_its_unit() -> None:
    facts = stopped(provisioned())
    unit = facts.units["docker.service"]
    command = "/usr/sbin/dockerd -H fd:// --userland-proxy=true"
    facts = provisioned(
        engine_owner=None,
        flags=(),
        info=None,
        units={"docker.service": unit.__class__("loaded", "inactive", "enabled", command=command)},
    )
    found = evaluate("2.16", facts)
    assert (found.result, "(docker.service)" in found.evidence) == ("warn", True)


def test_the_file_alone_is_no_pass_for_a_daemon_that_does_not_answer() -> None:
    for check in REPORTED:
        found = evaluate(check, mute(provisioned()))
        assert (found.result, "no answer within 60 s" in found.evidence) == ("skipped", True)


def test_a_file_that_cannot_be_parsed_is_not_taken_for_an_empty_one() -> None:
    trouble = {"daemon-json": "it cannot be understood: line 1"}
    for facts in (
        stock(daemon_json=None, troubles=trouble),
        stock(daemon_json=None, root=False),
    ):
        for check in FILE_ALONE:
            found = evaluate(check, facts)
            assert (found.result, "daemon.json" in found.evidence) == ("skipped", True)
    # The command line is known anyway.
    flags = (*FLAGS, "--iptables=false")
    assert evaluate("2.4", stock(daemon_json=None, troubles=trouble, flags=flags)).result == "warn"


def test_the_api_is_not_taken_for_closed_if_the_file_is_not_known() -> None:
    trouble = {"daemon-json": "it cannot be understood: line 1"}
    for more in ((), ("-H", "tcp://192.0.2.7:2376")):
        flags = ("/usr/sbin/dockerd", *more)
        assert evaluate("2.7", stock(flags=flags, troubles=trouble)).result == "skipped"


@pytest.mark.parametrize("value", [None, 7, "x", [], {}, ["x"], {"x": None}, True])
def test_values_of_other_types_never_pass(value: object) -> None:
    info = {name: value for name in HARDENED_INFO if name != "ServerVersion"}
    facts = stock(info={**info, "ServerVersion": "28.3.3"})
    weird = stock(daemon_json=dict.fromkeys(DAEMON_JSON, value))
    for check, one in EVALUATORS.items():
        assert one(subject(facts)).evidence, check
        assert one(subject(weird)).evidence, check
    if value is not True:
        for check in ("2.9", "2.15"):
            assert evaluate(check, facts).result in ("warn", "skipped"), check


def test_insecure_registries_are_listed_one_by_one() -> None:
    registry = {"InsecureRegistryCIDRs": ["10.0.0.1/32"], "Mirrors": ["http://r.example"]}
    found = evaluate("2.5", board(info={"RegistryConfig": registry}))
    assert [(item.subject, item.result) for item in found.items] == [
        ("10.0.0.1/32", "warn"),
        ("http://r.example", "warn"),
    ]
    api = evaluate("2.7", board(flags=("-H", "tcp://10.0.0.1:2375", "-H", "tcp://[::]:2375")))
    assert [item.subject for item in api.items] == ["tcp://10.0.0.1:2375", "tcp://[::]:2375"]


def test_a_very_long_command_line_is_not_parsed() -> None:
    for flags in (("-" + "D" * 1_000_000,), ("-D",) * 300_000):
        assert evaluate("2.4", board(flags=flags)).result == "skipped"
