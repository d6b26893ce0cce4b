"""What every task shares: errors to exit codes, one JSON document, one line of result."""

import functools
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from invoke.exceptions import Exit

from bootwright.errors import BootwrightError, FailedError

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


def print_result(document: dict[str, Any], lines: list[str], as_json: bool) -> None:
    """Print the result on standard output: one JSON document, or the lines."""
    print(json.dumps(document, indent=2) if as_json else "\n".join(lines))


def _red(text: str) -> str:
    return f"\033[31m{text}\033[0m" if sys.stderr.isatty() else text
