"""Reading files of the operator: public keys and boot blobs."""

from collections.abc import Sequence
from pathlib import Path

from bootwright.core.board import Blob, Board, PlacedBlob, place_blob
from bootwright.core.errors import InputError
from bootwright.remote.io.key_files import read_key_file
from bootwright.remote.public_keys import read_keys
from bootwright.rootfs.io.ext4_read import Ext4Reader

_KEY_STARTS = ("ssh-", "ecdsa-", "sk-")
"""How a key begins, as opposed to the name of a file of keys."""


def read_public_keys(values: Sequence[str], home: Path, base: Path) -> tuple[str, ...]:
    """Return the public keys that were asked for, one line each.

    Args:
        values: keys, or files of keys (relative to ``base``; ``~`` is ``home``).

    Raises:
        InputError: a file cannot be read, or something is no public key that sshd accepts (for a
            private key, the message says so).
    """
    keys: list[str] = []
    for value in values:
        if value.strip().startswith(_KEY_STARTS) and " " in value.strip():
            keys.extend(read_keys("authorized_keys", value))
        else:
            path = home / value[2:] if value.startswith("~/") else base / value
            keys.extend(read_key_file(path))
    return tuple(dict.fromkeys(keys))


def find_blobs(
    board: Board, layout_name: str, folder: Path | None, rootfs: Path
) -> tuple[tuple[PlacedBlob, ...], tuple[str, ...]]:
    """Return the boot blobs found, in the order of writing, and the names of those missing.

    Args:
        folder: the operator's ``--blobs`` folder, which is searched first.
        rootfs: the ext4 image of the root file system, which may contain blobs too.

    Raises:
        InputError: a blob does not belong on this card.
    """
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
        entry = reader.lookup(inside)
        if entry is not None:
            if entry.size > blob.max_bytes:  # checked before it is read: it may have several GiB
                raise InputError(
                    f"root file system: {inside}: {entry.size} bytes, but {blob.name} has room"
                    f" for {blob.max_bytes}"
                )
            return f"root file system: {inside}", reader.read_file(inside)
    return None
