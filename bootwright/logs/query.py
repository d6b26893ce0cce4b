"""Selecting log records, and parsing the command-line options for it."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bootwright.core.errors import InputError
from bootwright.core.options import check_word
from bootwright.logs.record import SEVERITIES, LogRecord, header_word

_AGO = re.compile(r"(\d+)\s*(s|min|m|h|d)")
_ID = re.compile(r"[0-9a-f]{4,64}")
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Query:
    """Which records are wanted; the defaults match every record.

    Attributes:
        container: a container's name, id (or its beginning) or tag, or a program's name.
        severity: the least urgent severity that is wanted, 0 (most urgent) to 7.
        since: the earliest time, by the board's clock where that is right.
        until: the latest time, likewise.
        pattern: a regular expression that the text has to contain.
    """

    container: str = ""
    severity: int = 7
    since: datetime | None = None
    until: datetime | None = None
    pattern: re.Pattern[str] | None = None

    def matches(self, record: LogRecord, time: datetime) -> bool:
        """Return whether a record is wanted.

        Args:
            record: the record.
            time: its own time, or another one if that is wrong; see :mod:`bootwright.logs.arrival`.
        """
        if record.severity > self.severity:
            return False
        if self.container and not self._is_of(record):
            return False
        if self.since is not None and time < self.since:
            return False
        if self.until is not None and time > self.until:
            return False
        return self.pattern is None or self.pattern.search(record.text) is not None

    def _is_of(self, record: LogRecord) -> bool:
        # A container's own tag may have blanks; it is stored without them.
        if record.app == header_word(self.container):
            return True
        found = record.container
        if found is None:
            return False
        by_id = _ID.fullmatch(self.container) is not None and bool(found.id)
        return found.name == self.container or (
            by_id and (found.id.startswith(self.container) or self.container.startswith(found.id))
        )


def parse_since(text: str, now: datetime, option: str = "--since") -> datetime:
    """Return the time for ``10min``, ``2h`` or ``3d`` (this long ago), or for an ISO 8601 time.

    A time without a zone is local time.

    Raises:
        InputError: it is neither.
    """
    if match := _AGO.fullmatch(text.strip()):
        try:
            return now - timedelta(seconds=int(match[1]) * _UNITS[match[2]])
        except OverflowError:
            pass
    try:
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InputError(
            f"{option} {text!r}: write it like 10min, 2h, 3d, 2026-11-26 or 2026-11-26T08:30"
        ) from None


def parse_pattern(text: str, option: str = "--grep") -> re.Pattern[str]:
    """Return the regular expression ``text``.

    Raises:
        InputError: it is not one.
    """
    try:
        return re.compile(text)
    except re.error as error:
        raise InputError(f"{option} {text!r}: not a regular expression: {error}") from None


def parse_severity(text: str, option: str = "--severity") -> int:
    """Return the number of a severity.

    Raises:
        InputError: there is no such severity.
    """
    check_word(option, text, SEVERITIES)
    return SEVERITIES.index(text)
