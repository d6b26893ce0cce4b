"""Reading ``bootwright.toml``, and ``bootwright.local.toml`` over it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bootwright.core.errors import InputError
from bootwright.core.options import did_you_mean
from bootwright.core.target_names import CONFIG_NAME, LOCAL_NAME
from bootwright.core.toml_model import read_toml


@dataclass(frozen=True)
class ConfigFile:
    """The tables of one file; the values are not checked yet.

    Attributes:
        name: the file's name, for messages.
        targets: the tables ``[targets.NAME]``, in the order of the file.
        logs: ``[logs]`` without the table ``collector``.
        collector: ``[logs.collector]``.
    """

    name: str
    targets: dict[str, dict[str, Any]]
    logs: dict[str, Any]
    collector: object


def read_config_files(root: Path) -> tuple[ConfigFile, ...]:
    """Return the configuration files that exist in the checkout ``root``.

    The values of a file replace those of the files before it.

    Raises:
        InputError: a file cannot be read, is not TOML, or has a key that is none of ours.
    """
    return tuple(_files(root))


def _files(root: Path) -> Iterator[ConfigFile]:
    for name in (CONFIG_NAME, LOCAL_NAME):
        path = root / name
        # A link that leads nowhere is an error, not a file that is not there.
        if path.exists() or path.is_symlink():
            yield _file(name, read_toml(path))


def _file(name: str, tables: dict[str, Any]) -> ConfigFile:
    known = ("logs", "targets")
    for key in sorted(set(tables) - set(known)):
        near = did_you_mean(key, known)
        raise InputError(f"{name}: {key}: unknown key{near or '; allowed here: logs, targets'}")
    logs = tables.get("logs", {})
    if not isinstance(logs, dict):
        raise InputError(f"{name}: logs: write it as a table [logs]")
    targets = tables.get("targets", {})
    if not isinstance(targets, dict) or not all(isinstance(t, dict) for t in targets.values()):
        raise InputError(f"{name}: targets: write each target as a table [targets.NAME]")
    settings = {key: value for key, value in logs.items() if key != "collector"}
    return ConfigFile(name, targets, settings, logs.get("collector", {}))
