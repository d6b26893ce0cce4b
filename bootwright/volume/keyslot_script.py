"""Changing the passphrases of a volume: the script that does it, and the parser of its report.

The script gets both passphrases on its standard input, a line each. It passes them on to
cryptsetup through pipes only, written by the shell's own ``printf``. It removes a slot only after
another passphrase was proven to open another slot, and authorises the removal by that passphrase.
So an interruption at any point leaves one passphrase too many, never none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bootwright.core.board import Kdf
from bootwright.core.errors import BootwrightError, FailedError, InputError, RefusedError
from bootwright.core.parsing import PARSE_ERRORS
from bootwright.core.shell import render
from bootwright.remote.sections import SECTIONS, Section
from bootwright.volume.choices import PassphraseAction
from bootwright.volume.luks_dump import SLOTS, LuksHeader, parse_header

STEP_S = 120
"""Seconds for one call of cryptsetup, far more than any key derivation takes. A call that takes
longer waits for the lock of the header, which another program holds."""


@dataclass(frozen=True)
class KeyslotChange:
    """What the script has done.

    Attributes:
        added: the slot that was added; ``None`` if the new passphrase opened one before.
        removed: the slots that were removed.
        header: the header after that.
    """

    added: int | None
    removed: tuple[int, ...]
    header: LuksHeader


def keyslot_script(action: PassphraseAction, device: str, kdf: Kdf, step_s: int = STEP_S) -> str:
    """Return the script. On its standard input it needs the existing and the other passphrase.

    Args:
        action: what to do.
        device: the device with the LUKS2 header.
        kdf: the cost of a new slot's key derivation.
        step_s: seconds for one call of cryptsetup.
    """
    options = (
        # As `inv flash` does. The cipher of the data may not be usable for a key slot.
        *("--keyslot-cipher", "aes-xts-plain64", "--keyslot-key-size", "512"),
        *("--pbkdf", "argon2id", "--pbkdf-memory", str(kdf.memory_kib)),
        *("--pbkdf-force-iterations", str(kdf.iterations)),
        *("--pbkdf-parallel", str(kdf.threads)),
    )
    return render(
        SECTIONS,
        "volume/shell/keyslots.sh",
        action=action,
        device=device,
        kdf_options=options,
        step_seconds=step_s,
    )


def parse_change(action: PassphraseAction, sections: Sequence[Section]) -> KeyslotChange:
    """Return what the script has done, by the sections that it printed.

    Raises:
        InputError: a passphrase is wrong.
        RefusedError: the volume would be left without a passphrase.
        FailedError: cryptsetup failed, or another program holds the header.
    """
    numbers: dict[str, list[int]] = {"added": [], "removed": []}
    header = None
    try:
        for section in sections:
            if section.name == "error":
                raise _error(action, section, numbers)
            if section.name in numbers:
                numbers[section.name].append(int(section.line(0)))
            if section.name == "header":
                header = parse_header(section.line(0), "\n".join(section.lines[1:]))
    except PARSE_ERRORS as error:
        raise FailedError(f"the board's answer cannot be understood: {error}") from None
    if header is None:
        raise FailedError("the board's answer does not contain the header after the change")
    added = numbers["added"]
    return KeyslotChange(added[0] if added else None, tuple(numbers["removed"]), header)


def _error(
    action: PassphraseAction, section: Section, done: dict[str, list[int]]
) -> BootwrightError:
    step, code = section.line(0), section.line(1)
    message = "\n".join(section.lines[2:]).strip()
    after = "nothing was changed"
    if done["added"]:
        after = "the new passphrase opens the volume, and the old one still does; run it again"
    if done["removed"]:
        after = f"key slot {done['removed'][-1]} was removed, but not all of them; run it again"
    if step == "wrong-existing":
        which = "passphrase to keep" if action == "remove" else "existing passphrase"
        return InputError(f"the {which} opens no key slot of the volume; {after}")
    if step == "wrong-other":
        return InputError(
            "the passphrase to remove opens no key slot (was it removed earlier?); nothing was"
            " changed"
        )
    if step == "same-slot":
        return RefusedError(
            f"both passphrases open the same key slot; without it, none of them would open the"
            f" volume; {after}"
        )
    if step == "lock":
        return FailedError(
            f"another `inv passphrase` is running on this board; wait until it has ended; {after}"
        )
    if code in ("124", "5"):
        return FailedError(
            "the LUKS header is in use by another program on the board (is cryptsetup running"
            f" there?); {after}"
        )
    if "All key slots full" in message:
        return FailedError(
            f"all {SLOTS} key slots are in use; remove one: inv passphrase TARGET remove; {after}"
        )
    return FailedError(f"{_STEPS.get(step, step)} failed ({code}): {message}; {after}")


_STEPS = {
    "probe": "trying a passphrase",
    "add": "adding the new passphrase",
    "prove": "testing the new passphrase",
    "remove": "removing the key slot",
    "input": "reading the passphrases",
    "printf": "the board's shell has no printf of its own, so passing on the passphrases",
}
