"""How unlocking a volume ended. Pure."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from bootwright.core.endpoints import UnlockMode
from bootwright.core.errors import FailedError

SCHEMA = "bootwright.unlock/1"


class Result(Enum):
    """How unlocking ended."""

    UNLOCKED = "unlocked"
    ALREADY_UNLOCKED = "already-unlocked"
    WRONG_PASSPHRASE = "wrong-passphrase"
    NO_PROMPT = "no-prompt"
    FAILED = "failed"
    EMERGENCY = "emergency"


@dataclass(frozen=True)
class UnlockResult:
    """How unlocking ended, and what was seen and done.

    Attributes:
        target: the target's name.
        via: how the board was reached.
        result: how it ended.
        detail: what happened and what to do, in words for the operator. Of the console it quotes
            one line at most.
        prompts_seen: how many times this boot asked for the volume's passphrase.
        attempts: how many times it was sent.
        to_prompt: seconds from the start to the prompt; ``None`` without one.
        to_unlocked: seconds from the start to the boot's report of the open volume.
    """

    target: str
    via: UnlockMode
    result: Result
    detail: str
    prompts_seen: int
    attempts: int
    to_prompt: float | None
    to_unlocked: float | None

    @property
    def ok(self) -> bool:
        """Whether the volume is open."""
        return self.result in (Result.UNLOCKED, Result.ALREADY_UNLOCKED)

    def check(self) -> None:
        """Raise unless the volume is open.

        Raises:
            FailedError: says what happened and what to do.
        """
        if not self.ok:
            raise FailedError(f"{self.target}: {self.result.value}: {self.detail}")

    def document(self) -> dict[str, Any]:
        """Return it as one JSON document; seconds to 0.1."""
        return {
            "schema": SCHEMA,
            "target": self.target,
            "via": self.via,
            "result": self.result.value,
            "detail": self.detail,
            "prompts_seen": self.prompts_seen,
            "attempts": self.attempts,
            "seconds": {
                "to_prompt": _tenths(self.to_prompt),
                "to_unlocked": _tenths(self.to_unlocked),
            },
        }

    def lines(self) -> list[str]:
        """Return what happened, in words for the operator."""
        return [self.detail]


def _tenths(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
