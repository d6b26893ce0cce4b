"""Asking the operator a question at the terminal."""

import sys
from collections.abc import Callable

Ask = Callable[[str], str]
"""Shows a text and returns the line that the operator typed."""


def terminal() -> Ask | None:
    """Return a function that asks the operator; ``None`` without a terminal.

    The question is printed on standard error; standard output is for results.
    """
    if not sys.stdin.isatty():
        return None

    def ask(text: str) -> str:
        print(text, end="", file=sys.stderr, flush=True)
        return sys.stdin.readline()

    return ask
