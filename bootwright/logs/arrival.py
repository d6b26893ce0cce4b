"""The time of a record whose board has a wrong clock: when it arrived, as far as that is known.

A record is stored in the order of arrival, in a file for the day of its arrival. So a time that is
far from that day, such as 1970, is wrong; the record is then as old as the one that arrived after
it.
"""

from datetime import UTC, datetime, timedelta

MAX_TIME_DIFFERENCE = timedelta(hours=36)
"""How far a record's time may be from noon of the day of its arrival. If it is further away, the
board's clock was wrong."""

MAX_DELAY = timedelta(days=30)
"""How long a board may keep its records while it cannot deliver them. A time that is no further
before the arrival may be right."""


class ArrivalTimes:
    """Gives each line of a board's log a time; the lines are read from the last to the first."""

    def __init__(self) -> None:
        self._time = datetime.max.replace(tzinfo=UTC)
        self._day, self._noon = "", self._time

    def time_of(self, file: str, time: datetime | None) -> datetime:
        """Return the time of the next line: its own, or that of the line that arrived after it.

        Args:
            file: the name of its file, such as ``2026-11-26.log``.
            time: its own time; ``None`` if it has none.
        """
        if file != self._day:
            self._day = file
            self._noon = datetime.fromisoformat(f"{file.removesuffix('.log')}T12:00:00+00:00")
        if time is not None and abs(time - self._noon) < MAX_TIME_DIFFERENCE:
            self._time = time
        return self._time

    def searched_time(self, time: datetime | None) -> datetime:
        """Return the time by which the line of the last call of :meth:`time_of` is searched for.

        It is its own as well if the board may have delivered it late.

        Args:
            time: its own time; ``None`` if it has none.
        """
        if time is not None and timedelta(0) < self._noon - time < MAX_DELAY:
            return time
        return self._time


def time_now(time: datetime | None, now: datetime) -> datetime:
    """Return the time of a record that arrives now: its own, or ``now`` if that is wrong."""
    if time is not None and abs(time - now) < MAX_TIME_DIFFERENCE:
        return time
    return now
