"""The words that ``inv unlock --via`` and ``inv passphrase`` accept."""

from typing import Literal

UnlockVia = Literal["auto", "serial", "ssh"]

PassphraseAction = Literal["change", "add", "remove"]
"""``change`` replaces a passphrase by a new one, ``add`` adds a new one, ``remove`` removes one."""
