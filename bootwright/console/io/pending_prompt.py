"""The question that an earlier run left open, for consoles whose past output is not kept."""

import json
import time

from bootwright.console.tries import PendingPrompt
from bootwright.core import paths
from bootwright.core.io.fsync import replace_file

FRESH_S = 600.0
"""Seconds in which the question is assumed to be still open, if a TAB finds any question."""


def recall(target: str) -> PendingPrompt | None:
    """Return the question that was left open at ``target``, if one is remembered."""
    path = paths.build_dir() / "console" / f"{target}.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        number, at = int(record["asked"]), float(record["at"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return PendingPrompt(number, fresh=0 <= time.time() - at < FRESH_S)


def remember(target: str, number: int) -> None:
    """Remember that question ``number`` of the boot is open, counted from 1; 0: none is."""
    path = paths.build_dir() / "console" / f"{target}.json"
    if not number:
        path.unlink(missing_ok=True)
        return
    replace_file(path, json.dumps({"asked": number, "at": time.time()}) + "\n")
