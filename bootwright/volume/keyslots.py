"""``inv passphrase``: change, add or remove a passphrase of a board's volume."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bootwright.core import paths
from bootwright.core.board import Kdf, load_board
from bootwright.core.config import Target
from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import InputError
from bootwright.core.io.ask import Ask
from bootwright.core.io.secret_input import read_new_passphrase, read_passphrase
from bootwright.core.report import Reporter
from bootwright.core.result import to_document
from bootwright.core.secret import Secret
from bootwright.remote.io.connection import Remote
from bootwright.remote.sections import parse_sections
from bootwright.volume.choices import PassphraseAction
from bootwright.volume.keyslot_script import STEP_S, Changed, changed, keyslot_script
from bootwright.volume.luks_dump import Keyslot
from bootwright.volume.status import collect
from bootwright.volume.status_result import keyslot_text
from bootwright.volume.unlock_ssh_plan import check_volume, place_of

SCHEMA = "bootwright.passphrase/1"

CHANGE_S = 900.0
"""Seconds for the whole; some eight key derivations, of 1 to 10 seconds each."""


@dataclass(frozen=True)
class PassphraseFiles:
    """The files of the command line; ``None`` where none was given."""

    existing: str | None = None
    new: str | None = None
    old: str | None = None


@dataclass(frozen=True)
class Passphrases:
    """The one that authorises and stays (or is changed), and the new one or the one to go."""

    existing: Secret
    other: Secret


@dataclass(frozen=True)
class PassphraseResult:
    """What was done to a volume's key slots.

    Attributes:
        target: the board's name.
        action: what was asked for.
        changed: whether any key slot was added or removed.
        detail: what was done, in a line for a person.
        added: the number of the new key slot; ``None`` without one.
        removed: the numbers of the key slots that are gone.
        keyslots: those that there are now.
    """

    target: str
    action: PassphraseAction
    changed: bool
    detail: str
    added: int | None
    removed: tuple[int, ...]
    keyslots: tuple[Keyslot, ...]

    def document(self) -> dict[str, Any]:
        """Return it as one JSON document."""
        return to_document(SCHEMA, self)

    def lines(self) -> list[str]:
        """Return it as lines for a person."""
        slots = [f"keyslot {slot.number}  {keyslot_text(slot)}" for slot in self.keyslots]
        return [self.detail, *slots]


def kdf_of(target: Target) -> Kdf:
    """Return what deriving a key may cost on the target's board.

    Raises:
        InputError: there is no such board.
    """
    return load_board(paths.checkout() / "board", target.board).kdf


def read_passphrases(
    action: PassphraseAction, target: Target, files: PassphraseFiles
) -> Passphrases:
    """Return both passphrases, from files, the target's command or the keyboard.

    Raises:
        InputError: a file does not belong to the action, cannot be used, there is no way to
            ask, or both are the same.
        FailedError: the target's command does not exist.
    """
    if action == "remove":
        if files.new is not None:
            raise InputError("--new-passphrase-file: remove sets no new passphrase")
        existing = read_passphrase(
            target, files.existing, twice=False, title="A passphrase that stays"
        )
        # Never from the target's command, which gives the one in use.
        other = read_new_passphrase(
            files.old, "--old-passphrase-file", "The passphrase to remove", twice=False
        )
        same = "the passphrase to remove is the one that stays"
    else:
        if files.old is not None:
            raise InputError(f"--old-passphrase-file is for remove; {action} needs none")
        existing = read_passphrase(
            target, files.existing, twice=False, title="The passphrase that exists"
        )
        other = read_new_passphrase(
            files.new, "--new-passphrase-file", "The new passphrase", twice=True
        )
        same = "the new passphrase is the one that exists"
    if existing == other:
        raise InputError(f"{same}; nothing was changed")
    return Passphrases(existing, other)


def change_keyslots(
    endpoint: Endpoint,
    action: PassphraseAction,
    passphrases: Passphrases,
    kdf: Kdf,
    *,
    reporter: Reporter,
    ask: Ask | None = None,
    directory: Path | None = None,
    step_s: int = STEP_S,
) -> PassphraseResult:
    """Change who can open the volume, and return what was done.

    At any time at least one passphrase opens the volume; after an interruption both do, and
    the same call ends the work.

    Args:
        endpoint: the board.
        action: what to do.
        passphrases: what the operator gave.
        kdf: what a new slot's key derivation may cost: the board's.
        reporter: where to tell what is done.
        ask: how to ask about a host key that is not known; ``None`` without a terminal.
        directory: where known-hosts files are kept; ``build/ssh`` if ``None``.
        step_s: seconds for one call of cryptsetup.

    Raises:
        InputError: a passphrase is wrong, or the target has no address.
        RefusedError: the volume would be left without a passphrase, or the SSH server's host
            key is not the target's.
        FailedError: no SSH server answers, the board has no such volume, cryptsetup failed, or
            the connection was lost; it says what holds then.
    """
    place = place_of(endpoint)
    both = passphrases.existing.reveal() + b"\n" + passphrases.other.reveal() + b"\n"
    with contextlib.closing(Remote(endpoint, ask=ask, directory=directory)) as board:
        # Not in a step, which on a terminal would be drawn over a question for the host key.
        board.connect()
        with reporter.step(f"Look at the volume of {endpoint.name}"):
            facts = collect(board, place)
            check_volume(facts, place)
        assert facts.device is not None
        with reporter.step(_TITLES[action]):
            done = board.run(
                keyslot_script(action, facts.device, kdf, step_s),
                title=f"passphrase {action}",
                stdin=Secret(both),
                sudo=True,
                timeout=CHANGE_S,
            )
    return _result(endpoint.name, action, changed(action, parse_sections(done.text)))


_TITLES = {
    "change": "Add the new passphrase, prove it, remove the old one",
    "add": "Add the new passphrase and prove it",
    "remove": "Prove the passphrase that stays, remove the other",
}


def _result(target: str, action: PassphraseAction, done: Changed) -> PassphraseResult:
    said = []
    if done.added is not None:
        said.append(f"the new passphrase opens key slot {done.added}")
    elif action != "remove":
        said.append("the new passphrase opened the volume already")
    if done.removed:
        said.append(f"key slot {', '.join(map(str, done.removed))} is removed")
    elif action == "change":
        said.append("the old one does not open it")
    return PassphraseResult(
        target=target,
        action=action,
        changed=done.added is not None or bool(done.removed),
        detail="; ".join(said),
        added=done.added,
        removed=done.removed,
        keyslots=done.header.keyslots,
    )
