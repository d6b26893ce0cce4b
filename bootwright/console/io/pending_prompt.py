"""What an earlier run left waiting on a console whose past cannot be read."""

import json
import time

from bootwright.console.tries import PendingPrompt
from bootwright.core import paths

FRESH_S = 600.0
"""Seconds in which the question that was left is taken to wait still, if a TAB finds one."""


def recall(target: str) -> PendingPrompt | None:
    """Return the question that was left waiting at ``target``, if one is remembered."""
    path = paths.build_dir() / "console" / f"{target}.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        asked, at = int(record["asked"]), float(record["at"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return PendingPrompt(asked, fresh=0 <= time.time() - at < FRESH_S)


def remember(target: str, asked: int) -> None:
    """Remember that question number ``asked`` of the boot waits; 0: none does."""
    path = paths.build_dir() / "console" / f"{target}.json"
    if not asked:
        path.unlink(missing_ok=True)
        return
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"asked": asked, "at": time.time()}) + "\n", encoding="utf-8")
    fresh.replace(path)
