"""``inv doctor``: whether this machine and its user have what Bootwright needs."""

from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.text import Text

from bootwright.core.cli import terminal_width
from bootwright.core.doctor_report import Configuration, DoctorReport, examine
from bootwright.core.io.machine import collect_machine
from bootwright.core.paths import build_dir, cache_dir
from bootwright.core.text import wrap_line

_COLOURS: dict[str, str] = {
    "ok": "green",
    "missing": "red",
    "optional": "dim",
    "warning": "yellow",
}


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
    """Print the report; on a terminal in colour, and wrapped between words."""
    console = Console(file=out, highlight=False, soft_wrap=True)
    width = terminal_width(out)
    for line in report.lines():
        parts = [line]
        # A line that begins with a blank is a command, which may be copied.
        if width is not None and not line.startswith(" "):
            parts = wrap_line(line, width)
        for part in parts:
            text = Text(part)
            state = part.partition(" ")[0]
            if state in _COLOURS:
                text.stylize(_COLOURS[state], 0, len(state))
            console.print(text)
