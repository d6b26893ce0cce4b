"""Finding a text that other output cuts into, at any place and more than once.

The kernel and systemd write whole lines to the console without asking who else is
printing there. What a program prints is then found in pieces: the first one anywhere in
a line, up to where a foreign line cuts in; each further one at the beginning of a later
line, after the foreign line has ended (systemd issue 5123 shows such a prompt).

A person puts the pieces together, and so does :class:`InterleavedMatcher`: after each piece it
follows both what may come next, the rest of the text and a foreign line.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

FOREIGN_LINES = 16
"""Lines that may cut in between two pieces; who prints that much more is not tearing."""


SAME = 2
"""Characters of a foreign line that may by chance be what the text goes on with."""


MOST = 200
"""Places that are followed at once; an honest console needs a tenth."""

NO_BEGINNING = frozenset("(-_.+@0123456789")
"""What no foreign line begins with: a name that goes on so is a longer name."""


@dataclass(frozen=True)
class Name:
    """In a pattern: literal text that is not the beginning of a longer name."""

    text: str


@dataclass(frozen=True)
class Any_:
    """In a pattern: one or more characters that ``allowed`` accepts."""

    allowed: Callable[[str], bool]


Pattern = tuple[str | Name | Any_, ...]
"""Literal text, names and :class:`Any_` one after the other."""


@dataclass
class _Node:
    """What has been read up to here of every pattern that begins so."""

    literal: dict[str, "_Node"] = field(default_factory=dict)
    wild: "_Node | None" = None
    allowed: Callable[[str], bool] | None = None
    name: str | None = None
    on_way_to: set[str] = field(default_factory=set)
    ends_name: bool = False
    depth: int = 0

    def after(self, char: str) -> "Iterable[_Node]":
        if char in self.literal:
            yield self.literal[char]
        if self.wild is not None and self.wild.accepts(char):
            yield self.wild
        if self.accepts(char):
            yield self

    def accepts(self, char: str) -> bool:
        return self.allowed is not None and self.allowed(char)


_Trail = tuple[_Node, ...]


@dataclass(frozen=True)
class Mark:
    """Where :class:`InterleavedMatcher` was."""

    here: tuple[_Trail, ...]
    cut: dict[int, tuple[_Node, int]]


class InterleavedMatcher:
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
        # Each as the last nodes that it came by, the present one first.
        self._here: list[_Trail] = []
        # Where a foreign line may have cut in, and in which line that was.
        self._cut: dict[int, tuple[_Node, int]] = {}

    def put(self, char: str, may_begin: bool = True) -> set[str]:
        """Take the next character of the line; return the names of the texts that end here.

        Args:
            char: what was printed.
            may_begin: whether a text may begin with it.
        """
        here: list[_Trail] = []
        for trail in self._here:
            after = [(node, *trail[:SAME]) for node in trail[0].after(char)]
            longer = (char in NO_BEGINNING and trail[0].ends_name) or (
                char == "(" and any(node.ends_name for node in trail)
            )
            if not after and not longer:
                self._hold(trail)
            here += after
        if may_begin:
            here += [(node,) for node in self._root.after(char)]
        # Two ways to the same place are one; a line that begins the texts over and over
        # is not followed for ever.
        self._here = list({id(trail[0]): trail for trail in here}.values())[:MOST]
        return {trail[0].name for trail in self._here if trail[0].name is not None}

    def end_line(self) -> None:
        """The line has ended: what was cut may go on with the next character."""
        for trail in self._here:
            self._hold(trail)
        self._line += 1
        self._cut = {
            key: (node, line)
            for key, (node, line) in self._cut.items()
            if self._line - line <= FOREIGN_LINES
        }
        self._here = [(node,) for node, _ in self._cut.values()]

    def _hold(self, trail: _Trail) -> None:
        """Keep where a text may have been cut: here, or a little before."""
        for node in trail:
            self._cut[id(node)] = (node, self._line)

    def mark(self) -> "Mark":
        """Return where the texts are now, to go back to."""
        return Mark(tuple(self._here), dict(self._cut))

    def go_back(self, mark: "Mark") -> None:
        """Take back all that has come since ``mark``: it was no part of any text."""
        self._here = list(mark.here)
        self._cut = dict(mark.cut)

    def under_way(self, name: str, least: int) -> bool:
        """Say whether ``least`` characters or more of the text ``name`` have come, and no end."""
        nodes = [trail[0] for trail in self._here] + [node for node, _ in self._cut.values()]
        return any(
            name in node.on_way_to and node.depth >= least and node.name != name for node in nodes
        )

    def forget(self) -> None:
        """Give up every text that has begun."""
        self._here = []
        self._cut = {}

    def forget_up_to(self, name: str) -> None:
        """Give up the texts that have not got beyond the one called ``name``."""
        self._here = [trail for trail in self._here if name not in trail[0].on_way_to]
        self._cut = {
            key: (node, line)
            for key, (node, line) in self._cut.items()
            if name not in node.on_way_to
        }

    def _add(self, name: str, pattern: Pattern) -> None:
        node = self._root
        for part in pattern:
            if isinstance(part, Any_):
                if node.wild is None:
                    node.wild = _Node(allowed=part.allowed, depth=node.depth + 1)
                node = node.wild
                node.on_way_to.add(name)
                continue
            for char in part.text if isinstance(part, Name) else part:
                node = node.literal.setdefault(char, _Node(depth=node.depth + 1))
                node.on_way_to.add(name)
            node.ends_name = node.ends_name or isinstance(part, Name)
        node.name = name
