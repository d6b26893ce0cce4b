"""Making text from a board, a file or a tool safe to print on a terminal, and laying it out."""

import re
import textwrap
from collections.abc import Iterable, Sequence


def sanitize_line(text: str) -> str:
    """Return a line of text that is safe to print: it contains no control sequences.

    Control characters and invisible ones, such as those that change the direction of
    writing, become U+FFFD.
    """
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], width: int | None = None
) -> list[str]:
    """Return a table with aligned columns.

    Where a line would be longer than ``width`` characters, the columns that do not fit follow on
    further lines, which begin with two blanks; so do those of the head.

    Args:
        head: the names of the columns.
        rows: the cells of each row.
        width: characters of a line; ``None``: without limit.
    """
    all_rows = [head, *rows]
    widths = [max(len(row[column]) for row in all_rows) for column in range(len(head))]
    groups: list[list[int]] = [[]]
    used = 0
    for column, needed in enumerate(widths):
        if groups[-1] and width is not None and used + 2 + needed > width:
            groups.append([])
            used = 0
        used += needed + 2 if groups[-1] or len(groups) > 1 else needed
        groups[-1].append(column)
    lines = []
    for row in all_rows:
        for group in groups:
            line = "  ".join(f"{row[column]:{widths[column]}}" for column in group).rstrip()
            lines.append(line if group is groups[0] else f"  {line}")
    return lines


def wrap_line(line: str, width: int) -> list[str]:
    """Return a line as lines of at most ``width`` characters, which end between words.

    They continue below the last column of the line if that is in its first half, else two blanks
    to the right of its beginning. A word that is longer than a line is not broken.
    """
    if len(line) <= width:
        return [line]
    begin = len(line) - len(line.lstrip())
    columns = [match.end() for match in re.finditer(r"\S {2,}(?=\S)", line)]
    right = columns[-1] if columns and columns[-1] <= width // 2 else begin + 2
    return textwrap.wrap(
        line,
        width,
        subsequent_indent=" " * right,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )


def sanitize_text(text: str) -> str:
    """Return a text of several lines that is safe to print; tabs become blanks."""
    return "\n".join(sanitize_line(line.expandtabs()) for line in text.split("\n"))
