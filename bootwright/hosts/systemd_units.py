"""Units of systemd, as ``systemctl show`` prints them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class HostUnit:
    """A unit of systemd: as :data:`_PROPERTIES` say, empty where it has none."""

    load: str = "not-found"
    active: str = "inactive"
    enabled: str = ""
    fragment: str = ""
    drop_ins: tuple[str, ...] = ()
    need_reload: bool = False
    command: str = ""

    @property
    def installed(self) -> bool:
        """Whether it is there and may be started."""
        return self.load == "loaded"


def parse_units(lines: Iterable[str]) -> dict[str, HostUnit]:
    """Return what ``systemctl show`` told, by the units' names."""
    found: dict[str, HostUnit] = {}
    values: dict[str, str] = {}
    for line in (*lines, ""):
        name, _, value = line.partition("=")
        if line:
            values[name] = value
        elif values:
            command = re.search(r"argv\[\]=(.*?) ;", values.get("ExecStart", ""))
            found[values["Id"]] = HostUnit(
                load=values.get("LoadState", "not-found"),
                active=values.get("ActiveState", "inactive"),
                enabled=values.get("UnitFileState", ""),
                fragment=values.get("FragmentPath", ""),
                drop_ins=tuple(values.get("DropInPaths", "").split()),
                need_reload=values.get("NeedDaemonReload") == "yes",
                command=command[1] if command else "",
            )
            values = {}
    return found
