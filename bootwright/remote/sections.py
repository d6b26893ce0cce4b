"""What a script on a board tells: named sections of lines, safe from what is in them.

``== NAME`` begins a section; every line of its content has ``|`` in front, so that a file's
content is never taken for a section of its own; ``== end`` comes last of all. What a login
shell prints beforehand is in no section and is passed over.
"""

from dataclasses import dataclass

from bootwright.core.errors import FailedError
from bootwright.core.shell import render
from bootwright.core.text import sanitize_line

SECTIONS = "remote/shell/sections.sh"
"""The file with the shell functions that sections are written with.

:func:`bootwright.core.shell.render` puts it before a script that reports.
"""

PRELUDE = render(SECTIONS)

END = "section end\n"
"""The shell command that a script ends with; without its section it was cut short."""


@dataclass(frozen=True)
class Section:
    """A section's name and its lines."""

    name: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The lines, each with its end."""
        return "".join(f"{line}\n" for line in self.lines)

    def line(self, number: int) -> str:
        """Return a line, counted from 0; empty if there is none."""
        return self.lines[number] if number < len(self.lines) else ""


def parse_sections(text: str) -> tuple[Section, ...]:
    """Return the sections in ``text``, in order, without the last one that is the end.

    Control characters and those that turn the direction of writing, by which a board could
    play with the operator's terminal, become U+FFFD; a tab becomes a blank.

    Raises:
        FailedError: the end is missing.
    """
    found: list[tuple[str, list[str]]] = []
    # Not splitlines(), which takes more for a line's end than the shell does.
    for line in text.split("\n"):
        if line.startswith("== "):
            found.append((line[3:], []))
        elif found and line.startswith("|"):
            found[-1][1].append(sanitize_line(line[1:].replace("\t", " ")))
    if not found or found[-1][0] != "end":
        # What is in a section may be a secret; what is before them all, a login shell has said.
        where = f"in {found[-1][0]}" if found else f"it is: {text.strip()[-200:]!r}"
        raise FailedError(f"the board's answer was cut short, {where}")
    return tuple(Section(name, tuple(lines)) for name, lines in found[:-1])
