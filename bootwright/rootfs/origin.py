"""Where a root file system came from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """Where a root file system's tarball came from, for the manifest.

    Attributes:
        kind: the name of the root file system, such as ``debian``.
        source: its address or file, or ``mmdebstrap SUITE``.
        sha256: of the tarball, in hexadecimal; empty while it is not known.
        verified_by: how it was verified; ``apt`` if it was built on this machine.
    """

    kind: str
    source: str
    sha256: str
    verified_by: str
