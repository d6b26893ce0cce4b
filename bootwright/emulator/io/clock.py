"""Setting the clock of a resumed guest, which still shows the time of saving."""

import time

from bootwright.core.errors import FailedError
from bootwright.core.shell import render
from bootwright.remote.io.connection import Remote

CLOCK_TIMEOUT_S = 60.0
"""Seconds that a resumed guest may take to answer; it usually takes 1."""


def set_clock(remote: Remote) -> None:
    """Set a resumed guest's clock to this machine's time, as root.

    Raises:
        FailedError: the guest does not answer, or its clock could not be set.
    """
    done = remote.run(
        set_clock_script(time.time()),
        title="setting the clock",
        sudo=True,
        timeout=CLOCK_TIMEOUT_S,
    )
    if done.returncode != 0:
        raise FailedError(done.failure(f"{remote.where}: the clock could not be set"))


def set_clock_script(seconds: float) -> str:
    """Return the script that sets the clock to ``seconds`` since 1970."""
    return render("emulator/shell/set_clock.sh", seconds=f"{seconds:.3f}")
