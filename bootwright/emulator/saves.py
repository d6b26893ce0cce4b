"""Saved emulators: what is known of one, and what stands against resuming it. Pure."""

import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from bootwright.core.errors import InputError, RefusedError
from bootwright.core.parsing import PARSE_ERRORS
from bootwright.core.toml_model import StrictModel

SCHEMA = "bootwright.emulator-save/1"

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_DIGEST = r"^[0-9a-f]{64}$"


class ImageIdentity(StrictModel):
    """By which it is seen that a card image is the one that was saved.

    ``sha256`` is that of the image's data: of each stretch that the file system has allocated,
    its offset and its bytes. The other numbers are those of stat(2); while all of them are the
    same, the data need not be read again.
    """

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    sha256: str = Field(pattern=_DIGEST)

    def unchanged(self, other: "ImageIdentity") -> bool:
        """Tell whether nothing was written since, without looking at the data."""
        return self.model_copy(update={"sha256": other.sha256}) == other


class Save(StrictModel):
    """A saved emulator; the file ``NAME.json``.

    Attributes:
        name: its name.
        saved_at: when it was saved, ISO 8601, UTC.
        qemu: the version of QEMU that wrote it, and that alone can read it.
        machine: the options of QEMU that have to be the same.
        ram: bytes of memory.
        cpus: cores of the guest.
        image: the card image that the disk is based on.
        disk: the file beside it that holds memory and disk of the guest (qcow2).
        disk_size: its bytes.
        disk_sha256: its digest.
        console: the file beside it that holds what the console had printed.
        record: the content of the emulator's ``card.json``.
    """

    schema_: str = Field(alias="schema", pattern=f"^{re.escape(SCHEMA)}$")
    name: str
    saved_at: str
    qemu: str
    machine: tuple[str, ...]
    ram: int
    cpus: int
    image: ImageIdentity
    disk: str = Field(pattern=r"^[a-z0-9._-]+\.qcow2$")
    disk_size: int
    disk_sha256: str = Field(pattern=_DIGEST)
    console: str = Field(pattern=r"^[a-z0-9._-]+\.log$")
    record: str


@dataclass(frozen=True)
class Here:
    """What is here, where a save is to be resumed.

    Attributes:
        qemu: the version of this machine's QEMU.
        image: the card image as it is now, its digest left out; ``None`` if it is gone.
        disk_size: bytes of the save's disk; ``None`` if it is gone.
    """

    qemu: str
    image: ImageIdentity | None
    disk_size: int | None


def check_name(name: str) -> str:
    """Return ``name``.

    Raises:
        InputError: it cannot be the name of a save.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot be the name of a save: lower-case letters, digits, dots, hyphens and"
            " underscores, 64 at most, beginning with a letter or a digit"
        )
    return name


def parse_save(text: str, where: Path) -> Save:
    """Return the save that a file describes.

    Raises:
        RefusedError: the file is damaged, or of another version of Bootwright.
    """
    try:
        save = Save.model_validate_json(text)
    except (ValidationError, *PARSE_ERRORS):
        raise RefusedError(
            f"{where}: this save is damaged, or from another version of Bootwright; save it again"
        ) from None
    if where.stem != save.name:
        raise RefusedError(f"{where}: this is the save {save.name!r}; give the file back its name")
    return save


def obstacle(save: Save, here: Here) -> str:
    """Return why a save cannot be resumed, and what to do; empty if nothing stands against it.

    The data of an image whose numbers have changed is another matter: who resumes compares it.
    """
    if here.disk_size is None:
        return f"its disk {save.disk} is gone; save it again"
    if here.disk_size != save.disk_size:
        return (
            f"its disk {save.disk} is damaged ({here.disk_size} bytes instead of"
            f" {save.disk_size}); save it again"
        )
    if here.qemu != save.qemu:
        return (
            f"it was saved by QEMU {save.qemu}, and this machine has QEMU {here.qemu};"
            " save it again with that"
        )
    if here.image is None:
        return f"its card image {save.image.path} is gone; put it back, or save another"
    if here.image.size != save.image.size:
        return f"its card image {save.image.path} is another one now; save it again"
    return ""
