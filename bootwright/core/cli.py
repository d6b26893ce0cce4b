"""What all tasks share: exit codes and error messages, numbers of options, printing results."""

import json
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from invoke.exceptions import Exit

from bootwright.core.errors import BootwrightError, FailedError, InputError
from bootwright.core.paths import display_path
from bootwright.core.result import CommandResult, TableResult
from bootwright.core.secret import printable
from bootwright.core.text import sanitize_text, wrap_line

INTERRUPTED = 4
"""Exit code after Ctrl-C: the task was not finished."""

OUR_BUG = 70
"""Exit code after an exception that is a bug of Bootwright."""


class ChildStatus(Exit):
    """Ends the run with the exit status of the command that ``inv ssh`` ran."""


def report_end(error: BaseException, log: Path | None = None) -> int:
    """Print the error that ended a run on standard error, and return the exit code.

    Args:
        error: the exception that ended the run.
        log: the file with the log of the run, which is printed as well; ``None`` without one.
    """
    match error:
        case Exit():
            if error.message:
                _print_error(error.message)
        case BootwrightError():
            _print_error(f"error: {error}")
        case KeyboardInterrupt():
            _print_error("interrupted")
        case BrokenPipeError():
            # The program that read our output has ended, so a message would have no reader.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return exit_code(error)
        case OSError():
            _print_error(f"error: {error}")
        case _:
            _print_error("".join(traceback.format_exception(error)).rstrip())
            _print_error("error: this is a bug of bootwright; please report the lines above")
    code = exit_code(error)
    if code and log is not None and not isinstance(error, ChildStatus):
        print(sanitize_text(f"what this run did: {display_path(log)}"), file=sys.stderr)
    return code


def exit_code(error: BaseException) -> int:
    """Return the exit code of a run that ``error`` ended."""
    match error:
        case Exit():
            return int(error.code)
        case BootwrightError():
            return error.exit_code
        case KeyboardInterrupt() | BrokenPipeError():
            return INTERRUPTED
        case OSError():
            # For example a full disk or a missing permission: not a bug of this program.
            return FailedError.exit_code
        case SystemExit():
            return error.code if isinstance(error.code, int) else OUR_BUG
        case _:
            return OUR_BUG


def whole_number(option: str, text: str, least: int, most: int) -> int:
    """Return the whole number that was given to an option.

    Raises:
        InputError: it is not a whole number from ``least`` to ``most``.
    """
    # Python's int() refuses very long texts.
    is_number = text.isascii() and text.isdecimal() and len(text) < 20
    if not is_number or not least <= int(text) <= most:
        shown = text if len(text) < 40 else f"{text[:40]}..."
        raise InputError(f"{option}: {shown!r} is not a whole number from {least} to {most}")
    return int(text)


def print_result(result: CommandResult, as_json: bool) -> None:
    """Print a command's result on standard output: its JSON document, or its lines.

    On a terminal, the lines of a table are wrapped between words. All else is printed as it is: it
    may be a file, or a command that somebody copies.
    """
    if as_json:
        print(json.dumps(result.document(), indent=2))
        return
    width = terminal_width(sys.stdout) if isinstance(result, TableResult) else None
    lines = result.lines_within(width) if isinstance(result, TableResult) else result.lines()
    for text in lines:
        for line in sanitize_text(text).split("\n"):
            print("\n".join([line] if width is None else wrap_line(line, width)))


def terminal_width(stream: TextIO) -> int | None:
    """Return the columns of the terminal that a stream is; ``None`` if it is none."""
    try:
        # One that does not know its size says 0.
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


def wants_colour(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Return whether a text for ``stream`` is printed in colour: only on a terminal that has it.

    ``NO_COLOR`` with any value but an empty one forbids it (no-color.org); ``TERM=dumb`` is a
    terminal without control sequences.
    """
    if environment.get("NO_COLOR") or environment.get("TERM") in ("dumb", "unknown"):
        return False
    return stream.isatty()


def _print_error(text: str) -> None:
    text = printable(text)
    colour = wants_colour(sys.stderr, os.environ)
    print(f"\033[31m{text}\033[0m" if colour else text, file=sys.stderr)
