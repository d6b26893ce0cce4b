"""Files of a board: content, mode and owner, from a tar archive that the board made."""

import base64
import binascii
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass

from bootwright.core.errors import FailedError

LARGEST = 256 * 1024
"""Bytes of a file that is read; no file of ours is nearly as large."""


@dataclass(frozen=True)
class BoardFile:
    """A regular file: its bytes, permission bits, and the numbers of owner and group."""

    content: bytes
    mode: int
    uid: int
    gid: int

    @property
    def text(self) -> str:
        """The content as UTF-8; other bytes become lone surrogates (``surrogateescape``)."""
        return self.content.decode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class BoardFiles:
    """Some files and symbolic links of a board, by absolute path."""

    files: Mapping[str, BoardFile]
    links: Mapping[str, str]

    def text(self, path: str) -> str:
        """Return a file's text; empty if there is none."""
        found = self.files.get(path)
        return found.text if found else ""


def parse_board_files(text: str) -> BoardFiles:
    """Return the files in a base64 text of a tar archive with paths relative to ``/``.

    Raises:
        FailedError: it is no such archive, or a file is larger than :data:`LARGEST`.
    """
    files: dict[str, BoardFile] = {}
    links: dict[str, str] = {}
    try:
        data = io.BytesIO(base64.b64decode("".join(text.split()), validate=True))
        with tarfile.open(fileobj=data, mode="r:") as archive:
            for entry in archive:
                path = f"/{entry.name.lstrip('./')}"
                if entry.issym():
                    links[path] = entry.linkname
                elif entry.isreg():
                    if entry.size > LARGEST:
                        raise FailedError(f"{path} on the board is larger than 256 KiB")
                    content = archive.extractfile(entry)
                    assert content is not None
                    files[path] = BoardFile(
                        content.read(), entry.mode & 0o7777, entry.uid, entry.gid
                    )
    except (binascii.Error, ValueError, tarfile.TarError, EOFError) as error:
        raise FailedError(f"could not read the files that the board sent: {error}") from None
    return BoardFiles(files, links)
