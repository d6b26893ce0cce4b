"""What personalisation changes in a root file system: a closed set of frozen values."""

from dataclasses import dataclass

from bootwright.core.secret import Secret


@dataclass(frozen=True)
class LaidFile:
    """A regular file with this content, replacing what was there."""

    path: str
    content: bytes | Secret
    mode: int = 0o644
    uid: int = 0
    gid: int = 0

    @property
    def data(self) -> bytes:
        """The bytes to write, also when they are secret."""
        return self.content.reveal() if isinstance(self.content, Secret) else self.content


@dataclass(frozen=True)
class LaidLink:
    """A symbolic link, replacing what was there."""

    path: str
    target: str


@dataclass(frozen=True)
class LaidFolder:
    """A folder that is there afterwards, with this owner and mode."""

    path: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class Removal:
    """A file or link that is gone afterwards."""

    path: str


Change = LaidFile | LaidLink | LaidFolder | Removal


def text_file(path: str, text: str, mode: int = 0o644) -> LaidFile:
    """Return a root-owned text file; lone surrogates are the bytes that they stand for."""
    return LaidFile(path, text.encode("utf-8", "surrogateescape"), mode)
