"""Counting the passphrases that a boot takes before it gives up. Pure."""

from dataclasses import dataclass

from bootwright.core.board_names import TRIES


@dataclass(frozen=True)
class Tries:
    """How many passphrases a boot takes, and how many of them may be used.

    Attributes:
        allowed: crypttab's ``tries``; 0 means any number.
        use_all: also use the last one. If it is wrong, the boot ends in emergency mode.
    """

    allowed: int = TRIES
    use_all: bool = False

    def is_reserved(self, number: int) -> bool:
        """Return whether try ``number``, counted from 1, is the reserved last one."""
        return not self.use_all and 1 < self.allowed <= number

    def left(self, wrong: int) -> str:
        """Return in words how many tries are left after ``wrong`` wrong ones."""
        if not self.allowed:
            return "it takes any number of tries"
        left = max(self.allowed - wrong, 0)
        tries = {0: "no try is left", 1: "1 try is left, the last"}.get(left)
        return (tries or f"{left} tries are left") + f" of {self.allowed}"


DEFAULT_TRIES = Tries()
"""As on the cards that `inv flash` makes; systemd has the same default."""


@dataclass(frozen=True)
class PendingPrompt:
    """A question that an earlier run saw, and left open.

    Attributes:
        number: which of the boot's questions for the volume it is, counted from 1.
        fresh: it was seen only minutes ago, so that it is very likely still the open one.
    """

    number: int
    fresh: bool
