"""Section 1 of an audit, and what holds for sections 1 to 3: what is worse never looks better."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootwright.audit.checks import daemon, files, host, watches
from bootwright.audit.facts import AuditFacts
from bootwright.audit.model import CheckResult, Subject
from bootwright.hosts.audit_rules import WatchedPath
from tests.support.auditfacts import (
    HARDENED_INFO,
    bridge,
    mute,
    provisioned,
    stock,
    stopped,
    subject,
    with_api,
    without_docker,
)
from tests.support.recorded_bench import recorded

EVALUATORS = {**host.EVALUATORS, **daemon.EVALUATORS, **files.EVALUATORS}


def results(facts: AuditFacts, **different: Any) -> dict[str, CheckResult]:
    return {
        check: evaluator(subject(facts, **different)).result
        for check, evaluator in EVALUATORS.items()
    }


def test_every_check_of_the_three_sections_is_evaluated() -> None:
    wanted = [check for check in recorded("stock") if check[0] in "123"]
    assert sorted(EVALUATORS) == sorted(wanted)


# The results of docker-bench-security for these boards, and why ours differ.
OTHERWISE: dict[str, CheckResult] = {
    "1.1.2": "pass",  # it does not pass an empty group
    "1.2.2": "manual",  # it passes whatever version runs
    "2.18": "pass",  # it does not look at engines after 19.03
}


def test_a_stock_board_is_evaluated_as_by_docker_bench() -> None:
    wanted = {check: was for check, was in recorded("stock").items() if check in EVALUATORS}
    assert results(stock()) == {**wanted, **OTHERWISE}


def test_a_provisioned_board_is_evaluated_as_by_docker_bench() -> None:
    wanted = {check: was for check, was in recorded("hardened").items() if check in EVALUATORS}
    # The board that was recorded had a log driver that docker-bench takes for a remote one.
    assert results(provisioned()) == {**wanted, **OTHERWISE, "2.13": "warn"}


def test_nothing_passes_on_a_board_without_docker() -> None:
    found = results(without_docker())
    assert "pass" not in found.values()
    # Nobody records what happens to the folder that is there already.
    assert [check for check, result in found.items() if result == "warn"] == ["1.1.5"]
    for check in daemon.EVALUATORS:
        evaluation = EVALUATORS[check](subject(without_docker()))
        assert (evaluation.result, evaluation.evidence) == ("skipped", "Docker is not installed")


@pytest.mark.parametrize(
    ("different", "result", "message"),
    [
        ({}, "pass", "/var/lib/docker is a mount point"),
        ({"mounts": {"/": "179:1"}}, "warn", "/var/lib/docker is not a mount point"),
        (
            *({"mounts": {"/": "179:1", "/var/lib/docker": "179:1"}}, "warn"),
            "a mount point of the root file system itself",
        ),
        ({"info": {**HARDENED_INFO, "SecurityOptions": 5}}, "warn", "not a mount point"),
        ({"info": {**HARDENED_INFO, "DockerRootDir": "/srv/1.1"}}, "warn", "/srv is not a mount"),
        ({"info": None}, "skipped", "the daemon does not answer"),
        ({"info": None, "mounts": {"/": "179:1"}}, "warn", "data-root"),
        ({"info": None, "daemon_json": {"graph": "/srv"}}, "warn", 'data-root = "/srv"'),
    ],
)
def test_images_and_containers_on_a_separate_file_system(
    different: dict[str, Any], result: CheckResult, message: str
) -> None:
    found = host.separate_partition(subject(provisioned(**different)))
    assert found.result == result
    assert message in found.evidence


@pytest.mark.parametrize(
    ("members", "trusted", "result", "message"),
    [
        (None, None, "info", "no group"),
        ((), None, "pass", "nobody"),
        ((), "mia", "pass", "nobody"),
        (("mia", "eve"), None, "info", "mia, eve"),
        (("mia",), "mia", "pass", "mia"),
        (("mia", "eve"), "mia", "warn", "eve"),
        (("miami",), "mia", "warn", "miami"),
    ],
)
def test_who_controls_docker(
    members: tuple[str, ...] | None, trusted: str | None, result: CheckResult, message: str
) -> None:
    facts = provisioned(docker_group=members)
    found = host.trusted_users(subject(facts, trusted_user=trusted))
    assert found.result == result
    assert message in found.evidence


def test_unknown_files_are_skipped() -> None:
    found = results(provisioned(modes={}))
    assert {found[check] for check in (*watches.AUDITED, *files.EVALUATORS)} == {"skipped"}


RANK: dict[CheckResult, int] = {"skipped": 0, "warn": 0, "info": 1, "manual": 1, "pass": 2}
"""How good a result looks; what could not be evaluated looks no better than what is wrong."""

Weaker = Callable[[AuditFacts], AuditFacts]

BAD_VALUES: dict[str, tuple[Any, ...]] = {
    "icc": (True, None),
    "log-level": ("debug", "fatal"),
    "debug": (True,),
    "iptables": (False,),
    "insecure-registries": (["registry.example:5000"],),
    "storage-driver": ("aufs",),
    "default-ulimits": ({}, None),
    "userns-remap": ("", None),
    "cgroup-parent": ("/other",),
    "storage-opts": (["dm.basesize=20G"],),
    "log-driver": ("none", "local", "json-file", None),
    "log-opts": ({}, {"syslog-address": "udp://127.0.0.1:514"}),
    "no-new-privileges": (False, None),
    "live-restore": (False, None),
    "userland-proxy": (True, None),
    "seccomp-profile": ("unconfined",),
    "experimental": (True,),
    "data-root": ("/srv/docker",),
    "tlsverify": (False,),
}

BAD_FLAGS = (
    ("--icc=true",),
    ("--icc",),
    ("-D",),
    ("-l", "debug"),
    ("-ldebug",),
    ("--log-level=warn",),
    ("--iptables=false",),
    ("--insecure-registry", "registry.example"),
    ("-s", "aufs"),
    ("-H", "tcp://0.0.0.0:2375"),
    ("-H=0.0.0.0",),
    ("--cgroup-parent=/other",),
    ("--storage-opt", "dm.basesize=20G"),
    ("--userland-proxy",),
    ("--no-new-privileges=false",),
    ("--tlsverify=false",),
    ("--experimental",),
    ("-g", "/srv/docker"),
)

BAD_INFO: dict[str, tuple[Any, ...]] = {
    "DockerRootDir": ("/srv/docker", None),
    "Driver": ("aufs", None),
    "LoggingDriver": ("json-file", "none", "journald", "loki", None),
    "LiveRestoreEnabled": (False, None),
    "ExperimentalBuild": (True, None),
    "Debug": (True, None),
    "RegistryConfig": ({"InsecureRegistryCIDRs": ["0.0.0.0/0"]}, None),
    "SecurityOptions": ([], None),
    "Plugins": ({"Authorization": None}, None),
}


def with_value(key: str, value: Any) -> Weaker:
    def weaken(facts: AuditFacts) -> AuditFacts:
        if facts.daemon_json is None:
            return facts
        return replace(facts, daemon_json={**facts.daemon_json, key: value})

    return weaken


def with_flags(flags: tuple[str, ...]) -> Weaker:
    """Return a change of the unit, and of the daemon's command line where it runs."""

    def weaken(facts: AuditFacts) -> AuditFacts:
        unit = facts.units["docker.service"]
        units = {"docker.service": replace(unit, command=" ".join((unit.command, *flags)))}
        running = (*facts.flags, *flags) if facts.engine_owner is not None else ()
        return replace(facts, units={**facts.units, **units}, flags=running)

    return weaken


