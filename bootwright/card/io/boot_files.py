"""The files of a root file system that a boot script loads."""

from collections.abc import Iterable
from pathlib import Path

from bootwright.core.errors import InputError
from bootwright.rootfs.io.ext4_read import Ext4Reader


def missing_in(image: Path, paths: Iterable[str]) -> tuple[str, ...]:
    """Return those of ``paths`` that are missing or empty in the ext4 ``image``."""
    reader = Ext4Reader(image)
    missing = []
    for path in paths:
        entry = reader.lookup(path)
        if entry is None or not entry.is_file or entry.size == 0:
            missing.append(path)
    return tuple(missing)


def read_initrd(image: Path, path: str, max_bytes: int) -> bytes:
    """Return the initial RAM disk ``path`` of the ext4 ``image``.

    Raises:
        InputError: there is none, or it has more than ``max_bytes`` bytes.
    """
    reader = Ext4Reader(image)
    entry = reader.lookup(path)
    # Checked before it is read: it may have several GiB.
    if entry is not None and entry.size > max_bytes:
        raise InputError(
            f"root file system: {path}: {entry.size} bytes, but the boot script has room for"
            f" {max_bytes}"
        )
    return reader.read_file(path)
