"""Where a root file system came from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """Where a root file system's tarball came from, for the manifest."""

    kind: str
    source: str
    sha256: str
    verified_by: str
