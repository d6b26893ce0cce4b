"""Which process has a serial port open, or has locked it."""

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

LOCK_FOLDERS = (Path("/run/lock"), Path("/var/lock"))
"""Where programs such as minicom, picocom and ser2net lock a serial port, in the way of UUCP: a
file ``LCK..ttyUSB0`` that begins with the number of their process (Filesystem Hierarchy Standard
3.0, section 5.9; some write the number in binary)."""


def holder_of(device: Path, lock_folders: Sequence[Path] = LOCK_FOLDERS) -> str | None:
    """Return another process that has ``device`` open or locked, such as ``process 12 (screen)``.

    Without root, what processes of other users have open cannot be seen, but their locks can.
    """
    try:
        wanted = device.stat()
    except OSError:
        return None
    if not stat.S_ISCHR(wanted.st_mode):
        return None
    for folder in lock_folders:
        if (locker := _locker(folder, device)) is not None:
            return f"process {locker} ({_name(Path('/proc') / str(locker))})"
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and int(process.name) != os.getpid():
            for number in _open_devices(process):
                if number == wanted.st_rdev:
                    return f"process {process.name} ({_name(process)})"
    return None


def _locker(folder: Path, device: Path) -> int | None:
    """Return the process that has locked ``device`` by a file in ``folder``, if it still runs."""
    name = str(device.resolve()).removeprefix("/dev/").replace("/", "_")
    try:
        content = (folder / f"LCK..{name}").read_bytes()
        binary = len(content) == 4 and not content.strip().isdigit()
        number = int.from_bytes(content, sys.byteorder) if binary else int(content.split()[0])
        os.kill(number, 0)
    except PermissionError:
        pass  # It runs, as another user.
    except (OSError, ValueError, IndexError, OverflowError):
        return None  # There is no lock, or a process that has ended left it.
    return number if number != os.getpid() else None


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
