"""Overlays: files and links of the checkout that are copied as they are onto the card."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bootwright.core.errors import InputError

MODES = ".modes"
"""A file at the top of an overlay that gives files other modes than 0755 and 0644."""


@dataclass(frozen=True)
class OverlayEntry:
    """One file or link of an overlay: it has either a content or a link target.

    Attributes:
        path: where it is in the root file system; absolute.
        content: of a file; ``None`` for a link.
        link_target: of a link; ``None`` for a file.
        mode: permission bits of a file.
        overlay: the name of the overlay.
    """

    path: str
    content: bytes | None
    link_target: str | None
    mode: int
    overlay: str


def read_overlays(root: Path, names: Iterable[str]) -> tuple[OverlayEntry, ...]:
    """Return the files and links of ``root/<name>/`` for each name, in order.

    Raises:
        InputError: there is no such overlay, or something in it is neither a file nor a link, or
            cannot be read.
    """
    entries: list[OverlayEntry] = []
    for name in names:
        folder = root / name
        if name in ("", ".", "..") or "/" in name or "\0" in name or not folder.is_dir():
            folders = root.iterdir() if root.is_dir() else ()
            there = ", ".join(sorted(path.name for path in folders if path.is_dir())) or "none"
            raise InputError(f"no overlay {name!r} under {root}; there are: {there}")
        try:
            entries.extend(_entries(folder, name))
        except OSError as error:
            what = error.filename or folder
            raise InputError(f"overlay {name}: cannot read {what}: {error.strerror}") from error
    return tuple(entries)


def read_first_boot(root: Path, name: str | None) -> tuple[OverlayEntry, ...]:
    """Return the script that the board runs at its first boot, with the unit that runs it.

    Args:
        root: the checkout.
        name: the script's file, relative to the checkout; ``None``: there is none.

    Raises:
        InputError: it cannot be read, or is no script.
    """
    if name is None:
        return ()
    path = root / name
    try:
        script = path.read_bytes()
        unit = (root / "templates" / "first-boot.service").read_bytes()
    except OSError as error:
        raise InputError(f"first_boot: {path}: cannot read it: {error.strerror}") from error
    except ValueError:
        raise InputError(f"first_boot: {name!r} is not the name of a file") from None
    if not script.startswith(b"#!/"):
        raise InputError(f"first_boot: {path}: the first line has to be like #!/bin/sh")
    if b"\r" in script.partition(b"\n")[0]:
        raise InputError(f"first_boot: {path}: its lines end with CR LF; save it with LF alone")
    units, unit_name = "/etc/systemd/system", "bootwright-first-boot.service"
    link = f"{units}/multi-user.target.wants/{unit_name}"
    return (
        OverlayEntry("/usr/local/lib/bootwright/first-boot", script, None, 0o755, "first_boot"),
        OverlayEntry(f"{units}/{unit_name}", unit, None, 0o644, "first_boot"),
        OverlayEntry(link, None, f"{units}/{unit_name}", 0o777, "first_boot"),
    )


def _entries(folder: Path, name: str) -> Iterable[OverlayEntry]:
    modes = _read_modes(folder, name)
    for path in sorted(folder.rglob("*")):
        inside = f"/{path.relative_to(folder)}"
        if path.is_symlink():
            yield OverlayEntry(inside, None, str(path.readlink()), 0o777, name)
        elif path.is_file():
            if path.name in (".gitkeep", ".gitignore") or inside == f"/{MODES}":
                continue
            yield OverlayEntry(
                inside, path.read_bytes(), None, modes.pop(inside, _mode(path)), name
            )
        elif not path.is_dir():
            raise InputError(f"overlay {name}: {inside} is neither a file, a link nor a folder")
    if modes:
        raise InputError(f"overlay {name}: {MODES} names {min(modes)}, which is no file of it")


def _mode(path: Path) -> int:
    """Return the mode on the card of a file that :data:`MODES` does not name.

    A clone has the modes that its umask left: git keeps only whether a file can be executed.
    """
    return 0o755 if path.stat().st_mode & 0o100 else 0o644


def _read_modes(folder: Path, name: str) -> dict[str, int]:
    """Return the modes that :data:`MODES` gives to files, by their paths on the card."""
    path = folder / MODES
    modes: dict[str, int] = {}
    lines = path.read_text("utf-8", "replace").splitlines() if path.is_file() else []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"(0?[0-7]{3})\s+/?(\S.*)", line.rstrip())
        if match is None:
            raise InputError(
                f"overlay {name}: {MODES}, line {number}: write a mode and a path, such as"
                " 0600 etc/wireguard/wg0.conf"
            )
        modes[f"/{match[2]}"] = int(match[1], 8)
    return modes
