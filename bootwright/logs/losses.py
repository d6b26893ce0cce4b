"""How many records a board's relay had to drop, its queue being full.

A relay counts from 0 each time it is started. Once a minute it tells what it has lost since then,
and what the last few starts had lost when they ended: ``START=TOTAL START=TOTAL``. A start is known
by systemd's ``INVOCATION_ID``, so that nothing is counted twice, and no word has to arrive.
"""

import re
from collections.abc import Mapping

Totals = dict[str, int]
"""What each of the last starts of a relay had lost, the oldest first."""

_START = re.compile(r"([0-9a-f]{32})=([0-9]{1,12})(?![0-9])")

_REMEMBERED = 20
"""Starts that are remembered; a relay tells of six at most."""


def told(text: str, known: Mapping[str, int]) -> tuple[int, Totals]:
    """Return how many losses a relay's word adds to what is known, and what is known then."""
    totals = dict(known)
    lost = 0
    for start, figure in _START.findall(text):
        before = totals.pop(start, 0)
        total = max(before, int(figure))
        totals[start] = total
        lost += total - before
    return lost, dict(list(totals.items())[-_REMEMBERED:])
