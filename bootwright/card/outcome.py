"""The result of writing a card."""

from dataclasses import dataclass, field

from bootwright.volume.luks2_header import LuksFacts


@dataclass
class Counters:
    """Numbers of bytes; without rewrites all three are equal. Sector 0 is not counted.

    Attributes:
        mapped: bytes that the plan covers, zeros included.
        written: bytes that were written or zeroed, rewrites included.
        verified: bytes that were read back and compared, also those after a rewrite.
    """

    mapped: int = 0
    written: int = 0
    verified: int = 0


@dataclass
class CardOutcome:
    """What was written, and how long each step took: ``seconds`` by the step's name."""

    counters: Counters
    luks: LuksFacts
    seconds: dict[str, float] = field(default_factory=dict)