def with_info(key: str, value: Any) -> Weaker:
    def weaken(facts: AuditFacts) -> AuditFacts:
        return facts if facts.info is None else replace(facts, info={**facts.info, key: value})

    return weaken


def with_mode(path: str, bits: int, owner: str, kind: str) -> Weaker:
    def weaken(facts: AuditFacts) -> AuditFacts:
        was = facts.modes[path]
        now = replace(was, mode=was.mode | bits, owner=owner or was.owner, kind=kind or was.kind)
        named = {key: now for key, mode in facts.tls.items() if mode.path == path}
        return replace(facts, modes={**facts.modes, path: now}, tls={**facts.tls, **named})

    return weaken


def with_less_audit(number: int, permissions: str) -> Weaker:
    """Return a change that takes a rule away, or all but some of what it records."""

    def weaken(facts: AuditFacts) -> AuditFacts:
        if not facts.audit:
            return facts
        rule = facts.audit[number % len(facts.audit)]
        rest = tuple(one for one in facts.audit if one is not rule)
        left = WatchedPath(rule.path, rule.permissions & set(permissions))
        return replace(facts, audit=(*rest, left) if permissions else rest)

    return weaken


def unreadable(facts: AuditFacts) -> AuditFacts:
    trouble = {"daemon-json": "it cannot be understood: not a JSON object"}
    return replace(facts, daemon_json=None, troubles={**facts.troubles, **trouble})


