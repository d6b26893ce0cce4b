"""Saved emulators: the description of a save, and what prevents resuming it. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from bootwright.core.errors import InputError, RefusedError
from bootwright.core.parsing import PARSE_ERRORS
from bootwright.core.toml_model import StrictModel
from bootwright.emulator.plan import CardFacts, machine_options

SCHEMA = "bootwright.emulator-save/1"

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_DIGEST = r"^[0-9a-f]{64}$"


class ImageIdentity(StrictModel):
    """The identity of a card image and of its content.

    Attributes:
        path: the image file, absolute.
        size: its bytes.
        mtime_ns: when its data was last changed, see stat(2); nanoseconds since 1970.
        ctime_ns: when its data or attributes were last changed; nanoseconds since 1970.
        inode: its inode number.
        sha256: digest of the offset and the bytes of each block that is not zero. While the other
            values are unchanged, it is not computed again.
    """

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    sha256: str = Field(pattern=_DIGEST)

    def same_except_digest(self, other: "ImageIdentity") -> bool:
        """Return whether everything but the digest is equal, so that the data must be unchanged."""
        return self.model_copy(update={"sha256": other.sha256}) == other


class SavedFile(StrictModel):
    """A file of a save, in the same directory as its description.

    Attributes:
        name: of the file.
        size: in bytes.
        sha256: digest of its content.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*\.(qcow2|log)$")
    size: int
    sha256: str = Field(pattern=_DIGEST)


class Save(StrictModel):
    """The description of a saved emulator: the content of the file ``NAME.json``.

    Attributes:
        name: its name.
        saved_at: when it was saved, ISO 8601, UTC.
        qemu: version of the QEMU that wrote it; another version may not be able to read it.
        machine: the options of QEMU that have to be equal when it is resumed.
        ram: bytes of memory.
        cpus: cores of the guest.
        image: the card image that the disk is based on.
        disk: the file (qcow2) with the guest's memory and its writes to the disk.
        console: the file with what the console had printed.
        record: the text of the emulator's ``card.json``.
    """

    schema_: str = Field(alias="schema", pattern=f"^{re.escape(SCHEMA)}$")
    name: str
    saved_at: str
    qemu: str
    machine: tuple[str, ...]
    ram: int
    cpus: int
    image: ImageIdentity
    disk: SavedFile
    console: SavedFile
    record: str

    @property
    def files(self) -> tuple[SavedFile, SavedFile]:
        """The files of the save, without its description."""
        return self.disk, self.console


@dataclass(frozen=True)
class CurrentState:
    """The state of this machine, as far as it decides whether a save can be resumed.

    Attributes:
        qemu: the version of the QEMU that would be started.
        sizes: bytes of each file of the save, by its name; missing files are left out.
        image: the card image as it is now; ``None`` if it is gone.
        card: facts about the image; ``None`` unless it has the same content as when saving.
    """

    qemu: str
    sizes: dict[str, int]
    image: ImageIdentity | None
    card: CardFacts | None


def is_name(text: str) -> bool:
    """Return whether ``text`` is a valid name for a save."""
    return _NAME.fullmatch(text) is not None


def check_name(name: str) -> str:
    """Return ``name`` unchanged if it is a valid name for a save.

    Raises:
        InputError: it is not.
    """
    if not is_name(name):
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
        raise RefusedError(
            f"{where}: this is the save {save.name!r}; rename the file to {save.name}.json"
        )
    return save


def obstacle(save: Save, current: CurrentState) -> str:
    """Return why a save cannot be resumed, and what to do; empty if nothing prevents it.

    The content of the save's own files is not compared here, but when they are copied.
    """
    for file in save.files:
        size = current.sizes.get(file.name)
        if size is None:
            return f"its file {file.name} is gone; save it again"
        if size != file.size:
            return (
                f"its file {file.name} is damaged ({size} bytes instead of {file.size});"
                " save it again"
            )
    if current.qemu != save.qemu:
        return (
            f"it was saved by QEMU {save.qemu}, and this machine has QEMU {current.qemu};"
            " save it again"
        )
    if current.image is None:
        return f"its card image {save.image.path} is gone; put it back, or save another"
    if current.card is None or current.image.sha256 != save.image.sha256:
        return f"its card image {save.image.path} has changed since; save it again"
    if machine_options(current.card, save.ram, save.cpus) != save.machine:
        return "it was saved by a Bootwright that starts QEMU with other options; save it again"
    return ""


def unused_files(present: Iterable[str], saves: Iterable[Save]) -> set[str]:
    """Return the names of the files that belong to no save.

    Args:
        present: names of the files in the directory of the saves.
        saves: all saves of that directory.
    """
    named = {file.name for save in saves for file in save.files}
    return {
        name for name in present if name.endswith((".qcow2", ".log", ".tmp")) and name not in named
    }
