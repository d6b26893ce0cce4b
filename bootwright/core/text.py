"""Text from elsewhere, made safe to show on a terminal."""


def sanitize_line(text: str) -> str:
    """Return a board's text as it may be shown: nothing in it acts on a terminal.

    Control characters and invisible ones, such as those that turn the direction of
    writing, become U+FFFD.
    """
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def sanitize_text(text: str) -> str:
    """Return a text of several lines, which may quote a board, as it may be shown."""
    return "\n".join(sanitize_line(line.expandtabs()) for line in text.split("\n"))
