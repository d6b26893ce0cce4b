"""How many records a board's relay had to drop, its queue being full.

A relay counts from 0 each time it is started. Once a minute it tells what it has lost since then,
and what the last few starts had lost when they ended: ``START=TOTAL START=TOTAL``. A start is known
by systemd's ``INVOCATION_ID``, so that nothing is counted twice, and no word has to arrive.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from bootwright.logs.record import Loss, Record

APP = "bootwright-lost"
"""What the relay calls itself when it tells of losses."""

_START = re.compile(r"([0-9a-f]{32})=([0-9]{1,18})")

_REMEMBERED = 20
"""Starts of a relay that are remembered."""


@dataclass
class Losses:
    """The losses of one board that are known: the total of each start."""

    _totals: dict[str, int] = field(default_factory=dict)

    def remember(self, records: Iterable[Record]) -> None:
        """Take note of what was told before."""
        for record in records:
            if record.lost is not None:
                self._note(record.lost.relay, record.lost.total)

    def told(self, record: Record) -> list[Loss]:
        """Return what a relay's word adds to what is known: a loss for each start."""
        found = []
        for relay, figure in _START.findall(record.text):
            total = int(figure)
            if (more := total - self._totals.get(relay, 0)) > 0:
                found.append(Loss(more, relay, total))
                self._note(relay, total)
        return found

    def _note(self, relay: str, total: int) -> None:
        self._totals[relay] = max(total, self._totals.pop(relay, 0))
        while len(self._totals) > _REMEMBERED:
            del self._totals[next(iter(self._totals))]
