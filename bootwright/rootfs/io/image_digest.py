"""The digest of an ext4 image in the cache: whether it still has the bytes that were built."""

import hashlib
import os
from pathlib import Path

from bootwright.core.units import MIB

_PIECE = MIB
_ZEROS = bytes(_PIECE)


def image_digest(path: Path) -> str:
    """Return the SHA-256 over the size of a file and its pieces of 1 MiB that are not zero.

    Each piece is hashed after its number. Holes are not read, so a sparse image of several GiB
    takes no longer than its data; where the holes are makes no difference.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        digest.update(size.to_bytes(8, "big"))
        buffer = memoryview(bytearray(_PIECE))
        number = _next_data(file.fileno(), 0, size)
        while number is not None:
            file.seek(number * _PIECE)
            piece = buffer[: _fill(file.fileno(), buffer)]
            if piece != _ZEROS[: len(piece)]:
                digest.update(number.to_bytes(8, "big"))
                digest.update(piece)
            number = _next_data(file.fileno(), (number + 1) * _PIECE, size)
    return digest.hexdigest()


def _next_data(descriptor: int, offset: int, size: int) -> int | None:
    """Return the number of the first piece from ``offset`` on that is not a hole."""
    if offset >= size:
        return None
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA) // _PIECE
    except OSError:
        return None  # ENXIO: only a hole follows


def _fill(descriptor: int, buffer: memoryview) -> int:
    done = 0
    while done < len(buffer) and (count := os.readv(descriptor, [buffer[done:]])):
        done += count
    return done
