"""The words that options and arguments of ``inv logs`` may be."""

from typing import Literal

LogsAction = Literal["serve", "tail", "web", "unit", "compose"]

SeverityName = Literal["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"]
"""The severities of syslog, from the most urgent (0) to the least urgent (7)."""
