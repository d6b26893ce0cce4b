"""Reading what the operator brings: public keys, overlays, boot blobs."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from bootwright.board import Blob, Board, PlacedBlob, place_blob
from bootwright.effects.ext4read import Ext4Reader
from bootwright.errors import InputError
from bootwright.plans.personalise import OverlayEntry


def read_public_keys(values: Sequence[str], home: Path, base: Path) -> tuple[str, ...]:
    """Return public keys, one line each.

    Args:
        values: keys, or files of keys (relative to ``base``; ``~`` is the home). Empty
            means the operator's own ``~/.ssh/id_*.pub``.

    Raises:
        InputError: a file cannot be read, or holds no public key (a private one is named
            as such, and never copied).
    """
    if not values:
        values = [str(path) for path in sorted((home / ".ssh").glob("id_*.pub"))]
    keys: list[str] = []
    for value in values:
        keys.extend([value] if " " in value else _keys_in(_path(value, home, base)))
    return tuple(dict.fromkeys(keys))


def _path(value: str, home: Path, base: Path) -> Path:
    if value.startswith("~/"):
        return home / value[2:]
    return base / value


def _keys_in(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot read a public key: {error}") from error
    if "PRIVATE KEY" in text:
        raise InputError(f"{path}: this is a private key; give its .pub file")
    lines = [line.strip() for line in text.splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    for key in keys:
        if len(key.split()) < 2 or not key.split()[0].startswith(("ssh-", "ecdsa-", "sk-")):
            raise InputError(f"{path}: not a public key: {key[:40]!r}")
    if not keys:
        raise InputError(f"{path}: holds no public key")
    return keys


def read_overlays(root: Path, names: Iterable[str]) -> tuple[OverlayEntry, ...]:
    """Return the files and links of ``root/<name>/`` for each name, in order.

    Raises:
        InputError: no such overlay, or something in it that is neither file nor link.
    """
    entries: list[OverlayEntry] = []
    for name in names:
        folder = root / name
        if "/" in name or not folder.is_dir():
            there = ", ".join(sorted(p.name for p in root.iterdir() if p.is_dir())) or "none"
            raise InputError(f"no overlay {name!r} under {root}; there are: {there}")
        entries.extend(_entries(folder, name))
    return tuple(entries)


def _entries(folder: Path, name: str) -> Iterable[OverlayEntry]:
    for path in sorted(folder.rglob("*")):
        inside = f"/{path.relative_to(folder)}"
        if path.is_symlink():
            yield OverlayEntry(inside, None, str(path.readlink()), False, name)
        elif path.is_file():
            if path.name in (".gitkeep", ".gitignore"):
                continue
            executable = os.access(path, os.X_OK)
            yield OverlayEntry(inside, path.read_bytes(), None, executable, name)
        elif not path.is_dir():
            raise InputError(f"overlay {name}: {inside} is neither a file, a link nor a folder")


def find_blobs(
    board: Board, layout_name: str, folder: Path | None, rootfs: Path
) -> tuple[tuple[PlacedBlob, ...], tuple[str, ...]]:
    """Return the boot blobs found, in writing order, and the names of those missing.

    Args:
        folder: the operator's ``--blobs`` folder, looked into first.
        rootfs: the ext4 image of the root file system, which may bring its own.

    Raises:
        InputError: the folder does not exist, or a blob does not belong on this card.
    """
    if folder is not None and not folder.is_dir():
        raise InputError(f"--blobs {folder}: no such folder")
    reader = Ext4Reader(rootfs)
    found: list[PlacedBlob] = []
    missing: list[str] = []
    for blob in board.layouts[layout_name].blobs:
        source = _first_source(blob, folder, reader)
        if source is None:
            missing.append(blob.name)
        else:
            name, content = source
            found.append(place_blob(board, layout_name, blob, content, name))
    return tuple(found), tuple(missing)


def _first_source(blob: Blob, folder: Path | None, reader: Ext4Reader) -> tuple[str, bytes] | None:
    if folder is not None:
        for name in blob.files:
            if (folder / name).is_file():
                return str(folder / name), (folder / name).read_bytes()
    for inside in blob.rootfs_files:
        if reader.exists(inside):
            return f"root file system: {inside}", reader.read_file(inside)
    return None
