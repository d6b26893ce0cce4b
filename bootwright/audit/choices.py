"""The allowed words of ``--format`` and ``--fail-on`` of ``inv audit``."""

from typing import Literal

ReportFormat = Literal["text", "json", "junit", "sarif", "html"]

FailOn = Literal["never", "warn", "regression"]
