"""What every task shares: errors to exit codes, one JSON document, one line of result."""

import functools
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from invoke.context import Context
from invoke.exceptions import Exit, ParseError
from invoke.program import Program

from bootwright.core.errors import BootwrightError, FailedError, InputError
from bootwright.core.text import sanitize_text

INTERRUPTED = 4
"""Exit code of Ctrl-C: what was asked for did not come about."""

OUR_BUG = 70

P = ParamSpec("P")
R = TypeVar("R")


def guarded(function: Callable[P, R]) -> Callable[P, R]:
    """Turn errors into a message on standard error and the exit code of their class."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            _check_invocation(function.__name__, args, kwargs)
            return function(*args, **kwargs)
        except BootwrightError as error:
            raise Exit(_red(f"error: {error}"), code=error.exit_code) from None
        except KeyboardInterrupt:
            raise Exit(_red("interrupted"), code=INTERRUPTED) from None
        except BrokenPipeError:
            # The reader of our output has gone; nobody is left to tell.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise Exit(code=INTERRUPTED) from None
        except OSError as error:
            # A full disk, a folder without permission: the machine's fault, not a bug.
            raise Exit(_red(f"error: {error}"), code=FailedError.exit_code) from None
        except Exit:
            raise
        except Exception:
            traceback.print_exc()
            message = "error: this is a bug of bootwright; please report the lines above"
            raise Exit(_red(message), code=OUR_BUG) from None

    return wrapper


def _check_invocation(name: str, args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
    """Catch two things that Invoke takes for something else than a person means.

    ``inv TASK --help`` gives ``--help`` to a task's positional argument; and Invoke's own
    ``--dry`` runs the task all the same, one slip away from ``--dry-run``.
    """
    if "--help" in kwargs.values() or "-h" in kwargs.values():
        os.execv(sys.executable, [sys.executable, "-m", "invoke", "--help", name])
    context = args[0] if args else None
    if isinstance(context, Context) and context.config.run.dry:
        raise InputError("Invoke's own --dry (-R) changes nothing here; did you mean --dry-run?")


def end_wrong_options_with_2(program: type[Program] = Program) -> None:
    """Have Invoke end with 2 (wrong input), not 1, when it does not understand an option.

    Invoke offers no setting for it. ``tasks.py`` calls this as it is loaded, which is
    before Invoke looks at the tasks' options.
    """
    parse = program.parse_tasks

    def parse_tasks(self: Program) -> None:
        try:
            parse(self)
        except ParseError as error:
            raise Exit(_red(f"error: {error}"), code=InputError.exit_code) from None

    program.parse_tasks = parse_tasks  # type: ignore[method-assign]


def whole_number(option: str, text: str, least: int, most: int) -> int:
    """Return an option's whole number.

    Raises:
        InputError: it is none, or not between ``least`` and ``most``.
    """
    if not (text.isascii() and text.isdecimal()) or not least <= int(text) <= most:
        raise InputError(f"{option}: {text!r} is not a whole number from {least} to {most}")
    return int(text)


def print_result(document: dict[str, Any], lines: list[str], as_json: bool) -> None:
    """Print the result on standard output: one JSON document, or the lines."""
    if as_json or lines:
        print(json.dumps(document, indent=2) if as_json else "\n".join(map(sanitize_text, lines)))


def _red(text: str) -> str:
    text = sanitize_text(text)
    return f"\033[31m{text}\033[0m" if sys.stderr.isatty() else text
