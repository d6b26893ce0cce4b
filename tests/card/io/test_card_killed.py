"""A card is marked as unfinished if writing it is killed at any moment."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bootwright.card.io.card import open_card
from bootwright.card.io.inspect import inspect
from bootwright.core.units import MIB, SECTOR
from tests.support.cards import (
    SIZE,
    STALE,
    expected,
    flash,
    run_steps,
)

pytestmark = pytest.mark.integration


class Killer:
    """A medium that kills its process with SIGKILL at the n-th access."""

    def __init__(self, medium: object, accesses: int) -> None:
        self._medium, self._left = medium, accesses

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._medium, name)
        if not callable(value):
            return value
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1
        return value


def killed_at(access: int, path: str, sources: dict[str, Path]) -> bool:
    """Flash in a child that is killed at the given access; ``False`` when it ended first."""
    child = os.fork()
    if child == 0:
        try:
            card = open_card(inspect(path), SIZE)
            card._medium = Killer(card._medium, access)
            run_steps(card, sources)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return os.WIFSIGNALED(status)


def kill_everywhere(
    path: str, sources: dict[str, Path], old: bytes, restore: Callable[[], object]
) -> None:
    """Kill a run at its first, second, … access; check the card each time, and run again.

    A card that looks finished (a table in sector 0) is the old one or the new one, whole.
    """
    finished = (old, expected(sources, b"\0"))
    access = 0
    while restore() is not None and killed_at(access, path, sources):
        content = Path(path).read_bytes()
        looks_finished = content[:SECTOR].endswith(b"\x55\xaa")
        assert looks_finished == (content in finished), f"access {access}"
        assert looks_finished != inspect(path).unfinished, f"access {access}"
        flash(path, sources)
        assert Path(path).read_bytes() == finished[1]
        access += 1
    assert access > 20


OLD = (b"an old card".ljust(510) + b"\x55\xaa").ljust(SIZE, STALE)


def test_an_old_image_is_unfinished_after_a_kill_at_any_access(
    tmp_path: Path, sources: dict[str, Path]
) -> None:
    image = tmp_path / "card.img"
    kill_everywhere(str(image), sources, OLD, restore=lambda: image.write_bytes(OLD))


def test_a_new_image_is_unfinished_after_a_kill_at_any_access(
    tmp_path: Path, sources: dict[str, Path]
) -> None:
    image = tmp_path / "card.img"

    def restore() -> bool:
        image.unlink(missing_ok=True)
        return True

    kill_everywhere(str(image), sources, OLD, restore)


@pytest.mark.blockdev
def test_a_device_is_unfinished_after_a_kill_at_any_access(
    device: str, sources: dict[str, Path]
) -> None:
    # A discard does not change the first MiB; with zeros there, the whole card can be compared.
    old = OLD[:SECTOR] + bytes(MIB - SECTOR) + OLD[MIB:]
    kill_everywhere(device, sources, old, restore=lambda: Path(device).write_bytes(old))
