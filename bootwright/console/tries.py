"""Counting the passphrases that a boot takes before it gives up. Pure."""

from dataclasses import dataclass

from bootwright.core.board_names import TRIES


@dataclass(frozen=True)
class Tries:
    """How many passphrases a boot takes, and how many may be used.

    Attributes:
        allowed: crypttab's ``tries``; 0 means any number.
        all: also use the last one, after which the boot ends in emergency mode.
    """

    allowed: int = TRIES
    all: bool = False

    def is_kept(self, number: int) -> bool:
        """Whether try ``number``, counted from 1, is the one that is not used."""
        return not self.all and 1 < self.allowed <= number

    def left(self, wrong: int) -> str:
        """Return how many are left after ``wrong`` wrong ones, in words."""
        if not self.allowed:
            return "it takes any number of tries"
        left = max(self.allowed - wrong, 0)
        tries = {0: "no try is left", 1: "1 try is left, the last"}.get(left)
        return (tries or f"{left} tries are left") + f" of {self.allowed}"


AS_ON_OUR_CARDS = Tries()


@dataclass(frozen=True)
class PendingPrompt:
    """A question that an earlier run saw, and left waiting.

    Attributes:
        asked: which of the boot's questions it is, counted from 1.
        fresh: that was but minutes ago.
    """

    asked: int
    fresh: bool
