"""Finding a text that other output interrupts, at any place and more than once. Pure.

The kernel and systemd write whole lines to the console without asking who else is printing
there. So the text of a program may arrive in pieces: the first piece anywhere in a line, up to
where another program's line (an intruding line) begins; each further piece at the beginning of
a later line, after the intruding line has ended. systemd's issue 5123 shows such a prompt.

:class:`InterleavedMatcher` reads like a person who puts the pieces together: after each
character it follows both possibilities, the rest of the text and an intruding line.
"""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

INTRUDING_LINES = 16
"""How many lines may come between two pieces of a text. After more, the text is given up."""

COINCIDING = 2
"""How many characters at the beginning of an intruding line may coincide with the expected
continuation of the text before we decide that it is an intrusion."""

MOST_POSITIONS = 200
"""How many positions in the patterns are followed at once, so that a flood cannot take all
memory. A real console needs a tenth of that."""

NAME_CONTINUES = frozenset("(-_.+@0123456789")
"""Characters with which no intruding line begins. After a name they continue it: in
``disk data-old``, the name ``data`` was not found."""


@dataclass(frozen=True)
class Name:
    """In a pattern: literal text that must not be the beginning of a longer name."""

    text: str


@dataclass(frozen=True)
class AnyText:
    """In a pattern: one or more characters that ``allowed`` accepts."""

    allowed: Callable[[str], bool]


Pattern = tuple[str | Name | AnyText, ...]
"""What follows one another in a text: literal text, names and :class:`AnyText`."""


@dataclass
class _Node:
    """A position in the patterns: what has been read so far of all patterns that begin alike.

    Attributes:
        literal: the next positions, by the character that leads there.
        wild: the next position if an :class:`AnyText` follows.
        allowed: inside an :class:`AnyText`, the characters that it accepts.
        name: the name of the pattern that ends here, if one does.
        patterns: the names of the patterns that lead through here.
        ends_name: a :class:`Name` ends here.
        depth: characters from the beginning of the pattern; an :class:`AnyText` counts as one.
    """

    literal: dict[str, "_Node"] = field(default_factory=dict)
    wild: "_Node | None" = None
    allowed: Callable[[str], bool] | None = None
    name: str | None = None
    patterns: set[str] = field(default_factory=set)
    ends_name: bool = False
    depth: int = 0

    def after(self, char: str) -> "list[_Node]":
        """Return the positions that ``char`` leads to."""
        nodes = [self.literal[char]] if char in self.literal else []
        if self.wild is not None and self.wild.accepts(char):
            nodes.append(self.wild)
        if self.accepts(char):
            nodes.append(self)
        return nodes

    def accepts(self, char: str) -> bool:
        """Return whether ``char`` may continue the :class:`AnyText` that this position is in."""
        return self.allowed is not None and self.allowed(char)


_Trail = tuple[_Node, ...]
"""A position, and the last :data:`COINCIDING` positions before it, the newest first."""


@dataclass(frozen=True)
class MatcherState:
    """How far an :class:`InterleavedMatcher` has read, to go back to."""

    trails: tuple[_Trail, ...]
    interrupted: dict[int, tuple[_Node, int]]


class InterleavedMatcher:
    """Follows a console character by character, and reports which texts have just ended.

    Args:
        patterns: the texts to find, with their names. A text may be the beginning of another,
            and several may have the same name.
    """

    def __init__(self, patterns: Iterable[tuple[str, Pattern]]) -> None:
        self._root = _tree_of(tuple(patterns))
        self._line = 0
        self._trails: list[_Trail] = []
        # The positions where an intruding line may have begun, by their identity, each with
        # the number of that line.
        self._interrupted: dict[int, tuple[_Node, int]] = {}

    def put(self, char: str, may_begin: bool = True) -> set[str]:
        """Take the next character of the line; return the names of the texts that end with it.

        Args:
            char: what was printed.
            may_begin: whether a text may begin with this character.
        """
        if not self._trails and not may_begin:
            return set()  # as for most characters of a boot
        trails: list[_Trail] = []
        for trail in self._trails:
            if after := trail[0].after(char):
                trails += [(node, *trail[:COINCIDING]) for node in after]
            elif not _name_continues(trail, char):
                self._interrupt(trail)
        if may_begin:
            trails += [(node,) for node in self._root.after(char)]
        # Of the trails that lead to the same position one is kept, and their number is limited. So
        # a line in which the texts begin again and again takes no more time than any other line.
        self._trails = list({id(trail[0]): trail for trail in trails}.values())[:MOST_POSITIONS]
        return {trail[0].name for trail in self._trails if trail[0].name is not None}

    def end_line(self) -> None:
        """Take the end of the line: an interrupted text may go on with the next character."""
        for trail in self._trails:
            self._interrupt(trail)
        self._line += 1
        self._interrupted = {
            key: (node, line)
            for key, (node, line) in self._interrupted.items()
            if self._line - line <= INTRUDING_LINES
        }
        self._trails = [(node,) for node, _ in self._interrupted.values()]

    def state(self) -> MatcherState:
        """Return how far the texts are read now, for :meth:`restore`."""
        return MatcherState(tuple(self._trails), dict(self._interrupted))

    def restore(self, state: MatcherState) -> None:
        """Forget what was read since ``state``: it was no part of any text."""
        self._trails = list(state.trails)
        self._interrupted = dict(state.interrupted)

    def is_partly_read(self, name: str, least: int) -> bool:
        """Return whether ``least`` characters or more of the text ``name`` were read, not all."""
        nodes = [trail[0] for trail in self._trails]
        nodes += [node for node, _ in self._interrupted.values()]
        return any(
            name in node.patterns and node.depth >= least and node.name != name for node in nodes
        )

    def forget(self) -> None:
        """Give up every text that has begun."""
        self._trails = []
        self._interrupted = {}

    def forget_up_to(self, name: str) -> None:
        """Give up the texts that are read no further than the end of the one called ``name``."""
        self._trails = [trail for trail in self._trails if name not in trail[0].patterns]
        self._interrupted = {
            key: (node, line)
            for key, (node, line) in self._interrupted.items()
            if name not in node.patterns
        }

    def _interrupt(self, trail: _Trail) -> None:
        """Note that an intruding line may have begun here, or up to COINCIDING characters before.

        Its first characters may have looked like the continuation of the text.
        """
        for node in trail:
            self._interrupted[id(node)] = (node, self._line)


def _name_continues(trail: _Trail, char: str) -> bool:
    """Return whether ``char`` makes the name that has just ended the beginning of a longer one."""
    return (char in NAME_CONTINUES and trail[0].ends_name) or (
        char == "(" and any(node.ends_name for node in trail)
    )


@functools.lru_cache(maxsize=8)  # each console of a volume has the same
def _tree_of(patterns: tuple[tuple[str, Pattern], ...]) -> _Node:
    """Return the position from which all patterns begin; nothing changes it any more."""
    root = _Node()
    for name, pattern in patterns:
        _add(root, name, pattern)
    return root


def _add(node: _Node, name: str, pattern: Pattern) -> None:
    for part in pattern:
        if isinstance(part, AnyText):
            if node.wild is None:
                node.wild = _Node(allowed=part.allowed, depth=node.depth + 1)
            node = node.wild
            node.patterns.add(name)
            continue
        for char in part.text if isinstance(part, Name) else part:
            if char not in node.literal:
                node.literal[char] = _Node(depth=node.depth + 1)
            node = node.literal[char]
            node.patterns.add(name)
        node.ends_name = node.ends_name or isinstance(part, Name)
    node.name = name