def without_option(name: str, instead: tuple[str, ...] = ()) -> Weaker:
    """Return a change that takes a security option of the engine away."""

    def weaken(facts: AuditFacts) -> AuditFacts:
        options = (facts.info or {}).get("SecurityOptions") or []
        if facts.info is None or not any(option.startswith(name) for option in options):
            return facts
        left = [option for option in options if not option.startswith(name)]
        return replace(facts, info={**facts.info, "SecurityOptions": [*left, *instead]})

    return weaken


def open_bridge(facts: AuditFacts) -> AuditFacts:
    return facts if facts.networks is None else replace(facts, networks=(bridge(icc=True),))


OTHERS: tuple[Weaker, ...] = (
    mute,
    stopped,
    unreadable,
    open_bridge,
    without_option("name=userns"),
    without_option("name=no-new-privileges"),
    without_option("name=seccomp"),
    without_option("name=seccomp", ("name=seccomp,profile=unconfined",)),
    lambda facts: replace(facts, networks=None),
    lambda facts: replace(facts, networks=()),
    lambda facts: replace(facts, audit=None),
    lambda facts: replace(facts, mounts={"/": "179:1"}),
    lambda facts: replace(facts, docker_group=("mia", "eve")),
    lambda facts: replace(facts, audit_never=("-a never,task",)),
    lambda facts: replace(facts, audit_pid=0),
    lambda facts: replace(facts, acls=frozenset(facts.modes)),
    lambda facts: replace(facts, listening=(*(facts.listening or ()), "0.0.0.0:2375")),
    lambda facts: replace(facts, tls={}),
)


def modern(**different: Any) -> AuditFacts:
    """Return a provisioned board with an engine that reports no-new-privileges."""
    security = [
        "name=apparmor",
        "name=seccomp,profile=builtin",
        "name=userns",
        "name=no-new-privileges",
    ]
    info = {**HARDENED_INFO, "ServerVersion": "28.3.3", "SecurityOptions": security}
    return provisioned(**{"info": info, "docker_group": ("mia",), **different})


BOARDS = (provisioned(), with_api(), modern())


@st.composite
def weakened(draw: st.DrawFn, board: AuditFacts) -> Weaker:
    kind = draw(st.sampled_from(("file", "flags", "info", "mode", "audit", "other")))
    if kind == "file":
        key = draw(st.sampled_from(sorted(BAD_VALUES)))
        return with_value(key, draw(st.sampled_from(BAD_VALUES[key])))
    if kind == "flags":
        return with_flags(draw(st.sampled_from(BAD_FLAGS)))
    if kind == "info":
        key = draw(st.sampled_from(sorted(BAD_INFO)))
        return with_info(key, draw(st.sampled_from(BAD_INFO[key])))
    if kind == "mode":
        return with_mode(
            draw(st.sampled_from(sorted(board.modes))),
            draw(st.integers(0, 0o7777)),
            draw(st.sampled_from(("", "mia:mia", "root:users", "mia:root"))),
            draw(st.sampled_from(("", "symbolic link"))),
        )
    if kind == "audit":
        return with_less_audit(draw(st.integers(0, 30)), draw(st.sampled_from(("", "r", "w"))))
    return draw(st.sampled_from(OTHERS))


@given(st.data())
def test_a_worse_board_never_gets_a_better_result(data: st.DataObject) -> None:
    board = data.draw(st.sampled_from(BOARDS))
    first = before = evaluated(board)
    facts = board
    for change in data.draw(st.lists(weakened(board), min_size=1, max_size=5)):
        facts = change(facts)
        after = evaluated(facts)
        for check, result in after.items():
            assert RANK[result] <= RANK[first[check]], (check, result, first[check])
            assert result != "pass" or before[check] == "pass", (check, before[check])
        before = after


def evaluated(facts: AuditFacts) -> dict[str, CheckResult]:
    found: dict[str, CheckResult] = {}
    for check, evaluator in EVALUATORS.items():
        evaluation = evaluator(Subject(facts, subject(facts).profile, trusted_user="mia"))
        assert evaluation.evidence
        found[check] = evaluation.result
    return found
