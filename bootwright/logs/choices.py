"""The allowed words of arguments and options of ``inv logs``."""

from typing import Literal

LogsAction = Literal["serve", "tail", "check", "web", "unit", "compose"]

SeverityName = Literal["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"]
"""The severities of syslog, from the most urgent (0) to the least urgent (7)."""
