"""Asking before a device is overwritten."""

from pathlib import PurePath

from bootwright.card.block_device import DeviceFacts, DeviceKind
from bootwright.card.guard import describe
from bootwright.core.errors import RefusedError
from bootwright.core.io.ask import Ask


def confirm_device(facts: DeviceFacts, ask: Ask | None, yes: bool) -> None:
    """Ask the operator whether the destination may be overwritten; do nothing if it may.

    The operator types the name of the device (``sdb``, its path, or the path that
    was given), so that a "y" typed out of habit overwrites nothing. Nothing is asked for a new
    file and for an unfinished image that an interrupted run left.

    Args:
        facts: the destination.
        ask: how to ask, as :func:`bootwright.core.io.ask.terminal` returns it; ``None`` without
            a terminal.
        yes: ``--yes`` was given: do not ask.

    Raises:
        RefusedError: another name was typed, or there is no terminal to ask at.
    """
    if yes or facts.kind is DeviceKind.NEW or (facts.kind is DeviceKind.FILE and facts.unfinished):
        return
    if ask is None:
        raise RefusedError(
            f"{facts.path}: it would be overwritten, and there is no terminal to ask at; "
            "if you want that, give --yes"
        )
    name = PurePath(facts.resolved).name
    lines = [*describe(facts), f"Everything on it will be lost. Type {name} to go on: "]
    typed = ask("\n".join(lines)).strip()
    if typed not in (name, facts.resolved, facts.path):
        raise RefusedError(f"{facts.path}: {typed!r} is not {name!r}; nothing was changed")
