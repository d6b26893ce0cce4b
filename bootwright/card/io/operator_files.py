"""Reading files of the operator: public keys and boot blobs."""

import base64
from collections.abc import Sequence
from pathlib import Path

from bootwright.core.board import Blob, Board, PlacedBlob, place_blob
from bootwright.core.errors import InputError
from bootwright.core.units import KIB, format_size
from bootwright.rootfs.io.ext4_read import Ext4Reader

KEYS_MAX = 256 * KIB
"""The most bytes in a file of public keys; one key has a few hundred."""

_KEY_KINDS = ("ssh-", "ecdsa-", "sk-")


def read_public_keys(values: Sequence[str], home: Path, base: Path) -> tuple[str, ...]:
    """Return public keys, one line each.

    Args:
        values: keys, or files of keys (relative to ``base``; ``~`` is the home). Empty
            stands for the operator's own ``~/.ssh/id_*.pub``.

    Raises:
        InputError: a file cannot be read, or something is not a public key (for a private key,
            the message says so).
    """
    if not values:
        values = [str(path) for path in sorted((home / ".ssh").glob("id_*.pub"))]
    keys: list[str] = []
    for value in values:
        if value.strip().startswith(_KEY_KINDS) and " " in value.strip():
            keys.extend(_keys("authorized_keys", value))
        else:
            path = _path(value, home, base)
            keys.extend(_keys(str(path), _key_text(path)))
    return tuple(dict.fromkeys(keys))


def _path(value: str, home: Path, base: Path) -> Path:
    if value.startswith("~/"):
        return home / value[2:]
    return base / value


def _key_text(path: Path) -> str:
    try:
        with path.open("rb") as file:  # its size is not checked first: a pipe has none
            data = file.read(KEYS_MAX + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot read a public key: {error.strerror}") from error
    except ValueError as error:  # NUL in the path
        raise InputError(f"{str(path)!r}: cannot read a public key: {error}") from error
    if b"PRIVATE KEY" in data:
        raise InputError(f"{path}: this is a private key; give its .pub file")
    if len(data) > KEYS_MAX:
        raise InputError(f"{path}: more than {format_size(KEYS_MAX)}; this is not a public key")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8; this is not a public key") from None


def _keys(where: str, text: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    for number, key in enumerate(keys, 1):
        if not _is_key(key):
            # The text is not shown: by mistake the option may name a file with secrets.
            raise InputError(f"{where}: not a public key, or a damaged one (key {number})")
    if not keys:
        raise InputError(f"{where}: there is no public key in it")
    return keys


def _is_key(line: str) -> bool:
    """Return whether a line is a known kind of key and a complete key of that kind in base64."""
    kind, word, *_ = [*line.split(), "", ""]
    try:
        name = kind.encode()
        blob = base64.b64decode(word + "=" * (-len(word) % 4), validate=True)
    except ValueError:
        return False
    known = kind.startswith(_KEY_KINDS) and line.replace("\t", " ").isprintable()
    fields = _key_fields(blob)
    return known and len(fields) > 1 and fields[0] == name


def _key_fields(blob: bytes) -> list[bytes]:
    """Return the fields of a binary key (RFC 4253, 6.6); none if the last one is incomplete."""
    fields = []
    at = 0
    while at < len(blob):
        end = at + 4 + int.from_bytes(blob[at : at + 4], "big")
        if end > len(blob):
            return []
        fields.append(blob[at + 4 : end])
        at = end
    return fields


def find_blobs(
    board: Board, layout_name: str, folder: Path | None, rootfs: Path
) -> tuple[tuple[PlacedBlob, ...], tuple[str, ...]]:
    """Return the boot blobs found, in the order of writing, and the names of those missing.

    Args:
        folder: the operator's ``--blobs`` folder, which is searched first.
        rootfs: the ext4 image of the root file system, which may contain blobs too.

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
        entry = reader.lookup(inside)
        if entry is not None:
            if entry.size > blob.max_bytes:  # checked before it is read: it may have several GiB
                raise InputError(
                    f"root file system: {inside}: {entry.size} bytes, but {blob.name} has room"
                    f" for {blob.max_bytes}"
                )
            return f"root file system: {inside}", reader.read_file(inside)
    return None
