"""How a script on a board reports: named sections of lines.

``== NAME`` begins a section. Each line of its content has ``|`` in front, so that the content of
a file is never taken for another section. ``== end`` comes last of all. What a login shell prints
before the first section is ignored.
"""

from dataclasses import dataclass

from bootwright.core.errors import FailedError
from bootwright.core.text import sanitize_line

SECTIONS = "remote/shell/sections.sh"
"""The file with the shell functions that a script writes sections with.

It is the first file of such a script; see :func:`bootwright.core.shell.render`.
"""


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

    Characters by which a board could control the operator's terminal become U+FFFD: control
    characters, and those that change the direction of writing. A tab becomes a blank.

    Raises:
        FailedError: the end is missing.
    """
    found: list[tuple[str, list[str]]] = []
    # Not splitlines(): for it, characters end a line that do not in a shell.
    for line in text.split("\n"):
        if line.startswith("== "):
            found.append((line[3:], []))
        elif found and line.startswith("|"):
            found[-1][1].append(sanitize_line(line[1:].replace("\t", " ")))
    if not found or found[-1][0] != "end":
        where = f", in {sanitize_line(found[-1][0])[:40]}" if found else ""
        raise FailedError(f"the board's answer was cut short{where}")
    return tuple(Section(name, tuple(lines)) for name, lines in found[:-1])
