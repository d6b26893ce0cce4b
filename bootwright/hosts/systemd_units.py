"""Units of systemd on a board, as ``systemctl show`` prints them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bootwright.core.systemd import unit_properties


@dataclass(frozen=True)
class HostUnit:
    """A unit of systemd.

    Attributes:
        load: its load state; ``not-found`` if there is no such unit.
        active: its active state, such as ``active``, ``inactive`` or ``failed``.
        enabled: whether it starts at boot, such as ``enabled`` or ``disabled``; empty without it.
        need_reload: its files are newer than what systemd has read of them.
        command: the command line of a service as its unit has it; empty without one.
        changed_s: when its state changed last, a reload included, in seconds after the start of
            the board; 0 if that is not known.
        started_s: when it was started, in the same way; a reload does not count.
    """

    load: str = "not-found"
    active: str = "inactive"
    enabled: str = ""
    need_reload: bool = False
    command: str = ""
    changed_s: float = 0.0
    started_s: float = 0.0

    @property
    def installed(self) -> bool:
        """Whether the unit exists and may be started."""
        return self.load == "loaded"


def parse_units(lines: Iterable[str]) -> dict[str, HostUnit]:
    """Return the units that ``systemctl show`` printed, by their names."""
    return {values["Id"]: _unit(values) for values in unit_properties(lines)}


def _unit(values: dict[str, str]) -> HostUnit:
    command = re.search(r"argv\[\]=(.*?) ;", values.get("ExecStart", ""))
    return HostUnit(
        load=values.get("LoadState", "not-found"),
        active=values.get("ActiveState", "inactive"),
        enabled=values.get("UnitFileState", ""),
        need_reload=values.get("NeedDaemonReload") == "yes",
        command=command[1] if command else "",
        changed_s=int(values.get("StateChangeTimestampMonotonic") or 0) / 1e6,
        started_s=int(values.get("ActiveEnterTimestampMonotonic") or 0) / 1e6,
    )
