"""Finding a text that other output cuts into, at any place and more than once.

The kernel and systemd write whole lines to the console without asking who else is
printing there. What a program prints is then found in pieces: the first one anywhere in
a line, up to where a foreign line cuts in; each further one at the beginning of a later
line, after the foreign line has ended (systemd issue 5123 shows such a prompt).

A person puts the pieces together, and so does :class:`TornTexts`: after each piece it
follows both what may come next, the rest of the text and a foreign line.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

FOREIGN_LINES = 16
"""Lines that may cut in between two pieces; who prints that much more is not tearing."""


@dataclass(frozen=True)
class Any_:
    """In a pattern: one or more characters that ``allowed`` accepts."""

    allowed: Callable[[str], bool]


Pattern = tuple[str | Any_, ...]
"""Literal text and :class:`Any_` in turn."""


@dataclass
class _Node:
    """What has been read up to here of every pattern that begins so."""

    literal: dict[str, "_Node"] = field(default_factory=dict)
    wild: "_Node | None" = None
    allowed: Callable[[str], bool] | None = None
    name: str | None = None

    def after(self, char: str) -> "Iterable[_Node]":
        if char in self.literal:
            yield self.literal[char]
        if self.wild is not None and self.wild.accepts(char):
            yield self.wild
        if self.accepts(char):
            yield self

    def accepts(self, char: str) -> bool:
        return self.allowed is not None and self.allowed(char)


class TornTexts:
    """Follows a console, character by character, and says which texts have just ended.

    Args:
        patterns: by name, the texts to find. One may be the beginning of another, and
            several may have the same name.
    """

    def __init__(self, patterns: Iterable[tuple[str, Pattern]]) -> None:
        self._root = _Node()
        for name, pattern in patterns:
            self._add(name, pattern)
        self._line = 0
        self._here: list[_Node] = []
        # Where a foreign line may have cut in, and in which line that was.
        self._cut: dict[int, tuple[_Node, int]] = {}

    def put(self, char: str, may_begin: bool = True) -> set[str]:
        """Take the next character of the line; return the names of the texts that end here.

        Args:
            char: what was printed.
            may_begin: whether a text may begin with it.
        """
        here = [after for node in self._here for after in node.after(char)]
        if may_begin:
            here += self._root.after(char)
        for node in here:
            self._cut[id(node)] = (node, self._line)
        self._here = here
        return {node.name for node in here if node.name is not None}

    def end_line(self) -> None:
        """The line has ended: what was cut may go on with the next character."""
        self._line += 1
        self._cut = {
            key: (node, line)
            for key, (node, line) in self._cut.items()
            if self._line - line <= FOREIGN_LINES
        }
        self._here = [node for node, _ in self._cut.values()]

    def forget(self) -> None:
        """Give up every text that has begun."""
        self._here = []
        self._cut = {}

    def _add(self, name: str, pattern: Pattern) -> None:
        node = self._root
        for part in pattern:
            if isinstance(part, Any_):
                if node.wild is None:
                    node.wild = _Node(allowed=part.allowed)
                node = node.wild
            else:
                for char in part:
                    node = node.literal.setdefault(char, _Node())
        node.name = name
