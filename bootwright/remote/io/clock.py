"""Setting the clock of a board."""

import time

from bootwright.core.errors import FailedError
from bootwright.core.report import Reporter
from bootwright.remote.clock import clock_text, set_clock_script
from bootwright.remote.io.connection import Remote

CLOCK_TIMEOUT_S = 60.0
"""Seconds that a board may take to answer, also one that was just resumed; it usually takes 1."""


def set_clock(remote: Remote, *, unless_right: bool = False) -> bool:
    """Set a board's clock to this machine's time, as root; return whether it was set.

    Args:
        remote: the connection to the board.
        unless_right: leave a clock as it is that a time server keeps right.

    Raises:
        FailedError: the board does not answer, or its clock could not be set.
    """
    done = remote.run(
        set_clock_script(time.time(), unless_right=unless_right),
        title="setting the clock",
        sudo=True,
        timeout=CLOCK_TIMEOUT_S,
    )
    if done.returncode != 0:
        raise FailedError(done.failure(f"{remote.where}: the clock could not be set"))
    sections = remote.sections_of(done, "setting the clock")
    return not any(section.name == "kept" for section in sections)


def correct_clock(remote: Remote, shown: float, reporter: Reporter) -> bool:
    """Set the clock of a board that shows a wrong time; return whether it was set.

    What cannot be set is a warning: the board works as far as it did before.

    Args:
        remote: the connection to the board.
        shown: the wrong time, in seconds since 1970.
        reporter: gets a message about what was done.
    """
    now = clock_text(time.time())
    difference = f"the board's clock shows {clock_text(shown)}, this machine's {now}"
    try:
        if set_clock(remote, unless_right=True):
            reporter.note(f"{difference}: the board's is set")
            return True
    except FailedError as error:
        reporter.warn(f"{difference}. {error}. Certificates and lists of packages may not be valid")
        return False
    reporter.warn(
        f"{difference}. A time server keeps the board's right, so it is left as it is: is this"
        " machine's right?"
    )
    return False
