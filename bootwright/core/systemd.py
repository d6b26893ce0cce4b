"""Names of systemd's units, and parsing the output of ``systemctl show``."""

from collections.abc import Iterable, Iterator


def unit_name(text: str) -> str:
    """Return ``text`` escaped for a unit's name, as ``systemd-escape`` does."""
    escaped = "".join(
        "-"
        if char == "/"
        else char
        if char.isascii() and (char.isalnum() or char in ":_.")
        else "".join(f"\\x{byte:02x}" for byte in char.encode())
        for char in text
    )
    return "\\x2e" + escaped[1:] if escaped.startswith(".") else escaped


def unit_properties(lines: Iterable[str]) -> Iterator[dict[str, str]]:
    """Yield the properties of each unit that ``systemctl show UNIT…`` printed, by their names.

    A unit is a block of lines ``NAME=VALUE``; an empty line ends it.
    """
    values: dict[str, str] = {}
    for line in (*lines, ""):
        name, _, value = line.partition("=")
        if line:
            values[name] = value
        elif values:
            yield values
            values = {}
