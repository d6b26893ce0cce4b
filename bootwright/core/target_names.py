"""The names that an operator may give: targets, groups, root file systems, benchmarks, saves.

They are read without checking anything, for the completion, which has to be fast and never fails.
"""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bootwright.core.options import Kind

CONFIG_NAME = "bootwright.toml"

EMULATOR = "emulator"
"""The target that is the running emulator."""

BUILT_IN: dict[str, dict[str, Any]] = {
    "odroid": {"board": "odroid-xu3", "rootfs": "archlinuxarm", "hostname": "odroid"},
}
"""The targets that need no ``bootwright.toml``."""


def names(kind: Kind, root: Path, build: Path) -> list[str]:
    """Return the names of a kind, sorted; none where something cannot be read.

    Args:
        kind: what an option takes.
        root: the checkout.
        build: where images and the emulator's saves are.
    """
    match kind:
        case "target":
            return sorted({*_targets(root), *BUILT_IN, EMULATOR})
        case "group":
            tables = [table for table in _targets(root).values() if isinstance(table, dict)]
            groups = [table.get("groups") for table in tables]
            found = [name for group in groups if isinstance(group, list) for name in group]
            return sorted({name for name in found if isinstance(name, str)})
        case "rootfs":
            return sorted(path.parent.name for path in root.glob("rootfs/*/rootfs.toml"))
        case "benchmark":
            return _stems(root.glob("checks/cis-docker/*.toml"))
        case "save":
            return _stems(build.glob("emulator/saves/*.json"))
        case _:
            return []


def _targets(root: Path) -> dict[str, Any]:
    try:
        tables = tomllib.loads((root / CONFIG_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    targets = tables.get("targets")
    return targets if isinstance(targets, dict) else {}


def _stems(paths: Iterable[Path]) -> list[str]:
    return sorted(path.stem for path in paths)
