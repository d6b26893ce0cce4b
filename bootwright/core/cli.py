"""What the command line and all tasks share: how a run ends, numbers, and the printed result."""

import json
import os
import sys
import traceback

from invoke.exceptions import Exit

from bootwright.core.errors import BootwrightError, FailedError, InputError
from bootwright.core.result import CommandResult
from bootwright.core.text import sanitize_text

INTERRUPTED = 4
"""Exit code of Ctrl-C: what was asked for did not come about."""

OUR_BUG = 70


def report_end(error: BaseException) -> int:
    """Print on standard error how a run ended, and return its exit code."""
    match error:
        case Exit():
            if error.message:
                _print_error(error.message)
            return int(error.code)
        case BootwrightError():
            _print_error(f"error: {error}")
            return error.exit_code
        case KeyboardInterrupt():
            _print_error("interrupted")
            return INTERRUPTED
        case BrokenPipeError():
            # Whoever read our output has gone, so there is nobody to print a message for.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return INTERRUPTED
        case OSError():
            # A full disk, a folder without permission: the machine's fault, not a bug.
            _print_error(f"error: {error}")
            return FailedError.exit_code
        case _:
            traceback.print_exception(error)
            _print_error("error: this is a bug of bootwright; please report the lines above")
            return OUR_BUG


def whole_number(option: str, text: str, least: int, most: int) -> int:
    """Return an option's whole number.

    Raises:
        InputError: it is none, or not between ``least`` and ``most``.
    """
    if not (text.isascii() and text.isdecimal()) or not least <= int(text) <= most:
        raise InputError(f"{option}: {text!r} is not a whole number from {least} to {most}")
    return int(text)


def print_result(result: CommandResult, as_json: bool) -> None:
    """Print a command's result on standard output: its JSON document, or its lines."""
    if as_json:
        print(json.dumps(result.document(), indent=2))
    elif lines := result.lines():
        print("\n".join(map(sanitize_text, lines)))


def _print_error(text: str) -> None:
    text = sanitize_text(text)
    print(f"\033[31m{text}\033[0m" if sys.stderr.isatty() else text, file=sys.stderr)
