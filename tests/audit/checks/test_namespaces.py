"""Containers in the namespaces of others, of the board, and of each other."""

from dataclasses import replace
from typing import Any

import pytest

from bootwright.audit.checks import namespaces
from bootwright.audit.checks.containers import EVALUATORS
from bootwright.audit.inspected import Container
from bootwright.audit.model import Evaluation
from tests.support.auditcontainers import container, restricted
from tests.support.auditfacts import provisioned, subject

HOST_ID = "d" * 64
OTHER = container(id=HOST_ID, name="other", network_mode="host", pid_mode="host", ipc_mode="host")


def evaluate(check: str, *containers: Container) -> Evaluation:
    return EVALUATORS[check](subject(provisioned(containers=containers)))


@pytest.mark.parametrize(
    ("check", "mode"),
    [
        *((check, {"network_mode": f"container:{HOST_ID}"}) for check in ("5.8", "5.9", "5.10")),
        ("5.14", {"network_mode": "container:other"}),
        ("5.16", {"pid_mode": "container:dddddddddddd"}),
        ("5.17", {"ipc_mode": f"container:{HOST_ID}"}),
    ],
)
def test_a_namespace_may_be_the_hosts_by_another_container(
    check: str, mode: dict[str, Any]
) -> None:
    joined = restricted(ports=(), **mode)
    through = restricted(id="e" * 64, name="through", ports=(), **mode)
    chain = dict.fromkeys(mode, f"container:{through.id}")
    last = restricted(id="f" * 64, name="last", ports=(), **chain)
    found = evaluate(check, joined, through, last, replace(OTHER, state="paused"))
    assert {item.subject: item.result for item in found.items} == dict.fromkeys(
        ("web", "through", "last", "other"), "warn"
    )


def test_a_long_chain_of_containers_is_followed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    mode_of = namespaces.mode_of

    def counted(one: Container, kind: namespaces.NamespaceKind) -> str:
        nonlocal calls
        calls += 1
        return mode_of(one, kind)

    monkeypatch.setattr(namespaces, "mode_of", counted)
    chain = tuple(
        container(id=f"{number:064x}", name=f"c{number}", network_mode=f"container:c{number - 1}")
        for number in range(1000)
    )
    owners = namespaces.NamespaceOwners((OTHER, replace(chain[0], network_mode="host"), *chain[1:]))
    assert {owners.of(one, "network").name for one in chain[1:]} == {"c0"}
    assert calls < 4 * len(chain)


def test_two_containers_with_the_same_id_are_evaluated_separately() -> None:
    one, two = restricted(name="one"), restricted(name="two", network_mode="host")
    assert [item.result for item in evaluate("5.10", one, two).items] == ["pass", "warn"]


def test_long_names_are_shortened() -> None:
    found = evaluate(
        "5.10", replace(OTHER, name="n" * 9999), restricted(network_mode="container:ddd")
    )
    assert max(len(item.evidence) for item in found.items) < 400
    assert len(found.evidence) < 400


def test_containers_that_join_each_other_cause_no_endless_loop() -> None:
    one = restricted(id="1" * 64, name="one", network_mode="container:" + "2" * 64)
    two = restricted(id="2" * 64, name="two", network_mode="container:" + "1" * 64)
    assert evaluate("5.10", one, two).result == "pass"
