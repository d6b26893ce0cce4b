"""Which containers share the namespaces of others: ``docker run --network container:ID`` etc."""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Literal

from bootwright.audit.inspected import Container

NamespaceKind = Literal["network", "pid", "ipc", "uts"]


def mode_of(container: Container, kind: NamespaceKind) -> str:
    """Return the mode of a container's namespace: ``host``, ``container:ID``, or another."""
    modes: dict[NamespaceKind, str] = {
        "network": container.network_mode,
        "pid": container.pid_mode,
        "ipc": container.ipc_mode,
        "uts": container.uts_mode,
    }
    return modes[kind]


class NamespaceOwners:
    """Finds the container that owns the namespace that a container is in.

    Results are cached, so that a long chain of containers is followed only once.
    """

    def __init__(self, containers: Iterable[Container]) -> None:
        self._by_id: dict[str, Container] = {}
        self._by_name: dict[str, Container] = {}
        for container in containers:
            self._by_id.setdefault(container.id, container)
            self._by_name.setdefault(container.name, container)
        self._ids = sorted(self._by_id)
        self._known: dict[tuple[NamespaceKind, str], Container] = {}

    def of(self, container: Container, kind: NamespaceKind) -> Container:
        """Return the container that owns the namespace: the container itself, or another one."""
        passed: set[tuple[NamespaceKind, str]] = set()
        while (step := (kind, mode_of(container, kind))) not in passed:
            other = self._known.get(step) or self._joined(step[1])
            if other is None:
                break
            passed.add(step)
            container = other
        self._known.update(dict.fromkeys(passed, container))
        return container

    def _joined(self, mode: str) -> Container | None:
        """Return the container in ``container:…``, by its id, name, or the beginning of the id."""
        joins, _, wanted = mode.partition(":")
        if joins != "container" or not wanted:
            return None
        found = self._by_id.get(wanted) or self._by_name.get(wanted)
        at = bisect_left(self._ids, wanted)
        if found is None and at < len(self._ids) and self._ids[at].startswith(wanted):
            found = self._by_id[self._ids[at]]
        return found
