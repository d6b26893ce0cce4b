"""The changes that can be made to a file tree: of a root file system, or of a board."""

from dataclasses import dataclass

from bootwright.core.secret import Secret


@dataclass(frozen=True)
class FileChange:
    """Write a regular file with this content; an existing file is replaced."""

    path: str
    content: bytes | Secret
    mode: int = 0o644
    uid: int = 0
    gid: int = 0

    @property
    def data(self) -> bytes:
        """The bytes to write, also if they are secret."""
        return self.content.reveal() if isinstance(self.content, Secret) else self.content


@dataclass(frozen=True)
class SymlinkChange:
    """Make a symbolic link; an existing file or link is replaced."""

    path: str
    target: str


@dataclass(frozen=True)
class DirectoryChange:
    """Make a folder, or give an existing one this owner and mode."""

    path: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class Removal:
    """Remove a file or link."""

    path: str


Change = FileChange | SymlinkChange | DirectoryChange | Removal


def text_file(path: str, text: str, mode: int = 0o644) -> FileChange:
    """Return a text file owned by root; surrogate escapes are written as the original bytes."""
    return FileChange(path, text.encode("utf-8", "surrogateescape"), mode)
