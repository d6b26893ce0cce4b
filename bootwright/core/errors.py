"""The errors that reach a user, each with the exit code it ends in.

Three parties can be wrong: the user's input, the machine, device or board, and
this program. A message says what, where, and what to do.
"""


class BootwrightError(Exception):
    """An error with a message for the user; never raised itself."""

    exit_code = 70


class InputError(BootwrightError):
    """What the user gave (an option, a file, a key) is wrong."""

    exit_code = 2


class RefusedError(BootwrightError):
    """The request is well formed but would endanger data; nothing was changed."""

    exit_code = 3


class FailedError(BootwrightError):
    """The device, the board or a tool of this machine failed."""

    exit_code = 4
