"""Changing who can open a volume: the script that does it, and what it reports.

Both passphrases come to the script's standard input, a line each, and go on to cryptsetup
through pipes alone, written by the shell's own ``printf``. A slot is removed only once
another passphrase has been proven to open another slot, and under that passphrase, so that
whatever breaks in between leaves more ways into the volume, never none.
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
"""Seconds for one call of cryptsetup: far more than any key derivation takes. What takes
longer waits for the header, which another program holds."""


@dataclass(frozen=True)
class Changed:
    """What was done: key slots added and removed, and the header after it.

    Attributes:
        added: the slot of the new passphrase, if it was not there already.
        removed: the slots that were removed.
        header: the header after it all.
    """

    added: int | None
    removed: tuple[int, ...]
    header: LuksHeader


def keyslot_script(action: PassphraseAction, device: str, kdf: Kdf, step_s: int = STEP_S) -> str:
    """Return the script; it reads the existing and the other passphrase, a line each.

    Args:
        action: what to do.
        device: the device with the LUKS2 header.
        kdf: what a new slot's key derivation may cost.
        step_s: seconds for one call of cryptsetup.
    """
    options = (
        # As in the header that the card was made with; the data's cipher need not suit.
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


def changed(action: PassphraseAction, sections: Sequence[Section]) -> Changed:
    """Return what the script reports to have done.

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
        raise FailedError("the board's answer lacks the header after the change")
    added = numbers["added"]
    return Changed(added[0] if added else None, tuple(numbers["removed"]), header)


def _error(
    action: PassphraseAction, section: Section, done: dict[str, list[int]]
) -> BootwrightError:
    step, code = section.line(0), section.line(1)
    said = "\n".join(section.lines[2:]).strip()
    after = "nothing was changed"
    if done["added"]:
        after = "the new passphrase opens the volume, and the old one still does; run it again"
    if done["removed"]:
        after = f"key slot {done['removed'][-1]} is removed, but not every one; run it again"
    if step == "wrong-existing":
        which = "that stays" if action == "remove" else "that exists"
        return InputError(f"the passphrase {which} opens no key slot of the volume; {after}")
    if step == "wrong-other":
        return InputError(
            "the passphrase to remove opens no key slot (was it removed before?); nothing was"
            " changed"
        )
    if step == "same-slot":
        return RefusedError(
            f"both passphrases open the same key slot: removing it would leave no other; {after}"
        )
    if step == "lock":
        return FailedError(
            f"another `inv passphrase` is at work on this board; wait for it to end; {after}"
        )
    if code in ("124", "5"):
        return FailedError(
            "the header is in use: another program on the board holds it (is a cryptsetup"
            f" running there?); {after}"
        )
    if "All key slots full" in said:
        return FailedError(
            f"all {SLOTS} key slots are taken; remove one: inv passphrase TARGET remove; {after}"
        )
    return FailedError(f"{_STEPS.get(step, step)} failed ({code}): {said}; {after}")


_STEPS = {
    "probe": "trying a passphrase",
    "add": "adding the new passphrase",
    "prove": "proving that the new passphrase opens the volume",
    "remove": "removing the key slot",
    "input": "reading the passphrases",
    "printf": "the board's shell has no printf of its own: handing over the passphrases",
}
