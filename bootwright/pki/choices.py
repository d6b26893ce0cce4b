"""The actions of ``inv pki``."""

from typing import Literal

PkiAction = Literal["show", "issue", "client", "reissue"]
