"""Shell scripts for boards: ``.sh`` files of this package, with their variables set before them.

A script that is sent to a board consists of

1. a prologue: a line ``name='value'`` for each variable, quoted by :func:`quote`;
2. one or more ``.sh`` files, as they are; those with shared functions come first.

Nothing is ever replaced inside a file, so a value cannot become code, and shellcheck can read both
the files and the rendered scripts (``tests/test_shell.py``). A value is a text, a number, a
boolean (``yes`` or empty), or a list of words. A POSIX shell has no lists; a script reads one with
``eval "set -- $names"``, after which ``"$@"`` are the words, whatever characters they contain.
"""

import re
import shlex
from collections.abc import Iterable
from functools import cache
from pathlib import Path

Value = str | int | tuple[str, ...]
"""The type of a script variable's value; see :func:`render`."""

SHEBANG = "#!/bin/sh\n"
"""The first line of each ``.sh`` file of this package."""

_PACKAGE = Path(__file__).parents[1]

_NAME = re.compile(r"[a-z_][a-z0-9_]*")


def quote(text: str) -> str:
    """Return ``text`` as one word for a POSIX shell.

    Raises:
        ValueError: it contains a NUL, which is not possible in a shell.
    """
    if "\0" in text:
        raise ValueError("a word for a shell cannot contain a NUL")
    return shlex.quote(text)


def quote_words(words: Iterable[str]) -> str:
    """Return ``words`` as a command line, or a part of one, for a POSIX shell."""
    return " ".join(map(quote, words))


def render(*files: str, **variables: Value) -> str:
    """Return a script: ``variables``, then the content of ``files`` in this order.

    It has no ``#!`` line, so that it can be appended to another script; see :func:`render_program`.

    Args:
        files: paths below ``bootwright/``, such as ``remote/shell/sections.sh``.
        variables: the values by name. ``True`` becomes ``yes`` and ``False`` empty; a tuple
            becomes a list for ``eval "set -- $name"``.

    Raises:
        ValueError: a name is not allowed for a shell variable, or a value contains a NUL.
    """
    for name in variables:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a name for a variable of a script")
    prologue = [f"{name}={quote(_text(value))}\n" for name, value in variables.items()]
    return "".join([*prologue, *map(_read, files)])


def render_program(*files: str, **variables: Value) -> str:
    """Return the script of :func:`render` with a ``#!`` line, for an executable file."""
    return SHEBANG + render(*files, **variables)


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return quote_words(value) if isinstance(value, tuple) else str(value)


@cache
def _read(file: str) -> str:
    return (_PACKAGE / file).read_text(encoding="utf-8").removeprefix(SHEBANG)
