"""``inv passphrase``: change, add or remove a passphrase of a board's volume."""

import contextlib
import time
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
from bootwright.remote.clock import clock_is_off
from bootwright.remote.io.clock import correct_clock
from bootwright.remote.io.connection import Remote
from bootwright.volume.choices import PassphraseAction
from bootwright.volume.keyslot_script import STEP_S, KeyslotChange, keyslot_script, parse_change
from bootwright.volume.luks_dump import Keyslot
from bootwright.volume.passphrase_strength import WEAK, is_weak
from bootwright.volume.status import collect
from bootwright.volume.status_result import keyslot_text
from bootwright.volume.unlock_ssh_plan import check_volume, layout_of

SCHEMA = "bootwright.passphrase/1"

CHANGE_S = 900.0
"""Seconds for all of it: up to eight key derivations, which take 1 to 10 seconds each."""


@dataclass(frozen=True)
class PassphraseFiles:
    """The passphrase files that the command line names; ``None`` where it names none."""

    existing: str | None = None
    new: str | None = None
    old: str | None = None


@dataclass(frozen=True)
class Passphrases:
    """The two passphrases that an action needs.

    Attributes:
        existing: opens the volume now. ``change`` replaces it; otherwise it stays.
        other: the new one, or for ``remove`` the one to remove.
    """

    existing: Secret
    other: Secret


@dataclass(frozen=True)
class PassphraseResult:
    """What was done to a volume's key slots.

    Attributes:
        target: the board's name.
        action: what was asked for.
        changed: whether any key slot was added or removed.
        detail: what was done, in words for the operator.
        added: the number of the new key slot; ``None`` if none was added.
        removed: the numbers of the removed key slots.
        keyslots: the key slots after it.
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
        """Return it as lines for the operator."""
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
        InputError: a file is not for this action or cannot be used, the passphrase cannot be
            asked for without a terminal, or both are the same.
        FailedError: the target's command does not exist.
    """
    if action == "remove":
        if files.new is not None:
            raise InputError(
                "--new-passphrase-file is for change and add; remove needs no new passphrase"
            )
        existing = read_passphrase(
            target, files.existing, twice=False, title="A passphrase to keep"
        )
        # Not from the target's passphrase command: that gives the passphrase in use.
        other = read_new_passphrase(
            files.old, "--old-passphrase-file", "The passphrase to remove", twice=False
        )
        same = "the passphrase to remove is the same as the one to keep"
    else:
        if files.old is not None:
            raise InputError(f"--old-passphrase-file is for remove; {action} does not need it")
        existing = read_passphrase(
            target, files.existing, twice=False, title="The existing passphrase"
        )
        other = read_new_passphrase(
            files.new, "--new-passphrase-file", "The new passphrase", twice=True
        )
        same = "the new passphrase is the same as the existing one"
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
    wait: float | None = 0.0,
    step_s: int = STEP_S,
) -> PassphraseResult:
    """Change, add or remove a passphrase of the volume, and return what was done.

    At any time at least one passphrase opens the volume. If it is interrupted, both may; the same
    call completes the work.

    Args:
        endpoint: the board.
        action: what to do.
        passphrases: what the operator gave.
        kdf: the cost of a new slot's key derivation: the board's.
        reporter: gets a message about each step.
        ask: how to ask about a host key that is not known; ``None`` without a terminal.
        directory: where known-hosts files are kept; ``build/ssh`` if ``None``.
        wait: seconds to wait for a board that does not answer yet; as usual if ``None``.
        step_s: seconds for one call of cryptsetup.

    Raises:
        InputError: a passphrase is wrong, or the target has no address.
        RefusedError: the volume would be left without a passphrase, or the SSH server's host
            key is not the target's.
        FailedError: no SSH server answers, the board has no such volume, cryptsetup failed, or
            the connection was lost; it says what was done until then.
    """
    layout = layout_of(endpoint)
    if action != "remove" and is_weak(passphrases.other, (endpoint.name,)):
        reporter.warn(WEAK)
    both = passphrases.existing.reveal() + b"\n" + passphrases.other.reveal() + b"\n"
    with contextlib.closing(Remote(endpoint, ask=ask, directory=directory, wait=wait)) as board:
        # Not in a step: on a terminal its line would overwrite a question about the host key.
        board.connect()
        with reporter.step(f"Check the volume of {endpoint.name}"):
            before = time.time()
            facts = collect(board, layout)
            after = time.time()
            check_volume(facts, layout)
        if clock_is_off(facts.clock, before, after):
            correct_clock(board, facts.clock, reporter)
        assert facts.device is not None
        with reporter.step(_TITLES[action]):
            sections = board.report(
                keyslot_script(action, facts.device, kdf, step_s),
                title=f"passphrase {action}",
                stdin=Secret(both),
                timeout=CHANGE_S,
            )
    return _result(endpoint.name, action, parse_change(action, sections))


_TITLES = {
    "change": "Add the new passphrase, test it, remove the old one",
    "add": "Add the new passphrase and test it",
    "remove": "Test the passphrase to keep, remove the other",
}


def _result(target: str, action: PassphraseAction, done: KeyslotChange) -> PassphraseResult:
    parts = []
    if done.added is not None:
        parts.append(f"the new passphrase opens key slot {done.added}")
    elif action != "remove":
        parts.append("the new passphrase opened the volume before")
    if done.removed:
        parts.append(f"key slot {', '.join(map(str, done.removed))} is removed")
    elif action == "change":
        parts.append("the old passphrase does not open it")
    return PassphraseResult(
        target=target,
        action=action,
        changed=done.added is not None or bool(done.removed),
        detail="; ".join(parts),
        added=done.added,
        removed=done.removed,
        keyslots=done.header.keyslots,
    )
