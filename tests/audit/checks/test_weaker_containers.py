"""A container that is weaker is never evaluated better, and none is too strange to evaluate."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bootwright.audit.checks import containers, images, swarm
from bootwright.audit.checks.evaluate import EVALUATORS
from bootwright.audit.checks.findings import findings
from bootwright.audit.facts import AuditFacts
from bootwright.audit.inspected import (
    Container,
    ContainerMount,
    HostSideFacts,
    Port,
    parse_container,
)
from bootwright.audit.model import CheckResult
from tests.support.auditcontainers import bind, container, restricted
from tests.support.auditfacts import DAEMON_JSON, HARDENED_INFO, provisioned, stock, subject

OF_RUNNING = {"4.1": images.EVALUATORS["4.1"], **containers.EVALUATORS}
ALL = {**images.EVALUATORS, **containers.EVALUATORS, **swarm.EVALUATORS}

# What others may join.
OTHER = container(id="d" * 64, name="other", network_mode="host", pid_mode="host", ipc_mode="host")

RANK: Mapping[CheckResult, int] = {"warn": 0, "skipped": 1, "manual": 1, "info": 2, "pass": 3}

Weaken = Callable[[Container], Container]


def _set(**different: Any) -> Weaken:
    return lambda one: replace(one, **different)


def _more(field: str, *values: object) -> Weaken:
    def weaken(one: Container) -> Container:
        changed: dict[str, Any] = {field: (*getattr(one, field), *values)}
        return replace(one, **changed)

    return weaken


def _unlocked(one: Container) -> Container:
    locks = ("no-new-privileges", "no-new-privileges:true")
    left = tuple(message for message in one.security if message not in locks)
    return replace(one, security=left, no_new_privileges=False)


def _unlocked_by_option(one: Container) -> Container:
    weak = _more("security", "no-new-privileges=false")(one)
    return replace(weak, no_new_privileges=False)


def _untold(one: Container) -> Container:
    return replace(one, no_new_privileges=None) if one.no_new_privileges else one


WEAKER: tuple[Weaken, ...] = (
    _set(privileged=True),
    _set(network_mode="host"),
    # As the engine does it: what was published is not any more.
    _set(network_mode="host", networks=("host",), ports=()),
    _set(pid_mode="host"),
    _set(ipc_mode="host"),
    _set(uts_mode="host"),
    _set(userns_mode="host"),
    *(_more("cap_add", name) for name in ("SYS_ADMIN", "CAP_NET_ADMIN", "all", "cap_bpf")),
    *(_more("mounts", bind(path)) for path in ("/", "/etc", "/proc", "/run", "//usr/../dev")),
    _more("mounts", bind("/var/run/docker.sock", writable=False)),
    _more("mounts", ContainerMount("bind", "/srv", "/srv", True, "rshared")),
    _set(memory=0),
    _set(nano_cpus=0, cpu_quota=0, cpu_shares=0),
    _set(pids_limit=-1),
    _set(pids_limit=None),
    _set(readonly=False),
    _set(restart=("always", 0)),
    _set(health=None),
    _set(user=""),
    _set(user="0:0"),
    _set(apparmor="unconfined"),
    _set(cgroup_parent="/mine"),
    _more("devices", "/dev/mem"),
    _set(ulimits=()),
    *(
        _more("security", option)
        for option in (
            *("seccomp=unconfined", "seccomp:unconfined", "apparmor=unconfined", "disable"),
            *("label=disable", "label:disable", "seccomp={}"),
            'seccomp={"defaultAction": "SCMP_ACT_ALLOW"}',
        )
    ),
    _unlocked,
    _unlocked_by_option,
    _untold,
    _set(unconfined_paths=True),
    *(_more("device_rules", rule) for rule in ("a *:* rwm", "b 8:0 r", "c *:1 m")),
    _set(device_requests=1),
    lambda one: replace(one, memory=2**62) if one.memory > 0 else one,
    lambda one: replace(one, pids_limit=2**62) if (one.pids_limit or 0) > 0 else one,
    _more("ports", Port("22/tcp", "0.0.0.0", 22)),
    _more("networks", "bridge"),
)

PATHS = st.sampled_from(
    [
        "",
        "/",
        "/etc",
        "/etc/",
        "/srv/x",
        "//dev",
        "/run/docker.sock",
        "/var/run",
        "c:\\",
        "/a/../..",
    ]
)
MODES = st.sampled_from(["", "host", "private", "container:", "container:" + "a" * 64, "none"])
OPTIONS = st.one_of(
    st.sampled_from(["no-new-privileges", "seccomp=unconfined", "label=disable", "disable", ""]),
    st.text(max_size=12),
)
NUMBERS = st.one_of(st.sampled_from([-1, 0, 5, 1024]), st.integers(-(2**63), 2**63 - 1))


def _listed(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), st.lists(values, max_size=3))


ROWS = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["a" * 64, "c" * 64, "d" * 64]),
        **{name: st.text(max_size=8) for name in ("name", "image", "image_id", "log_driver")},
        "state": st.sampled_from(["running", "paused", "exited", "created"]),
        "user": st.one_of(st.sampled_from(["", "0", "root", "1000:0"]), st.text(max_size=8)),
        "apparmor": st.sampled_from(["", "unconfined", "docker-default"]),
        "mounts": _listed(
            st.fixed_dictionaries(
                {
                    "Type": st.sampled_from(["bind", "volume", "tmpfs"]),
                    "Source": st.one_of(PATHS, st.text(max_size=8)),
                    "Destination": st.one_of(PATHS, st.text(max_size=8)),
                    "RW": st.booleans(),
                    "Propagation": st.sampled_from(["", "rprivate", "shared"]),
                }
            )
        ),
        "ports": st.one_of(
            st.none(),
            st.dictionaries(
                st.text(max_size=6),
                _listed(
                    st.fixed_dictionaries(
                        {
                            "HostIp": st.sampled_from(["", "0.0.0.0", "::", "192.0.2.7", "x"]),
                            "HostPort": st.integers(0, 65535).map(str),
                        }
                    )
                ),
                max_size=2,
            ),
        ),
        "networks": _listed(st.sampled_from(["bridge", "host", "inside"])),
        "health": st.sampled_from([None, "", "none", "healthy", "unhealthy"]),
        "Privileged": st.booleans(),
        "CapAdd": _listed(st.sampled_from(["ALL", "chown", "CAP_SYS_ADMIN", "NET_RAW"])),
        **dict.fromkeys(("NetworkMode", "PidMode", "IpcMode", "UTSMode", "UsernsMode"), MODES),
        "CgroupParent": st.sampled_from(["", "/x"]),
        **dict.fromkeys(("Memory", "CPUShares", "NanoCPUs", "CPUQuota"), NUMBERS),
        "PidsLimit": st.one_of(st.none(), NUMBERS),
        "ReadonlyRootfs": st.booleans(),
        "RestartPolicy": st.one_of(
            st.none(),
            st.fixed_dictionaries(
                {
                    "Name": st.sampled_from(["", "no", "always", "on-failure"]),
                    "MaximumRetryCount": NUMBERS,
                }
            ),
        ),
        "Devices": _listed(st.fixed_dictionaries({"PathOnHost": PATHS})),
        "Ulimits": _listed(st.fixed_dictionaries({"Name": st.text(max_size=6)})),
        "SecurityOpt": _listed(OPTIONS),
        "CPUPeriod": NUMBERS,
        **dict.fromkeys(("MaskedPaths", "ReadonlyPaths"), _listed(PATHS)),
        "DeviceCgroupRules": _listed(st.sampled_from(["a *:* rwm", "b 8:* r", "", "x"])),
        "DeviceRequests": _listed(st.just({})),
    }
)

PRIVILEGES = st.sampled_from([{}, {"a" * 64: "true"}, {"a" * 64: "false"}])


def parsed(row: dict[str, Any], privileges: Mapping[str, str]) -> Container:
    return parse_container(row, HostSideFacts({}, {}, privileges))


LABELLED = ["name=selinux", "name=seccomp,profile=builtin", "name=no-new-privileges"]

BOARDS: tuple[AuditFacts, ...] = (
    stock(),
    provisioned(),
    provisioned(daemon_json={**DAEMON_JSON, "no-new-privileges": False}),
    provisioned(selinux=True, info={**HARDENED_INFO, "SecurityOptions": LABELLED}),
    provisioned(lsm=(), root=False, info={**HARDENED_INFO, "SecurityOptions": []}),
)


@settings(max_examples=300, deadline=None)
@given(
    board=st.sampled_from(BOARDS),
    row=st.one_of(st.none(), ROWS),
    privileges=PRIVILEGES,
    weaker=st.lists(st.sampled_from(WEAKER), min_size=1, max_size=4),
)
def test_a_weaker_container_is_never_evaluated_better(
    board: AuditFacts,
    row: dict[str, Any] | None,
    privileges: Mapping[str, str],
    weaker: list[Weaken],
) -> None:
    one = restricted() if row is None else parsed(row, privileges)
    one = replace(one, id="a" * 64, name="one", state="running")
    before = _results(replace(board, containers=(one, OTHER)))
    for weaken in weaker:
        one = weaken(one)
        after = _results(replace(board, containers=(one, OTHER)))
        for key, result in after.items():
            assert RANK[result] <= RANK[before[key]], key
        before = after


def _results(board: AuditFacts) -> dict[tuple[str, str], CheckResult]:
    """Return the result of each check, and for the container ``one`` alone."""
    found = {}
    for check, evaluator in OF_RUNNING.items():
        evaluation = evaluator(subject(board))
        found[check, ""] = evaluation.result
        for item in evaluation.items:
            if item.subject == "one":
                found[check, item.subject] = item.result
    return found


@settings(deadline=None)
@given(board=st.sampled_from(BOARDS), rows=st.lists(ROWS, max_size=3))
def test_any_container_can_be_evaluated(board: AuditFacts, rows: list[dict[str, Any]]) -> None:
    made = tuple(parsed(json.loads(json.dumps(row)), {}) for row in rows)
    weaker = subject(replace(board, containers=made))
    results = {check: evaluator(weaker) for check, evaluator in ALL.items()}
    running = sum(one.runs for one in made)
    for check, evaluation in results.items():
        if check in OF_RUNNING and check not in ("5.1", "5.23", "5.24"):
            assert len(evaluation.items) == running
    findings(weaker, results)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner)),
    max_leaves=8,
)
KEYS = (
    *("SecurityOptions", "Swarm", "Plugins", "DockerRootDir", "LoggingDriver", "MemoryLimit"),
    *("RegistryConfig", "MemTotal", "NCPU", "Debug", "Driver", "CgroupDriver"),
)


@settings(deadline=None)
@given(
    values=st.dictionaries(st.sampled_from(KEYS), JSON),
    version=st.one_of(st.text(), st.sampled_from(["9" * 5000, "1." * 5000, "٣.٣"])),
    hosts=JSON,
)
def test_any_engine_can_be_evaluated(values: dict[str, Any], version: str, hosts: object) -> None:
    odd = {**HARDENED_INFO, **values, "ServerVersion": version}
    board = provisioned(info=odd, containers=(container(),), daemon_json={"hosts": hosts})
    findings(
        subject(board),
        {check: evaluator(subject(board)) for check, evaluator in EVALUATORS.items()},
    )
