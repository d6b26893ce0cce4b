"""The words that ``inv logs`` takes."""

from typing import Literal

LogsAction = Literal["serve", "tail", "web", "unit", "compose"]

SeverityName = Literal["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"]
"""Of syslog, from the worst (0) to the least (7)."""
