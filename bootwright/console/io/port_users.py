"""Which process has a serial port open."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path


def holder_of(device: Path) -> str | None:
    """Return another process that has ``device`` open, such as ``process 12 (screen)``.

    Without root, processes of other users cannot be seen.
    """
    try:
        wanted = device.stat()
    except OSError:
        return None
    if not stat.S_ISCHR(wanted.st_mode):
        return None
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and int(process.name) != os.getpid():
            for number in _open_devices(process):
                if number == wanted.st_rdev:
                    return f"process {process.name} ({_name(process)})"
    return None


def _open_devices(process: Path) -> Iterator[int]:
    try:
        links = list((process / "fd").iterdir())
    except OSError:
        return  # It belongs to another user, or has ended.
    for link in links:
        try:
            status = link.stat()
        except OSError:
            continue
        if stat.S_ISCHR(status.st_mode):
            yield status.st_rdev


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "?"
