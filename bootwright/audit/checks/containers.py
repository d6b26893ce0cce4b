"""Section 5: the running containers, each evaluated by its options."""

from collections.abc import Callable, Mapping

from bootwright.audit.checks import limits
from bootwright.audit.checks.confinement import (
    apparmor,
    capabilities,
    new_privileges,
    seccomp,
    selinux,
)
from bootwright.audit.checks.devices import devices
from bootwright.audit.checks.engine import security_option, swarm_state, why_unknown
from bootwright.audit.checks.mounts import engine_sockets, sensitive_mounts, shared_mounts
from bootwright.audit.checks.namespaces import NamespaceKind, mode_of
from bootwright.audit.checks.ports import (
    FIRST_FREE_PORT,
    beside_services,
    on_every_address,
    privileged_port,
    published,
)
from bootwright.audit.inspected import Container, Port
from bootwright.audit.model import Evaluation, Evaluator, Item, Subject, short, worst_of

EvaluateOne = Callable[[Subject, Container], Evaluation]
"""A function that evaluates one container."""

NO_CONTAINER = "no container runs"

MAX_TRIES = 5
"""How many times a container may be restarted at most: check 5.15."""


def each_running(evaluate_one: EvaluateOne, good: str) -> Evaluator:
    """Return the evaluator of every container that runs.

    Args:
        evaluate_one: evaluates one container.
        good: the evidence if all containers pass.
    """

    def evaluate(subject: Subject) -> Evaluation:
        running = subject.facts.running
        if running is None:
            return Evaluation("skipped", why_unknown(subject.facts, "containers"))
        evaluated = (
            (container.name, evaluate_one(subject, container))
            for container in sorted(running, key=lambda one: one.name)
        )
        items = tuple(Item(short(name), one.result, short(one.evidence)) for name, one in evaluated)
        return worst_of(items, good, NO_CONTAINER)

    return evaluate


def _by_hand(evidence: str) -> Evaluator:
    def evaluate(subject: Subject) -> Evaluation:
        running = subject.facts.running
        if running is None:
            return Evaluation("skipped", why_unknown(subject.facts, "containers"))
        return Evaluation("manual", evidence) if running else Evaluation("info", NO_CONTAINER)

    return evaluate


def _swarm_off(subject: Subject) -> Evaluation:
    if subject.facts.info is None:
        return Evaluation("skipped", why_unknown(subject.facts, "info"))
    state = swarm_state(subject.facts)
    if not state:
        return Evaluation("skipped", "docker info does not mention a swarm")
    return Evaluation("pass" if state == "inactive" else "warn", f"swarm mode is {state}")


def privileged(_: Subject, container: Container) -> Evaluation:
    """Evaluate 5.5: the container is not privileged."""
    if container.privileged:
        return Evaluation("warn", "privileged")
    if container.unconfined_paths:
        return Evaluation("pass", "not privileged, but with systempaths=unconfined")
    return Evaluation("pass", "not privileged")


def _own_namespace(what: str, kind: NamespaceKind) -> EvaluateOne:
    def evaluate_one(subject: Subject, container: Container) -> Evaluation:
        owner = subject.owners.of(container, kind)
        if mode_of(owner, kind) != "host":
            return Evaluation("pass", f"{what}: {mode_of(container, kind) or 'its own'}")
        by = "" if owner is container else f", by {short(owner.name)}"
        return Evaluation("warn", f"{what}: the host's{by}")

    return evaluate_one


def _user_namespace(subject: Subject, container: Container) -> Evaluation:
    if container.userns_mode == "host":
        return Evaluation("warn", "users: the host's (--userns host)")
    if security_option(subject.facts, "userns") is None:
        return Evaluation("pass", "not by its own option; but the daemon remaps no users (2.9)")
    return Evaluation("pass", "users: remapped")


def _sshd(subject: Subject, container: Container) -> Evaluation:
    if container.id in subject.facts.sshd_containers:
        return Evaluation("warn", "sshd runs in it")
    if not subject.facts.root:
        return Evaluation("skipped", "only root can see its processes")
    return Evaluation("pass", "sshd does not run in it")


def _read_only(_: Subject, container: Container) -> Evaluation:
    if container.readonly:
        return Evaluation("pass", "its root file system is read-only")
    return Evaluation("warn", "its root file system is writable")


