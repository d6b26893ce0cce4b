"""Messages to the operator while a plan is executed: steps, progress, notes and warnings.

They go to standard error, because standard output is for the result (or the JSON
document). On a terminal there are progress bars and colours, elsewhere plain lines.
"""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from bootwright.core.run_log import event, logged
from bootwright.core.secret import mask, printable
from bootwright.core.units import format_size

PLAIN_INTERVAL_S = 5.0
"""Seconds between progress lines when standard error is not a terminal."""


class Meter(Protocol):
    """Shows the progress of one step, in bytes."""

    def advance(self, count: int) -> None:
        """Add ``count`` to the number of finished bytes."""
        ...


class Reporter(Protocol):
    """Shows the operator what is being done."""

    def step(self, title: str) -> AbstractContextManager[None]:
        """Show a step, which is the body of the context, and how long it took."""
        ...

    def meter(self, title: str, total: int | None) -> AbstractContextManager[Meter]:
        """Show the progress towards ``total`` bytes (``None`` if unknown)."""
        ...

    def note(self, text: str) -> None:
        """Show a line that the operator may want to know."""
        ...

    def warn(self, text: str) -> None:
        """Show a warning, after which the operator should do something."""
        ...


class _PlainMeter:
    def __init__(self, out: TextIO, title: str, total: int | None) -> None:
        self._out, self._title, self._total = out, title, total
        self._done = 0
        self._start = self._last = time.monotonic()

    def advance(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._last >= PLAIN_INTERVAL_S:
            self._last = now
            self.show()

    def show(self) -> None:
        seconds = max(time.monotonic() - self._start, 1e-6)
        of_total = f" of {format_size(self._total)}" if self._total else ""
        left = ""
        if self._total and 0 < self._done < self._total:
            left = f", {seconds / self._done * (self._total - self._done):.0f} s left"
        rate = format_size(int(self._done / seconds))
        print(
            f"  {self._title}: {format_size(self._done)}{of_total}, {rate}/s{left}",
            file=self._out,
            flush=True,
        )


class _SpeedColumn(ProgressColumn):
    """The rate in IEC units; the column of rich has decimal units only."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{format_size(int(speed))}/s" if speed else "")


class TextReporter:
    """Writes to a stream, with bars and colours if it is a terminal.

    ``seconds`` is the duration of each finished step, by its title.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self._console = Console(file=self._out, highlight=False, soft_wrap=True, emoji=False)
        # A terminal with TERM=dumb cannot draw a line again.
        self._shows_bars = self._console.is_terminal and not self._console.is_dumb_terminal
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Show the title while the step runs, then its duration."""
        start = time.monotonic()
        title = mask(title)
        with logged("report", title), self._running(title):
            yield
        took = time.monotonic() - start
        self.seconds[title] = took
        self._console.print(f"[green]✓[/green] {escape(title)} [dim]({took:.1f} s)[/dim]")

    def _running(self, title: str) -> AbstractContextManager[object]:
        if self._shows_bars:
            return self._console.status(escape(title))
        self._console.print(f"{title} …", markup=False)
        return nullcontext()

    @contextmanager
    def meter(self, title: str, total: int | None) -> Iterator[Meter]:
        """Show a bar on a terminal, a line every few seconds elsewhere."""
        title = mask(title)
        if not self._shows_bars:
            plain = _PlainMeter(self._out, title, total)
            yield plain
            plain.show()
            return
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            _SpeedColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console) as progress:
            task = progress.add_task(title, total=total)

            class _Bar:
                def advance(self, count: int) -> None:
                    progress.update(task, advance=count)

            yield _Bar()

    def note(self, text: str) -> None:
        """Print a line."""
        event("report", "note", text=text)
        self._console.print(f"  {printable(text)}", markup=False)

    def warn(self, text: str) -> None:
        """Print a warning; on a terminal in colour."""
        event("report", "warning", logging.WARNING, text=text)
        self._console.print(Text.assemble(("warning:", "yellow"), f" {printable(text)}"))
