"""The words that ``inv unlock --via`` and ``inv passphrase`` take."""

from typing import Literal

UnlockVia = Literal["auto", "serial", "ssh"]

PassphraseAction = Literal["change", "add", "remove"]
"""What to do: put a new passphrase in the old one's place, beside it, or take one away."""
