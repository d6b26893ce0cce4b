"""Recorded runs of docker-bench-security 1.6.0, as data, on the emulated board.

``stock``: Docker as Debian 12 installs it, with one plain container; ``hardened``: after hardening
by hand, with one container that was started with every restriction. Its 5.15 is that of a later
docker-bench-security, which passes any policy without a number above 5.
"""

import re
from pathlib import Path
from typing import Literal

CASES = Path(__file__).parent.parent / "cases" / "docker-bench"

_LINE = re.compile(r"\[(PASS|WARN|INFO|NOTE)\] (\d+(?:\.\d+){1,2}) - ")
_RESULTS = {"PASS": "pass", "WARN": "warn", "INFO": "info", "NOTE": "manual"}


def recorded(run: Literal["stock", "hardened"]) -> dict[str, str]:
    """Return the result of each check by its id, in their order."""
    text = (CASES / f"1.6.0-{run}-debian12-armv7.txt").read_text(encoding="utf-8")
    # Printed without its number, which its source has.
    text = text.replace("] Ensure that experimental", "] 2.18 - Ensure that experimental")
    found = [(match[2], _RESULTS[match[1]]) for match in _LINE.finditer(text)]
    return {check: result for check, result in found if check not in ("1.1", "1.2")}
