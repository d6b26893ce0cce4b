"""Sections 6 and 7: unused images and containers, and swarm mode."""

from collections.abc import Mapping

from bootwright.audit.checks.engine import engine_value, swarm_state, why_unknown
from bootwright.audit.model import Evaluation, Evaluator, Item, Subject, short, worst_of

OFF = "swarm mode is off"

MAX_MANAGERS = 7
"""The most managers; more only make a swarm slower: Docker's guide to swarm administration."""

MANAGEMENT_PORT = "2377"
"""The default port of ``docker swarm init --listen-addr``."""

_ANY = ("*", "0.0.0.0", "::", "::ffff:0.0.0.0")
"""Ways to write "all addresses"."""

MAX_CERTIFICATE_HOURS = 48
"""How long a node's certificate may be valid, in hours: check 7.7."""

NANOSECONDS_PER_HOUR = 3600 * 10**9


def _images(subject: Subject) -> Evaluation:
    images, containers = subject.facts.images, subject.facts.containers
    if images is None or containers is None:
        missing = "images" if images is None else "containers"
        return Evaluation("skipped", why_unknown(subject.facts, missing))
    used = {container.image_id for container in containers}
    spare = sorted(image.name for image in images if image.id not in used)
    return Evaluation(
        "info",
        f"{len(images)} images, {len(images) - len(spare)} of them used by containers",
        tuple(Item(name, "info", "no container uses it") for name in spare),
    )


def _containers(subject: Subject) -> Evaluation:
    containers = subject.facts.containers
    if containers is None:
        return Evaluation("skipped", why_unknown(subject.facts, "containers"))
    stopped = sorted((one for one in containers if not one.runs), key=lambda one: one.name)
    return Evaluation(
        "info",
        f"{len(containers)} containers, {len(containers) - len(stopped)} of them run",
        tuple(Item(container.name, "info", container.state) for container in stopped),
    )


def _in_swarm(evaluate_one: Evaluator) -> Evaluator:
    """Return an evaluator that passes without a swarm, and otherwise uses ``evaluate_one``."""

    def evaluate(subject: Subject) -> Evaluation:
        if subject.facts.info is None:
            return Evaluation("skipped", why_unknown(subject.facts, "info"))
        state = swarm_state(subject.facts)
        if state == "inactive":
            return Evaluation("pass", OFF)
        if state != "active":
            text = f"the swarm node is {state}" if state else "docker info mentions no swarm"
            return Evaluation("skipped", text)
        return evaluate_one(subject)

    return evaluate


def _on_manager(evaluate_one: Evaluator) -> Evaluator:
    """Return an evaluator of facts that only a manager of the swarm has."""

    def evaluate(subject: Subject) -> Evaluation:
        if engine_value(subject.facts, "Swarm", "ControlAvailable") is not True:
            return Evaluation(
                "skipped", "only a manager of the swarm knows this, and this node is a worker"
            )
        return evaluate_one(subject)

    return _in_swarm(evaluate)


def _managers(subject: Subject) -> Evaluation:
    managers = engine_value(subject.facts, "Swarm", "Managers")
    nodes = engine_value(subject.facts, "Swarm", "Nodes")
    if type(managers) is not int or managers < 1:
        return Evaluation("skipped", "docker info does not report the number of managers")
    text = f"{managers} managers of {nodes} nodes"
    if managers > MAX_MANAGERS:
        return Evaluation("warn", f"{text}; more than {MAX_MANAGERS} only make it slower")
    if managers % 2 == 0:
        return Evaluation(
            "warn", f"{text}: an even number tolerates no more failures than one manager less"
        )
    return Evaluation("pass", text)


def _bound(subject: Subject) -> Evaluation:
    if subject.facts.listening is None:
        return Evaluation("skipped", "the listening sockets of the board are not known")
    places = [
        address
        for address, _, port in (place.rpartition(":") for place in subject.facts.listening)
        if port == MANAGEMENT_PORT
    ]
    if any(address.strip("[]") in _ANY for address in places):
        return Evaluation("warn", f"port {MANAGEMENT_PORT} listens on every address")
    if places:
        return Evaluation("pass", f"port {MANAGEMENT_PORT} listens on {', '.join(places)}")
    if engine_value(subject.facts, "Swarm", "ControlAvailable") is True:
        return Evaluation(
            "skipped", f"this node is a manager, but nothing listens on port {MANAGEMENT_PORT}"
        )
    return Evaluation("pass", "this node is a worker, which does not listen for managers")


def _overlays(subject: Subject) -> Evaluation:
    networks = subject.facts.networks
    if networks is None:
        return Evaluation("skipped", why_unknown(subject.facts, "networks"))
    items = []
    for network in sorted(networks, key=lambda one: one.name):
        if network.driver == "overlay":
            plain = network.options.get("encrypted", "false").lower() in ("false", "0")
            evidence = "not encrypted" if plain else "encrypted"
            items.append(Item(network.name, "warn" if plain else "pass", evidence))
    return worst_of(tuple(items), "every overlay network is encrypted", "no overlay network")


def _autolock(subject: Subject) -> Evaluation:
    path = ("Swarm", "Cluster", "Spec", "EncryptionConfig", "AutoLockManagers")
    locked = engine_value(subject.facts, *path)
    if not isinstance(locked, bool):
        return Evaluation("skipped", "docker info does not report autolock")
    return Evaluation("pass" if locked else "warn", f"autolock is {'on' if locked else 'off'}")


def _node_certificates(subject: Subject) -> Evaluation:
    path = ("Swarm", "Cluster", "Spec", "CAConfig", "NodeCertExpiry")
    valid = engine_value(subject.facts, *path)
    if type(valid) is not int or valid <= 0:
        return Evaluation("skipped", "docker info does not report how long certificates are valid")
    hours = valid // NANOSECONDS_PER_HOUR
    evidence = short(f"valid for {hours} hours", 100)
    if valid <= MAX_CERTIFICATE_HOURS * NANOSECONDS_PER_HOUR:
        return Evaluation("pass", evidence)
    return Evaluation("info", evidence, (Item("node certificates", "info", evidence),))


def _by_hand(evidence: str) -> Evaluator:
    return _in_swarm(lambda _: Evaluation("manual", evidence))


EVALUATORS: Mapping[str, Evaluator] = {
    "6.1": _images,
    "6.2": _containers,
    "7.1": _on_manager(_managers),
    "7.2": _in_swarm(_bound),
    "7.3": _in_swarm(_overlays),
    "7.4": _by_hand("decide whether services get their secrets by docker secret"),
    "7.5": _on_manager(_autolock),
    "7.6": _by_hand(
        "find out when the unlock key was last changed: docker swarm unlock-key --rotate"
    ),
    "7.7": _on_manager(_node_certificates),
    "7.8": _by_hand("find out when the CA was last changed: docker swarm ca --rotate"),
    "7.9": _by_hand("decide whether data has its own network interface: --data-path-addr"),
}
"""By the check's id."""
