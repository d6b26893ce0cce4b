"""Whose namespaces containers are in: ``docker run --network container:ID`` and the like."""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Literal

from bootwright.audit.inspected import Container

Kind = Literal["network", "pid", "ipc", "uts"]


def mode_of(container: Container, kind: Kind) -> str:
    """Return what a container was started with: ``host``, ``container:ID``, or another."""
    modes: dict[Kind, str] = {
        "network": container.network_mode,
        "pid": container.pid_mode,
        "ipc": container.ipc_mode,
        "uts": container.uts_mode,
    }
    return modes[kind]


class Owners:
    """Which container's namespace each of a board's containers is in.

    Every answer is kept, so that a long chain of containers is followed only once.
    """

    def __init__(self, containers: Iterable[Container]) -> None:
        self._by_id: dict[str, Container] = {}
        self._by_name: dict[str, Container] = {}
        for container in containers:
            self._by_id.setdefault(container.id, container)
            self._by_name.setdefault(container.name, container)
        self._ids = sorted(self._by_id)
        self._known: dict[tuple[Kind, str], Container] = {}

    def of(self, container: Container, kind: Kind) -> Container:
        """Return whose namespace a container is in: its own, or that of the one it joined."""
        passed: set[tuple[Kind, str]] = set()
        while (step := (kind, mode_of(container, kind))) not in passed:
            other = self._known.get(step) or self._joined(step[1])
            if other is None:
                break
            passed.add(step)
            container = other
        self._known.update(dict.fromkeys(passed, container))
        return container

    def _joined(self, mode: str) -> Container | None:
        """Return the container of a mode, by its id, its name, or the beginning of its id."""
        joins, _, wanted = mode.partition(":")
        if joins != "container" or not wanted:
            return None
        found = self._by_id.get(wanted) or self._by_name.get(wanted)
        at = bisect_left(self._ids, wanted)
        if found is None and at < len(self._ids) and self._ids[at].startswith(wanted):
            found = self._by_id[self._ids[at]]
        return found
