"""Sections 6 and 7: unused images and containers, and swarm mode."""

from typing import Any

import pytest

from bootwright.audit.checks.swarm import EVALUATORS
from bootwright.audit.facts import AuditFacts
from bootwright.audit.inspected import EngineNetwork
from bootwright.audit.model import Evaluation
from tests.support.auditcontainers import container, image
from tests.support.auditfacts import (
    HARDENED_INFO,
    mute,
    provisioned,
    stopped,
    subject,
    without_docker,
)

SWARM = [f"7.{number}" for number in range(1, 10)]
BY_HAND = ["7.4", "7.6", "7.8", "7.9"]

MANAGER: dict[str, Any] = {
    "LocalNodeState": "active",
    "ControlAvailable": True,
    "Managers": 3,
    "Nodes": 5,
    "Cluster": {
        "Spec": {
            "CAConfig": {"NodeCertExpiry": 7776000000000000},
            "EncryptionConfig": {"AutoLockManagers": True},
        }
    },
}
WORKER = {"LocalNodeState": "active", "ControlAvailable": False, "Cluster": None}


def in_swarm(swarm: object, **different: Any) -> AuditFacts:
    return provisioned(info={**HARDENED_INFO, "Swarm": swarm}, **different)


def evaluate(check: str, swarm: object, **different: Any) -> Evaluation:
    return EVALUATORS[check](subject(in_swarm(swarm, **different)))


def test_both_sections_are_evaluated() -> None:
    assert list(EVALUATORS) == ["6.1", "6.2", *SWARM]


@pytest.mark.parametrize("check", SWARM)
def test_without_a_swarm_all_checks_pass(check: str) -> None:
    assert EVALUATORS[check](subject(provisioned())) == Evaluation("pass", "swarm mode is off")


@pytest.mark.parametrize("check", SWARM)
@pytest.mark.parametrize(
    "swarm", [None, {}, [], {"LocalNodeState": 1}, {"LocalNodeState": "locked"}]
)
def test_an_unclear_state_is_not_off(check: str, swarm: object) -> None:
    assert evaluate(check, swarm).result == "skipped"


@pytest.mark.parametrize("check", ["6.1", "6.2", *SWARM])
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


@pytest.mark.parametrize(
    ("managers", "result"),
    [(1, "pass"), (2, "warn"), (3, "pass"), (4, "warn"), (7, "pass"), (9, "warn"), (0, "skipped")],
)
def test_managers_are_few_and_odd(managers: int, result: str) -> None:
    assert evaluate("7.1", {**MANAGER, "Managers": managers}).result == result


@pytest.mark.parametrize("check", ["7.1", "7.5", "7.7"])
def test_checks_of_managers_are_skipped_on_a_worker(check: str) -> None:
    found = evaluate(check, WORKER)
    assert found.result == "skipped"
    assert "worker" in found.evidence
    assert (
        evaluate(check, {"LocalNodeState": "active", "ControlAvailable": True}).result == "skipped"
    )


@pytest.mark.parametrize(
    ("listening", "result"),
    [
        (("*:2377",), "warn"),
        (("[::]:2377",), "warn"),
        (("192.0.2.7:2377", "0.0.0.0:2377"), "warn"),
        (("192.0.2.7:2377", "0.0.0.0:22"), "pass"),
        (("[fd00::7]:2377",), "pass"),
        (("0.0.0.0:22377",), "skipped"),
        (None, "skipped"),
    ],
)
def test_the_managers_port_is_on_one_address(
    listening: tuple[str, ...] | None, result: str
) -> None:
    assert evaluate("7.2", MANAGER, listening=listening).result == result


def test_a_worker_needs_no_listening_port() -> None:
    assert evaluate("7.2", WORKER, listening=("0.0.0.0:22",)).result == "pass"


@pytest.mark.parametrize(
    ("options", "result"),
    [
        ({"encrypted": ""}, "pass"),
        ({"encrypted": "true"}, "pass"),
        ({"encrypted": "false"}, "warn"),
        ({"com.docker.network.driver.overlay.vxlanid_list": "4097"}, "warn"),
    ],
)
def test_overlay_networks_are_encrypted(options: dict[str, str], result: str) -> None:
    networks = (
        EngineNetwork("bridge", "bridge", {}, ()),
        EngineNetwork("app", "overlay", options, ()),
    )
    found = evaluate("7.3", MANAGER, networks=networks)
    assert found.result == result
    assert [item.subject for item in found.items] == ["app"]


def test_managers_are_locked_at_rest() -> None:
    assert evaluate("7.5", MANAGER).result == "pass"
    spec = {"Spec": {"EncryptionConfig": {"AutoLockManagers": False}}}
    assert evaluate("7.5", {**MANAGER, "Cluster": spec}).result == "warn"


@pytest.mark.parametrize(
    ("hours", "result"),
    [(24, "pass"), (48, "pass"), (49, "info"), (10**400, "info"), (0, "skipped")],
)
def test_node_certificates_are_short_lived(hours: int, result: str) -> None:
    spec = {"Spec": {"CAConfig": {"NodeCertExpiry": hours * 3600 * 10**9}}}
    assert evaluate("7.7", {**MANAGER, "Cluster": spec}).result == result


@pytest.mark.parametrize("check", BY_HAND)
def test_the_rest_of_a_swarm_is_for_a_person(check: str) -> None:
    assert evaluate(check, MANAGER).result == "manual"


def test_unused_images_and_containers_are_listed() -> None:
    spare = image(id="sha256:" + "c" * 64, tags=("old:1",))
    stale = container(id="c" * 64, name="once", state="exited")
    facts = provisioned(images=(image(), spare), containers=(container(), stale))
    images, containers = EVALUATORS["6.1"](subject(facts)), EVALUATORS["6.2"](subject(facts))
    assert (images.result, [item.subject for item in images.items]) == ("info", ["old:1"])
    assert "2 images, 1 of them" in images.evidence
    assert [(item.subject, item.evidence) for item in containers.items] == [("once", "exited")]
    assert "2 containers, 1 of them run" in containers.evidence
