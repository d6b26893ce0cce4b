"""What a delivery adds to a board's log: each record once, and word of those that are lost."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from bootwright.logs.losses import APP, Losses
from bootwright.logs.record import Loss, Record, format_record, parse_record

REMEMBERED = 5_000
"""Lines that are known by heart; a relay repeats at most one delivery, of 500 records."""

_PRIORITY = 5 * 8 + 4
"""Of the word about lost records: facility syslog, severity warning."""


@dataclass(frozen=True)
class Added:
    """What a delivery adds.

    Attributes:
        lines: to be stored, in order.
        repeated: records that were there already, since an acknowledgement had been lost.
        lost: records that the board lost, known only now.
    """

    lines: tuple[str, ...]
    repeated: int
    lost: int


class Inbox:
    """The recent past of one board's log.

    Where an addition cannot be stored, the inbox has to be made anew from what is stored.
    """

    def __init__(self, board: str, last_lines: Sequence[str]) -> None:
        """``last_lines``: the end of what is stored, the oldest first."""
        self._board = board
        self._known: set[str] = set()
        self._order: deque[str] = deque()
        self._losses = Losses()
        self._remember(last_lines)
        self._losses.remember(parse_record(line, board) for line in last_lines)

    def add(self, records: Iterable[Record], now: datetime) -> Added:
        """Return what a delivery adds.

        A record that equals a stored one in everything, its number and its microsecond too, is
        the same one again.
        """
        lines, repeated, lost = [], 0, 0
        for record in records:
            if record.app == APP:
                for loss in self._losses.told(record):
                    lost += loss.records
                    lines.append(format_record(self._word_of(loss, now)))
                continue
            line = format_record(record)
            if line in self._known:
                repeated += 1
            else:
                lines.append(line)
        self._remember(lines)
        return Added(tuple(lines), repeated, lost)

    def _remember(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._known.add(line)
            self._order.append(line)
        while len(self._order) > REMEMBERED:
            self._known.discard(self._order.popleft())

    def _word_of(self, loss: Loss, now: datetime) -> Record:
        return Record(
            priority=_PRIORITY,
            time=now,
            board=self._board,
            app="bootwright",
            process="",
            text=f"{loss.records} records are lost: the board's queue was full",
            lost=loss,
        )
