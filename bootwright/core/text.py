"""Making text from a board, a file or a tool safe to print on a terminal."""


def sanitize_line(text: str) -> str:
    """Return a line of text that is safe to print: it contains no control sequences.

    Control characters and invisible ones, such as those that change the direction of
    writing, become U+FFFD.
    """
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def sanitize_text(text: str) -> str:
    """Return a text of several lines that is safe to print; tabs become blanks."""
    return "\n".join(sanitize_line(line.expandtabs()) for line in text.split("\n"))
