"""The words that ``inv audit`` takes for ``--format`` and ``--fail-on``."""

from typing import Literal

Form = Literal["text", "json", "junit", "sarif", "html"]

FailOn = Literal["never", "warn", "regression"]
