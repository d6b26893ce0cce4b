"""Opening a destination exclusively, and checking that it is still what was inspected."""

import os

from bootwright.card.block_device import DeviceFacts, DeviceIdentity, DeviceKind
from bootwright.card.io import holders
from bootwright.card.io.inspect import file_identity, identify, inspect
from bootwright.card.io.medium import BlockDevice, ImageFile
from bootwright.core.errors import BootwrightError, RefusedError


def open_medium(facts: DeviceFacts, size: int) -> BlockDevice | ImageFile:
    """Open and lock the destination, and check that it is still what was inspected.

    Nothing is changed yet, except that a new image file is created, empty, and that an
    existing one becomes readable by its owner only.

    Args:
        facts: the facts that the guard approved.
        size: bytes that an image file will have (:func:`bootwright.card.guard.card_size`).

    Raises:
        RefusedError: it is in use, or it is not the one that was inspected.
        FailedError: the device cannot be opened.
        InputError: the file cannot be opened or created.
    """
    medium: BlockDevice | ImageFile
    if facts.kind is DeviceKind.BLOCK:
        medium = BlockDevice(facts.resolved)
    else:
        medium = ImageFile(facts.resolved, size, new=facts.kind is DeviceKind.NEW)
    try:
        medium.lock()
        if facts.kind is not DeviceKind.NEW:
            _refuse_if_changed(facts, _identity(medium))
            _refuse_if_in_use(facts)
        if facts.kind is DeviceKind.FILE and isinstance(medium, ImageFile):
            medium.make_private()  # a new file was made private
    except BootwrightError:
        medium.close()
        raise
    return medium


def _identity(opened: BlockDevice | ImageFile) -> DeviceIdentity:
    """Return the identity of what was opened, even if its path names something else now."""
    if isinstance(opened, ImageFile):
        return file_identity(os.fstat(opened.fd))
    now = identify(opened.path)
    diskseq = opened.diskseq() if now.diskseq is not None else None
    return DeviceIdentity(opened.node, opened.size, now.model, now.serial, diskseq)


def _refuse_if_changed(facts: DeviceFacts, now: DeviceIdentity) -> None:
    if now != facts.identity:
        raise RefusedError(
            f"{facts.path}: it is not what it was when it was inspected (then "
            f"{facts.identity}, now {now}); nothing was changed, start again"
        )


def _refuse_if_in_use(facts: DeviceFacts) -> None:
    """Refuse a destination that came into use after it was inspected, or something under it.

    Opening it exclusively does not exclude all of these uses: swap files and loop devices, locks,
    and all that concerns only what a loop device is attached to.
    """
    uses = holders.lasting(lambda: _uses_now(facts))
    if uses:
        raise RefusedError(f"{facts.path}: {uses[0]}; nothing was changed; release it first")


def _uses_now(facts: DeviceFacts) -> list[str]:
    return [
        f"{_subject(facts, layer)} is now {each.use}"
        for layer in inspect(facts.resolved, opened=True).layers
        for each in layer.uses
    ]


def _subject(facts: DeviceFacts, layer: DeviceFacts) -> str:
    return "it" if layer.resolved == facts.resolved else layer.resolved
