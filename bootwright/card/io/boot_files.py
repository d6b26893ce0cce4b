"""Which of the files that a boot script loads are missing."""

from collections.abc import Iterable
from pathlib import Path

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
