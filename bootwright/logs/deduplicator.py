"""Removing repeated records from a delivery, and adding a record about lost ones."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

from bootwright.logs import losses
from bootwright.logs.delivery import LOSS, Delivered
from bootwright.logs.record import LogRecord, format_record

REMEMBERED_LINES = 5_000
"""How many of the last lines a new one is compared with.

A relay repeats at most two deliveries of 500 records.
"""

_PRIORITY = 5 * 8 + 4
"""The priority of the record about lost ones: facility syslog, severity warning."""


@dataclass(frozen=True)
class Added:
    """What a delivery adds to a board's log.

    Attributes:
        lines: the lines to store, in order.
        repeated: how many records were stored already, because an acknowledgement was lost.
        lost: how many more records the board has lost than was known before.
        totals: all losses that are known now; they have to be stored.
    """

    lines: tuple[str, ...]
    repeated: int
    lost: int
    totals: losses.Totals


class Deduplicator:
    """Finds records of one board that were delivered before.

    :meth:`add` returns the new records, and remembers them as stored: the caller has to store
    them. If that fails, this object must be discarded and made again from what is stored.
    """

    def __init__(self, board: str, last_lines: Sequence[str], totals: losses.Totals) -> None:
        """Start with what is stored.

        Args:
            board: the board's name.
            last_lines: the last lines of its log, the oldest first.
            totals: the losses that are known.
        """
        self._board = board
        self._known: set[bytes] = set()
        self._order: deque[bytes] = deque()
        self._totals = totals
        self._remember(map(_digest, last_lines))

    def add(self, delivered: Iterable[Delivered], now: datetime) -> Added:
        """Return what a delivery adds.

        A record is a repetition if it equals a stored one completely, including its number and its
        time in microseconds.
        """
        lines, repeated, lost = [], 0, 0
        for one in delivered:
            if one.origin == LOSS:
                more, self._totals = losses.add_report(one.record.text, self._totals)
                lost += more
                continue
            line = format_record(one.record)
            if (digest := _digest(line)) in self._known:
                repeated += 1
                continue
            lines.append(line)
            self._remember([digest])
        if lost:
            lines.append(format_record(self._loss_record(lost, now)))
        return Added(tuple(lines), repeated, lost, self._totals)

    def _remember(self, digests: Iterable[bytes]) -> None:
        for digest in digests:
            self._known.add(digest)
            self._order.append(digest)
            if len(self._order) > REMEMBERED_LINES:
                self._known.discard(self._order.popleft())

    def _loss_record(self, lost: int, now: datetime) -> LogRecord:
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
