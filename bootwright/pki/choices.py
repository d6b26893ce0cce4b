"""The words that ``inv pki`` takes."""

from typing import Literal

PkiAction = Literal["show", "issue", "client", "reissue"]
