"""What personalisation changes in a root file system: a closed set of frozen values."""

from dataclasses import dataclass

from bootwright.core.secret import Secret


@dataclass(frozen=True)
class FileChange:
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
class SymlinkChange:
    """A symbolic link, replacing what was there."""

    path: str
    target: str


@dataclass(frozen=True)
class DirectoryChange:
    """A folder that is there afterwards, with this owner and mode."""

    path: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class Removal:
    """A file or link that is gone afterwards."""

    path: str


Change = FileChange | SymlinkChange | DirectoryChange | Removal


def text_file(path: str, text: str, mode: int = 0o644) -> FileChange:
    """Return a root-owned text file; lone surrogates are the bytes that they stand for."""
    return FileChange(path, text.encode("utf-8", "surrogateescape"), mode)
