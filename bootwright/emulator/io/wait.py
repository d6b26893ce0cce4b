"""Waiting until a booting emulator reaches a prompt, by what its console prints."""

import time
from typing import Literal

from bootwright.console.boot import BootWatcher, State
from bootwright.console.io.log_file import ConsoleLog
from bootwright.core.board_names import MOUNT, VOLUME
from bootwright.core.errors import FailedError
from bootwright.core.report import Reporter
from bootwright.emulator.io.qemu import Emulator

POLL_S = 0.1
"""Seconds between two reads of the console log."""

PROGRESS_S = 10.0
"""Seconds between lines that say that the boot still goes on."""

SHOWN_LINES = 8
"""Lines of the console in an error."""

Goal = Literal["prompt", "login", "ready"]
"""What to wait for; ``ready`` is either, whichever comes first."""

_GOALS: dict[Goal, tuple[State, ...]] = {
    "prompt": (State.PROMPT,),
    "login": (State.LOGIN,),
    "ready": (State.PROMPT, State.LOGIN),
}


def wait_until(
    emulator: Emulator,
    goal: Goal,
    *,
    timeout: float,
    reporter: Reporter,
    volume: str = VOLUME,
    mount: str = MOUNT,
) -> State:
    """Wait until the console shows ``goal``; return the state it is in.

    Args:
        emulator: the emulator.
        goal: what to wait for.
        timeout: seconds to wait at most, from now.
        reporter: shows how far the boot is.
        volume: the encrypted volume's name in crypttab.
        mount: where it is mounted.

    Raises:
        FailedError: QEMU ended, the boot failed, or the time is over.
    """
    watcher = BootWatcher(volume, mount)
    begin = shown = time.monotonic()
    with ConsoleLog(emulator.console_log) as log:
        while True:
            data = log.read()
            watcher.feed(data)
            if data:
                continue
            if watcher.state in _GOALS[goal]:
                return watcher.state
            if watcher.state in (State.FAILED, State.EMERGENCY):
                raise _error(emulator, f"the boot failed: {watcher.reason}")
            if not emulator.alive:
                raise _error(emulator, "the emulator ended")
            now = time.monotonic()
            if now - begin > timeout:
                raise _error(emulator, f"no {_named(goal)} within {timeout:.0f} s")
            if now - shown > PROGRESS_S:
                shown = now
                reporter.note(f"{now - begin:.0f} s: {_last_line(watcher)}")
            time.sleep(POLL_S)


def _named(goal: Goal) -> str:
    return "passphrase prompt or login prompt" if goal == "ready" else f"{goal} prompt"


def _last_line(watcher: BootWatcher) -> str:
    return watcher.last_line or "nothing on the console yet"


def _error(emulator: Emulator, what: str) -> FailedError:
    text = emulator.console_log.read_bytes().decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()][-SHOWN_LINES:]
    shown = "\n".join(f"  {line}" for line in lines)
    return FailedError(f"{what}; the console ({emulator.console_log}) ends in\n{shown}")
