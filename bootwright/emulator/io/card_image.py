"""Reading a card image file: its partition table and the facts that booting it needs.

The image is only read. Nothing is mounted, and root is not needed.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from bootwright.core.errors import InputError
from bootwright.core.io.process import run
from bootwright.core.units import SECTOR
from bootwright.emulator.partition_table import CardPartition, card_partitions, check_first_sector
from bootwright.emulator.plan import INITRD_PATHS, KERNEL_PATHS, CardFacts
from bootwright.rootfs.facts import parse_modules
from bootwright.rootfs.io.ext4_read import Ext4Reader

ROOT_PARTITION = 1
"""The number of the root partition on every card that Bootwright writes."""

MODULE_LISTS = ("modules.builtin", "modules.dep")
"""Files in ``/lib/modules/RELEASE`` that list the built-in and the loadable drivers of a kernel."""


def read_partitions(image: Path) -> tuple[CardPartition, ...]:
    """Return the partitions of the card image ``image``.

    Raises:
        InputError: the image cannot be read, was left unfinished, or has no DOS table.
    """
    try:
        with image.open("rb") as file:
            check_first_sector(file.read(SECTOR), str(image))
    except OSError as error:
        raise InputError(f"{image}: cannot read it: {error.strerror}") from error
    done = run(["sfdisk", "--json", str(image)], check=False)
    if done.returncode != 0:
        raise InputError(f"{image}: not a card image: no DOS partition table; flash it again")
    return card_partitions(done.text, str(image))


def open_root(image: Path) -> Ext4Reader:
    """Return a reader of the root file system of the card image ``image``.

    Raises:
        InputError: ``image`` is not a finished card, or partition 1 is not ext4.
    """
    for partition in read_partitions(image):
        if partition.number == ROOT_PARTITION:
            reader = Ext4Reader(image, partition.offset)
            try:
                reader.superblock()
            except InputError as error:
                raise InputError(
                    f"{image}: partition {ROOT_PARTITION} is not ext4; flash the card again"
                ) from error
            return reader
    raise InputError(f"{image}: there is no partition {ROOT_PARTITION}; flash the card again")


def read_card(image: Path) -> CardFacts:
    """Return the facts about the card image ``image`` that booting it needs.

    Raises:
        InputError: see :func:`open_root`.
        FailedError: the root file system is damaged.
    """
    image = image.absolute()
    root = open_root(image)
    kernel = _first(root, KERNEL_PATHS)
    return CardFacts(
        image=image,
        root_uuid=root.superblock().uuid,
        kernel=kernel,
        initrd=_first(root, INITRD_PATHS),
        modules=_modules(root, kernel),
        host_keys=_host_keys(root),
    )


def _first(root: Ext4Reader, paths: Sequence[str]) -> str | None:
    """Return the first of ``paths`` that exists, with symbolic links followed."""
    return next((found for path in paths if (found := root.resolve(path))), None)


def _modules(root: Ext4Reader, kernel: str | None) -> frozenset[str]:
    if not root.exists("/lib/modules"):
        return frozenset()
    releases = [entry.name for entry in root.list_dir("/lib/modules") if entry.is_dir]
    # On Debian the kernel's file name ends in its release; Arch has one kernel and one directory.
    named = [name for name in releases if kernel and PurePosixPath(kernel).name.endswith(name)]
    lists = [f"/lib/modules/{name}/{part}" for name in named or releases for part in MODULE_LISTS]
    texts = root.read_files([path for path in lists if root.exists(path)])
    return parse_modules(*(text.decode("utf-8", "replace") for text in texts.values()))


def _host_keys(root: Ext4Reader) -> tuple[str, ...]:
    if not root.exists("/etc/ssh"):
        return ()
    names = [entry.name for entry in root.list_dir("/etc/ssh")]
    keys = [f"/etc/ssh/{n}" for n in names if n.startswith("ssh_host_") and n.endswith(".pub")]
    texts = root.read_files(keys).values()
    # Without the third field, which is a comment.
    return tuple(" ".join(text.decode("utf-8", "replace").split()[:2]) for text in texts)
