"""How many records a board's relay has dropped because its queue was full.

A relay counts from 0 each time it is started. Once a minute it reports how many it has lost since
then, and how many the last few starts had lost when they ended: ``START=TOTAL START=TOTAL``. A
start is known by systemd's ``INVOCATION_ID``: nothing is counted twice, and a report may be lost.
"""

import re
from collections.abc import Mapping

Totals = dict[str, int]
"""The lost records of each of a relay's last starts, the oldest first."""

_START = re.compile(r"([0-9a-f]{32})=([0-9]{1,12})(?![0-9])")

_REMEMBERED_STARTS = 20
"""Starts that are remembered; a relay reports six at most."""


def add_report(text: str, known: Mapping[str, int]) -> tuple[int, Totals]:
    """Return how many losses a relay's report adds to those known, and all that are known then."""
    totals = dict(known)
    lost = 0
    for start, figure in _START.findall(text):
        before = totals.pop(start, 0)
        total = max(before, int(figure))
        totals[start] = total
        lost += total - before
    return lost, dict(list(totals.items())[-_REMEMBERED_STARTS:])
