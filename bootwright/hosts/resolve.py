"""How a target is reached: from its configuration, or from the emulator that runs."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bootwright.core import paths
from bootwright.core.board import load_board
from bootwright.core.config import Target, group_members, load_config
from bootwright.core.endpoints import Endpoint, SshEndpoint
from bootwright.core.errors import InputError
from bootwright.core.target_names import EMULATOR
from bootwright.emulator.io import qemu
from bootwright.remote.io.key_files import own_public_keys
from bootwright.remote.io.project_key import project_key


def endpoint_of(
    name: str,
    identity: str | None = None,
    port: str | None = None,
    baud: int | None = None,
) -> Endpoint:
    """Return how the target ``name`` is reached.

    Args:
        name: a target of ``bootwright.toml``, or ``emulator``.
        identity: private key file, instead of the target's.
        port: serial port or URL, instead of the target's.
        baud: bits per second of the serial line, instead of the board's.

    Raises:
        InputError: no such target.
        FailedError: ``emulator`` is asked for and none runs.
    """
    if name == EMULATOR:
        card = emulated_card()
        target = _configured(card.get("target"))
        reached = qemu.emulator_target(
            user=card.get("user", "root"), identity=_identity(identity, target)
        )
        if port is not None:
            # The emulator's log is of its own serial line, not of the one that --port names.
            reached = replace(reached, serial_url=port, console_history=None)
        return replace(reached, unlock=card.get("unlock", "serial"))
    target = load_config(paths.checkout(), name).target
    board = load_board(paths.checkout() / "board", target.board)
    ssh = None
    if target.host is not None:
        ssh = SshEndpoint(
            host=target.host,
            port=target.port,
            user=target.user,
            identity=_identity(identity, target),
            known_host_keys=_known_host_keys(target),
        )
    return Endpoint(
        name=name,
        serial_url=port or target.serial_port,
        baud=baud or board.console.baud,
        ssh=ssh,
        unlock=target.unlock,
    )


def targets_named(names: Sequence[str], group: str | None) -> list[str]:
    """Return the targets of a command line, each once: the names, then the group's.

    Raises:
        InputError: there are none, or no such group.
    """
    found = [*names, *(group_members(paths.checkout(), group) if group is not None else ())]
    if not found:
        raise InputError("name a target, or a group of them with --group")
    return list(dict.fromkeys(found))


def target_of(name: str) -> Target:
    """Return the configuration of a target; of ``emulator``: of the target whose card it boots.

    Raises:
        InputError: no such target.
    """
    if name == EMULATOR:
        name = emulated_card().get("target", "odroid")
    return load_config(paths.checkout(), name).target


def emulated_card() -> dict[str, Any]:
    """Return what was recorded about the card that the emulator boots; empty if nothing was."""
    path = qemu.emulator_dir() / qemu.CARD_RECORD
    if not path.is_file():
        return {}
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def _configured(name: str | None) -> Target | None:
    """Return the card's target, unless it is no longer configured."""
    try:
        return load_config(paths.checkout(), name).target if name else None
    except InputError:
        return None


def _identity(given: str | None, target: Target | None) -> Path | None:
    """Return the private key to offer; ``None``: the SSH client chooses.

    If the operator has no keys, the card was flashed with the checkout's own key.
    """
    named = given or (target.identity_file if target else None)
    if named:
        return paths.expand_user(named)
    has_own = own_public_keys(paths.home()).keys or (target is not None and target.authorized_keys)
    return project_key() if not has_own and project_key().is_file() else None


def _known_host_keys(target: Target) -> tuple[str, ...]:
    """Return the host keys of the card that was last flashed for the target."""
    path = paths.build_dir() / "host-keys" / target.name
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return tuple(" ".join(line.split()[:2]) for line in lines)
