"""Writing files so that they are on the disk when a function returns."""

import os
from pathlib import Path


def sync_path(path: Path) -> None:
    """Wait until a file's data, or a folder's entries, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def move_into_place(draft: Path, path: Path) -> None:
    """Give a complete file its final name; an older file of that name is replaced.

    Also after a power failure, ``path`` is either as it was before or the complete new file.

    Args:
        draft: the complete file; the operator may read it.
        path: its final name, in the same file system.

    Raises:
        OSError: the disk failed, or it is another file system.
    """
    sync_path(draft)
    draft.replace(path)
    sync_path(path.parent)


def replace_file(path: Path, content: str | bytes, mode: int | None = None) -> None:
    """Replace a file's content at once: a reader finds either the old or the new content.

    This is so also after a power failure. If ``path`` is a symbolic link, the file that it points
    to is replaced. If it is not a regular file, such as ``/dev/stdout``, it is written to.

    Args:
        path: the file; its folder must exist.
        content: the new content; text is written as UTF-8.
        mode: its permission bits; ``None``: 0666 without the bits of the umask.

    Raises:
        OSError: it cannot be written; the old content is unchanged.
    """
    data = content.encode() if isinstance(content, str) else content
    path = path.resolve()
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    draft = path.with_name(f".{path.name}.{os.urandom(6).hex()}.tmp")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode or 0o666)
        with os.fdopen(descriptor, "wb") as file:
            if mode is not None:
                os.fchmod(descriptor, mode)  # whatever the umask
            file.write(data)
        move_into_place(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
