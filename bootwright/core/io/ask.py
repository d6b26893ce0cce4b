"""The last question before a destination is overwritten."""

import sys
from collections.abc import Callable

Ask = Callable[[str], str]
"""Shows a text and returns the line that the operator typed."""


def terminal() -> Ask | None:
    """Return a way to ask the operator; ``None`` without a terminal.

    The text goes to standard error; standard output is kept for results.
    """
    if not sys.stdin.isatty():
        return None

    def ask(text: str) -> str:
        print(text, end="", file=sys.stderr, flush=True)
        return sys.stdin.readline()

    return ask
