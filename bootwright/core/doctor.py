"""``inv doctor``: whether this machine and its user have what Bootwright needs."""

from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bootwright.core.doctor_report import Configuration, DoctorReport, Row, State, examine
from bootwright.core.io.machine import collect_machine
from bootwright.core.paths import build_dir, cache_dir

_COLOURS: dict[State, str] = {
    "ok": "green",
    "missing": "red",
    "optional": "dim",
    "warning": "yellow",
}


TABLE_COLUMNS = 60
"""Columns of the narrowest terminal in which the table can be read."""


def doctor(
    configuration: Configuration, cache: Path | None = None, build: Path | None = None
) -> DoctorReport:
    """Examine this machine and return the report; changes nothing.

    The caller prints it (:func:`show`, or :meth:`DoctorReport.document` as JSON) and exits
    with :attr:`DoctorReport.exit_code`.

    Args:
        configuration: what is known about the targets.
        cache: the cache directory; the usual one when ``None``.
        build: the directory for images; the usual one when ``None``.

    Raises:
        FailedError: the list of tools cannot be read.
    """
    return examine(collect_machine(cache or cache_dir(), build or build_dir()), configuration)


def show(report: DoctorReport, out: TextIO) -> None:
    """Print the report: a table on a terminal that is wide enough, plain lines elsewhere."""
    console = Console(file=out, highlight=False)
    if not console.is_terminal or console.width < TABLE_COLUMNS:
        print("\n".join(report.lines()), file=out)
        return
    console.print(_table((*report.tools, *report.checks)))
    print("\n".join(report.conclusion()), file=out)


def _table(rows: tuple[Row, ...]) -> Table:
    table = Table()
    table.add_column(no_wrap=True)
    for title in ("what", "found", "needed for"):
        table.add_column(title, overflow="fold")  # a long path is continued, not cut
    for row in rows:
        colour = _COLOURS[row.state]
        found = " ".join(filter(None, (row.found, row.hint)))
        table.add_row(
            f"[{colour}]{row.state}[/{colour}]",
            *(escape(text) for text in (row.name, found, row.need)),
        )
    return table
