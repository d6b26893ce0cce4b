"""Doing the same work on several boards at the same time.

A terminal shows one line for each board that is at work. Its result and its warnings are printed
together, under its name, when it has ended.
"""

import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Generic, TextIO, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from bootwright.core.errors import BootwrightError, FailedError
from bootwright.core.report import Meter, Reporter
from bootwright.core.secret import mask, printable

ALIVE_S = 10.0
"""Seconds between two lines that name the boards at work, where there is no terminal."""

T = TypeVar("T")


class OurBugError(BootwrightError):
    """The work on a board raised an error that is none of ours; its traceback was printed."""

    exit_code = 70


@dataclass(frozen=True)
class _Ended(Generic[T]):
    """The end of the work on a board: what it returned or raised.

    Attributes:
        name: the board's.
        result: what was returned or raised.
        seconds: how long it took.
        warnings: those that were given meanwhile.
    """

    name: str
    result: T | BaseException
    seconds: float
    warnings: tuple[str, ...]


class _Silent:
    """A meter that is not shown: there is one line for each board, without room for bars."""

    def advance(self, count: int) -> None:
        """Do nothing."""


class BoardReporter:
    """The reporter of one board among several.

    Its latest step or note is shown, through ``show``; its warnings are kept for the end.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self.warnings: list[str] = []

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Show the title as what the board does now."""
        self._show(title)
        yield

    def meter(self, title: str, total: int | None) -> AbstractContextManager[Meter]:  # noqa: ARG002
        """Show the title only."""
        self._show(title)
        return nullcontext(_Silent())

    def note(self, text: str) -> None:
        """Show a note until the next step or note."""
        self._show(text)

    def warn(self, text: str) -> None:
        """Keep a warning for the end."""
        self.warnings.append(f"warning: {text}")


class Fleet(Generic[T]):
    """A run over several boards.

    Args:
        names: the boards.
        work: what is done to a board; called with its name and its reporter, in a thread. It
            must not ask the operator anything: several boards would ask at once.
        summary: returns the line about a result, and whether it is a success.
        parallel: how many boards at a time.
        out: where progress and results are printed; standard error if ``None``.
    """

    def __init__(
        self,
        names: Sequence[str],
        work: Callable[[str, Reporter], T],
        summary: Callable[[T], tuple[str, bool]],
        parallel: int,
        out: TextIO | None = None,
    ) -> None:
        self._names = names
        self._work, self._summary = work, summary
        self._parallel = min(parallel, len(names))
        self._console = Console(
            file=out or sys.stderr, highlight=False, soft_wrap=True, emoji=False
        )
        self._waiting = list(names)
        self._running: dict[str, float] = {}
        self._lock = threading.Lock()
        self._done: queue.Queue[_Ended[T]] = queue.Queue()
        self._latest: dict[str, str] = {}

    def run(self) -> dict[str, T | BootwrightError]:
        """Do the work on each board; return its result or error, in the order of the names.

        Raises:
            KeyboardInterrupt: Ctrl-C; the boards at work were printed, and no other was begun.
            SystemExit: SIGTERM or SIGHUP was received; likewise.
        """
        results: dict[str, T | BootwrightError] = {}
        try:
            with self._display() as redraw:
                for _ in range(self._parallel):
                    threading.Thread(target=self._worker, daemon=True).start()
                while len(results) < len(self._names):
                    ended = self._next_ended(redraw)
                    if ended is not None:
                        results[ended.name] = self._report(ended)
        except (KeyboardInterrupt, SystemExit):
            with self._lock:
                self._waiting.clear()
                under_way = ", ".join(self._running) or "none"
            # After the display of rich has been closed: it would remove this line with its own.
            # Not printed by rich, which may have been interrupted in the middle of a line.
            print(f"stopped; boards under way: {under_way}", file=self._console.file)
            raise
        return {name: results[name] for name in self._names}

    def _worker(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    return
                name = self._waiting.pop(0)
                self._running[name] = time.monotonic()
            reporter = BoardReporter(lambda text, name=name: self._show(name, text))  # type: ignore[misc]
            result: T | BaseException
            try:
                result = self._work(name, reporter)
            except BaseException as error:
                result = error
            with self._lock:
                seconds = time.monotonic() - self._running.pop(name)
            self._done.put(_Ended(name, result, seconds, tuple(reporter.warnings)))

    def _show(self, name: str, text: str) -> None:
        self._latest[name] = printable(text)

    def _next_ended(self, redraw: Callable[[], None]) -> "_Ended[T] | None":
        on_terminal = self._console.is_terminal
        try:
            return self._done.get(timeout=0.2 if on_terminal else ALIVE_S)
        except queue.Empty:
            if on_terminal:
                redraw()
            else:
                with self._lock:
                    names = ", ".join(self._running)
                self._console.print(f"at work: {names}", markup=False)
            return None

    def _report(self, ended: "_Ended[T]") -> T | BootwrightError:
        result = ended.result
        if isinstance(result, OSError):
            # Such as a full disk: this machine failed, as in core/cli.py.
            result = FailedError(str(result))
        if isinstance(result, BootwrightError):
            self._print(ended, str(result), False)
            return result
        if isinstance(result, BaseException):
            lines = "".join(traceback.format_exception(result))
            self._console.print(mask(lines), markup=False)
            bug = OurBugError("this is a bug of bootwright; please report the lines above")
            self._print(ended, str(bug), False)
            return bug
        self._print(ended, *self._summary(result))
        return result

    def _print(self, ended: "_Ended[T]", text: str, success: bool) -> None:
        mark = "[green]✓[/green]" if success else "[red]✗[/red]"
        took = f"[dim]({ended.seconds:.1f} s)[/dim]"
        first, *rest = printable(text).splitlines() or [""]
        lines = [f"{mark} {escape(ended.name)} {took}: {escape(first)}"]
        rest += printable("\n".join(ended.warnings)).splitlines()
        lines += [f"    {escape(line)}" for line in rest]
        self._console.print("\n".join(lines))

    @contextmanager
    def _display(self) -> Iterator[Callable[[], None]]:
        if not self._console.is_terminal:
            yield lambda: None
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            rows: dict[str, TaskID] = {}

            def redraw() -> None:
                with self._lock:
                    running = dict(self._running)
                for name in [name for name in rows if name not in running]:
                    progress.remove_task(rows.pop(name))
                for name in running:
                    line = Text(f"{name}: {self._latest.get(name, '')}")
                    # One line for a board, with room for the time and for the ^C of Ctrl-C.
                    line.truncate(max(8, self._console.width - 16), overflow="ellipsis")
                    text = line.plain
                    if name not in rows:
                        rows[name] = progress.add_task(text, total=None)
                    else:
                        progress.update(rows[name], description=text)

            yield redraw


def worst(errors: Mapping[str, object]) -> int:
    """Return the exit code for all boards: 0 if none failed, else that of the worst error.

    The worst is a bug of ours, then a board that failed, a refusal, and wrong input.
    """
    codes = {error.exit_code for error in errors.values() if isinstance(error, BootwrightError)}
    return next((code for code in (70, 4, 3, 2) if code in codes), 0)
