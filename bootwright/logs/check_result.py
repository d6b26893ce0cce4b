"""What ``inv logs check`` found: the state of the collected logs, and its report. Pure."""

from dataclasses import dataclass
from typing import Any

from bootwright.core.result import to_document
from bootwright.core.units import format_size

SCHEMA = "bootwright.logs-check/1"


@dataclass(frozen=True)
class BoardLogs:
    """The collected logs of one board.

    Attributes:
        board: its name.
        used_bytes: how much of the disk they use.
        quota_bytes: how much they may use.
        trouble: what is wrong, one sentence each; empty if nothing is.
    """

    board: str
    used_bytes: int
    quota_bytes: int
    trouble: tuple[str, ...]


@dataclass(frozen=True)
class CollectorCertificate:
    """The collector's certificate.

    Attributes:
        days_left: for how many days it is valid; negative if it has ended.
        ends_soon: it is to be renewed.
        text: the same in words, and what to do.
    """

    days_left: int
    ends_soon: bool
    text: str


@dataclass(frozen=True)
class LogsCheck:
    """The state of what is collected on this machine.

    Attributes:
        folder: where the logs are.
        boards: each board's, sorted by name.
        disk: what is wrong with the disk, one sentence each; empty if nothing is.
        certificate: the collector's; ``None`` on a machine without a collector.
    """

    folder: str
    boards: tuple[BoardLogs, ...]
    disk: tuple[str, ...]
    certificate: CollectorCertificate | None

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        ends = self.certificate is not None and self.certificate.ends_soon
        return not self.disk and not ends and not any(one.trouble for one in self.boards)

    def document(self) -> dict[str, Any]:
        """Return it as one JSON document."""
        return {**to_document(SCHEMA, self), "good": self.good}

    def lines(self) -> list[str]:
        """Return a line for each board, for the disk if it is scarce, and for the certificate."""
        lines = [
            f"{one.board}: {format_size(one.used_bytes)} of {format_size(one.quota_bytes)}:"
            f" {'; '.join(one.trouble) or 'good'}"
            for one in self.boards
        ]
        lines += [f"{self.folder}: {sentence}" for sentence in self.disk]
        if self.certificate is not None:
            lines.append(f"collector's certificate: {self.certificate.text}")
        return lines
