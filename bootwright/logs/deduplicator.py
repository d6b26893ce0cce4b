"""What a delivery adds to a board's log: each record once, and word of those that are lost."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

from bootwright.logs import losses
from bootwright.logs.delivery import LOSS, Delivered
from bootwright.logs.record import LogRecord, format_record

REMEMBERED = 5_000
"""Lines that are known by heart; a relay repeats at most two deliveries, of 500 records each."""

_PRIORITY = 5 * 8 + 4
"""Of the word about lost records: facility syslog, severity warning."""


@dataclass(frozen=True)
class Added:
    """What a delivery adds.

    Attributes:
        lines: to be stored, in order.
        repeated: records that were there already, since an acknowledgement had been lost.
        lost: records that the board lost, known only now.
        totals: what is known of losses by now, to be kept.
    """

    lines: tuple[str, ...]
    repeated: int
    lost: int
    totals: losses.Totals


class Deduplicator:
    """The recent past of one board's log.

    Where an addition cannot be stored, the inbox has to be made anew from what is stored.
    """

    def __init__(self, board: str, last_lines: Sequence[str], totals: losses.Totals) -> None:
        """Begin with what is stored.

        Args:
            board: whose.
            last_lines: the end of its log, the oldest first.
            totals: what is known of losses.
        """
        self._board = board
        self._known: set[bytes] = set()
        self._order: deque[bytes] = deque()
        self._totals = totals
        self._remember(map(_digest, last_lines))

    def add(self, delivered: Iterable[Delivered], now: datetime) -> Added:
        """Return what a delivery adds.

        A record that equals a stored one in everything, its number and its microsecond too, is
        the same one again.
        """
        lines, repeated, lost = [], 0, 0
        for one in delivered:
            if one.origin == LOSS:
                more, self._totals = losses.told(one.record.text, self._totals)
                lost += more
                continue
            line = format_record(one.record)
            if (digest := _digest(line)) in self._known:
                repeated += 1
                continue
            lines.append(line)
            self._remember([digest])
        if lost:
            lines.append(format_record(self._word_of(lost, now)))
        return Added(tuple(lines), repeated, lost, self._totals)

    def _remember(self, digests: Iterable[bytes]) -> None:
        for digest in digests:
            self._known.add(digest)
            self._order.append(digest)
            if len(self._order) > REMEMBERED:
                self._known.discard(self._order.popleft())

    def _word_of(self, lost: int, now: datetime) -> LogRecord:
        return LogRecord(
            priority=_PRIORITY,
            time=now,
            board=self._board,
            app="bootwright",
            process="",
            text=f"{lost} records are lost: the board's queue was full",
            lost=lost,
        )


def _digest(line: str) -> bytes:
    return blake2b(line.encode("utf-8", "replace"), digest_size=16).digest()
