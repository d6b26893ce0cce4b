"""The ports of the board that containers publish: checks 5.8, 5.9 and 5.14."""

from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

from bootwright.audit.checks.engine import swarm_state
from bootwright.audit.checks.namespaces import mode_of
from bootwright.audit.inspected import Container, Port
from bootwright.audit.model import Evaluation, Evaluator, Subject

FIRST_FREE_PORT = 1024
"""Ports below this one are privileged: ip(7), ``ip_unprivileged_port_start``."""


def published(bad: Callable[[Port], bool], what: str) -> Callable[[Subject, Container], Evaluation]:
    """Return an evaluator of published ports; ``bad`` selects the wrong ports.

    A container on the host's network can open any port of the board without publishing it, which
    is as bad as the worst published port.
    """

    def evaluate_one(subject: Subject, container: Container) -> Evaluation:
        wrong = {_place(port) for port in container.ports if bad(port)}
        if wrong:
            return Evaluation("warn", f"{what} {', '.join(sorted(wrong))}")
        if mode_of(subject.owners.of(container, "network"), "network") == "host":
            return Evaluation("warn", "on the host's network, every port it opens is the board's")
        ports = ", ".join(sorted(set(map(_place, container.ports))))
        return Evaluation("pass", ports or "no port is published")

    return evaluate_one


def beside_services(evaluate: Evaluator) -> Evaluator:
    """Return an evaluator whose result is never ``pass`` in a swarm.

    A port that a service publishes is open on every node, but no container shows it.
    """

    def in_swarm(subject: Subject) -> Evaluation:
        found = evaluate(subject)
        if swarm_state(subject.facts) != "active" or found.result not in ("pass", "info"):
            return found
        text = "ports that services of the swarm publish are not known"
        return Evaluation("skipped", f"{found.evidence}; but {text}", found.items)

    return in_swarm


def privileged_port(port: Port) -> bool:
    """Return whether only root may listen on a port."""
    return port.port < FIRST_FREE_PORT


def on_every_address(port: Port) -> bool:
    """Return whether a port is published on all addresses of the board."""
    try:
        address = ip_address(port.address) if port.address else None
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    return address is None or address.is_unspecified


def _place(port: Port) -> str:
    address = f"[{port.address}]" if ":" in port.address else port.address or "*"
    return f"{address}:{port.port}"
