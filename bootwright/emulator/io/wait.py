"""Waiting until the console of a booting emulator shows a prompt."""

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
"""Seconds between two lines that show how far the boot is."""

SHOWN_LINES = 8
"""Lines of the console that an error message shows."""

Goal = Literal["prompt", "login", "ready"]
"""What to wait for: the passphrase prompt, the login prompt, or (``ready``) one of both."""

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
) -> State:
    """Wait until the console shows ``goal``; return the state of the console.

    Args:
        emulator: the emulator.
        goal: what to wait for.
        timeout: seconds to wait at most, from now.
        reporter: shows how far the boot is.

    Raises:
        FailedError: QEMU ended, the boot failed, or the time is over.
    """
    watcher = BootWatcher(VOLUME, MOUNT)
    begin = last_note = time.monotonic()
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
                raise _error(emulator, f"no {_goal_text(goal)} within {timeout:.0f} s")
            if now - last_note > PROGRESS_S:
                last_note = now
                reporter.note(f"{now - begin:.0f} s: {_last_line(watcher)}")
            time.sleep(POLL_S)


def _goal_text(goal: Goal) -> str:
    return "passphrase prompt or login prompt" if goal == "ready" else f"{goal} prompt"


def _last_line(watcher: BootWatcher) -> str:
    return watcher.last_line or "nothing on the console yet"


def _error(emulator: Emulator, what: str) -> FailedError:
    text = emulator.console_log.read_bytes().decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()][-SHOWN_LINES:]
    shown = "\n".join(f"  {line}" for line in lines)
    return FailedError(f"{what}; the console ({emulator.console_log}) ends in\n{shown}")