def _restart(_: Subject, container: Container) -> Evaluation:
    """Evaluate 5.15: a failing container is restarted only a few times."""
    policy, tries = container.restart
    if policy in ("", "no"):
        return Evaluation("pass", "it is not restarted")
    if policy == "on-failure" and 1 <= tries <= MAX_TRIES:
        return Evaluation("pass", f"on-failure, {tries} times")
    return Evaluation(
        "warn", f"{policy}, {tries} times" if tries > 0 else f"{policy}, without limit"
    )


def _ulimits(_: Subject, container: Container) -> Evaluation:
    if container.ulimits:
        return Evaluation("pass", f"its own: {', '.join(container.ulimits)}")
    return Evaluation("info", "the daemon's default (2.8)")


def _cgroup(_: Subject, container: Container) -> Evaluation:
    if container.cgroup_parent:
        return Evaluation("warn", f"cgroup parent {container.cgroup_parent}")
    return Evaluation("pass", "the engine's cgroup")


def _health(_: Subject, container: Container) -> Evaluation:
    if container.health in (None, "", "none"):
        return Evaluation("warn", "no health check")
    return Evaluation("pass", f"health: {container.health}")


def _image_age(_: Subject, container: Container) -> Evaluation:
    if "@sha256:" in container.image:
        return Evaluation("info", f"{container.image} stays until its digest is changed")
    return Evaluation("info", f"{container.image} is as it was last pulled")


def _default_bridge(subject: Subject, container: Container) -> Evaluation:
    owner = subject.owners.of(container, "network")
    if mode_of(owner, "network") == "host":
        return Evaluation("info", "on the host's network (5.10)")
    # No other network can have this name.
    if "bridge" in owner.networks:
        return Evaluation("info", "on the default bridge")
    return Evaluation("pass", ", ".join(owner.networks) or "no network")


def _sockets(subject: Subject) -> Evaluation:
    evaluate_one = engine_sockets(subject.facts)
    return each_running(evaluate_one, "no container has a socket of the engine")(subject)


def _published(bad: Callable[[Port], bool], what: str, good: str) -> Evaluator:
    return beside_services(each_running(published(bad, what), good))


EVALUATORS: Mapping[str, Evaluator] = {
    "5.1": _swarm_off,
    "5.2": each_running(apparmor, "AppArmor confines every container"),
    "5.3": each_running(selinux, "SELinux labels every container"),
    "5.4": each_running(capabilities, "no container adds capabilities"),
    "5.5": each_running(privileged, "no container is privileged"),
    "5.6": each_running(sensitive_mounts, "no container has a sensitive folder to write to"),
    "5.7": each_running(_sshd, "no sshd runs in a container"),
    "5.8": _published(
        privileged_port, "privileged ports", f"no port below {FIRST_FREE_PORT} is published"
    ),
    "5.9": _published(lambda _: True, "published:", "no port is published"),
    "5.10": each_running(
        _own_namespace("network", "network"), "no container is on the host's network"
    ),
    "5.11": each_running(limits.memory, "the memory of every container is limited"),
    "5.12": each_running(limits.cpu, "the CPU time of every container is set"),
    "5.13": each_running(_read_only, "the root file system of every container is read-only"),
    "5.14": _published(
        on_every_address, "on every address:", "no port is published on every address"
    ),
    "5.15": each_running(_restart, f"no container is restarted more than {MAX_TRIES} times"),
    "5.16": each_running(
        _own_namespace("processes", "pid"),
        "no container sees the host's processes",
    ),
    "5.17": each_running(_own_namespace("IPC", "ipc"), "no container shares the host's IPC"),
    "5.18": each_running(devices, "no container has a device of the board"),
    "5.19": each_running(_ulimits, "every container has ulimits of its own"),
    "5.20": each_running(shared_mounts, "no mount is shared"),
    "5.21": each_running(_own_namespace("host name", "uts"), "no container has the host's name"),
    "5.22": each_running(seccomp, "seccomp filters the system calls of every container"),
    "5.23": _by_hand("the engine keeps no record of docker exec --privileged"),
    "5.24": _by_hand("the engine keeps no record of docker exec --user root"),
    "5.25": each_running(_cgroup, "every container is under the engine's cgroup"),
    "5.26": each_running(new_privileges, "no container can gain privileges"),
    "5.27": each_running(_health, "every container's health is checked"),
    "5.28": each_running(_image_age, ""),
    "5.29": each_running(limits.pids, "the processes of every container are limited"),
    "5.30": each_running(_default_bridge, "no container is on the default bridge"),
    "5.31": each_running(
        _user_namespace, "no container opts out of user namespaces (2.9 shows whether it has one)"
    ),
    "5.32": _sockets,
}
"""By the check's id."""
