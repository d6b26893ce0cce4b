"""The names that an operator may give: targets, groups, root file systems, benchmarks, saves.

The completion uses them: it has to be fast and must not fail, so nothing is checked here.
"""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bootwright.core.options import ValueKind

CONFIG_NAME = "bootwright.toml"

LOCAL_NAME = "bootwright.local.toml"
"""The file for one operator's own settings; git ignores it. Its values replace those of the other
file."""

EMULATOR = "emulator"
"""The name of the target that stands for the running emulator."""

BUILT_IN: dict[str, dict[str, Any]] = {
    "odroid": {"board": "odroid-xu3", "rootfs": "archlinuxarm", "hostname": "odroid"},
}
"""The targets that exist without a ``bootwright.toml``."""


def names(kind: ValueKind, root: Path, build: Path) -> list[str]:
    """Return the names of a kind, sorted; an empty list if they cannot be read.

    Args:
        kind: the kind of value that an option takes.
        root: the checkout.
        build: the folder with the images and the saved emulators.
    """
    match kind:
        case "target":
            return sorted({*_targets(root), *BUILT_IN, EMULATOR})
        case "configured-target":
            return sorted({*_targets(root), *BUILT_IN})
        case "group":
            tables = [table for table in _targets(root).values() if isinstance(table, dict)]
            groups = [table.get("groups") for table in tables]
            found = [name for group in groups if isinstance(group, list) for name in group]
            return sorted({name for name in found if isinstance(name, str)})
        case "board":
            return sorted(path.parent.name for path in root.glob("board/*/board.toml"))
        case "rootfs":
            return sorted(path.parent.name for path in root.glob("rootfs/*/rootfs.toml"))
        case "benchmark":
            return _stems(root.glob("checks/cis-docker/*.toml"))
        case "save":
            return _stems(build.glob("emulator/saves/*.json"))
        case _:
            return []


def _targets(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in (CONFIG_NAME, LOCAL_NAME):
        try:
            targets = tomllib.loads((root / name).read_text(encoding="utf-8")).get("targets")
        except (OSError, ValueError):
            continue
        found |= targets if isinstance(targets, dict) else {}
    return found


def _stems(paths: Iterable[Path]) -> list[str]:
    return sorted(path.stem for path in paths)
