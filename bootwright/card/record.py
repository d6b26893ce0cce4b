"""The record on a card: which target and board it was made for. The emulator reads it."""

import json
from dataclasses import dataclass
from typing import Any

from bootwright.core.endpoints import UnlockMode
from bootwright.core.result import to_document

SCHEMA = "bootwright.card/1"

RECORD_PATH = "/etc/bootwright/card.json"
"""Where the record is on the card's root file system."""


@dataclass(frozen=True)
class CardRecord:
    """Which target and board a card was made for; it holds no secret.

    Attributes:
        target: its name in ``bootwright.toml``.
        board: the board's name.
        rootfs: the root file system's name.
        unlock: how the volume is unlocked.
        user: the login name for SSH.
        hostname: the host name of the board.
        root_uuid: of the root file system.
        luks_uuid: of the encrypted volume.
    """

    target: str
    board: str
    rootfs: str
    unlock: UnlockMode
    user: str
    hostname: str
    root_uuid: str
    luks_uuid: str

    def document(self) -> dict[str, Any]:
        """Return the record as one JSON document."""
        return to_document(SCHEMA, self)

    def text(self) -> str:
        """Return the record as the content of its file."""
        return json.dumps(self.document(), indent=2) + "\n"
