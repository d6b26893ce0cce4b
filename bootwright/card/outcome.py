"""What writing a card returns."""

from dataclasses import dataclass, field

from bootwright.volume.luks2_header import LuksFacts


@dataclass
class Counters:
    """Bytes; on a clean run all three are equal. Sector 0 is not counted.

    Attributes:
        mapped: what the extents cover, zeros included.
        written: what was written or zeroed, rewrites included.
        verified: what was read back and compared, also again after a rewrite.
    """

    mapped: int = 0
    written: int = 0
    verified: int = 0


@dataclass
class CardOutcome:
    """What was written, and how long each step took: seconds by the step's name."""

    counters: Counters
    luks: LuksFacts
    seconds: dict[str, float] = field(default_factory=dict)
