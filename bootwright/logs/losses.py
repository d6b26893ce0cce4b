"""How many records a board's relay has dropped because its queue was full.

A relay counts from 0 at each start. Once a minute it reports how many records it has lost in this
run and in each of the last few runs: ``RUN=TOTAL RUN=TOTAL``, where ``RUN`` is systemd's
``INVOCATION_ID``. Each report has totals, so nothing is counted twice, and a report that is lost
does no harm.
"""

import re
from collections.abc import Mapping

Totals = dict[str, int]
"""How many records were lost in each of the relay's last runs; the oldest first."""

_START = re.compile(r"([0-9a-f]{32})=([0-9]{1,12})(?![0-9])")

_REMEMBERED_STARTS = 20
"""How many runs are remembered; a relay reports six at most."""


def add_report(text: str, known: Mapping[str, int]) -> tuple[int, Totals]:
    """Return how many more records are lost according to a report, and the new totals."""
    totals = dict(known)
    lost = 0
    for start, figure in _START.findall(text):
        before = totals.pop(start, 0)
        total = max(before, int(figure))
        totals[start] = total
        lost += total - before
    return lost, dict(list(totals.items())[-_REMEMBERED_STARTS:])
