"""The errors that are shown to the user, each with its exit code.

A message says what is wrong, where, and what to do.
"""

from bootwright.core.secret import mask


class BootwrightError(Exception):
    """The base class of errors with a message for the user; only subclasses are raised.

    A message may quote what a board or a tool wrote, which may repeat a secret: it is masked.
    """

    exit_code = 70

    def __str__(self) -> str:
        return mask(super().__str__())


class InputError(BootwrightError):
    """The user's input (an option, a file, a key) is wrong."""

    exit_code = 2


class RefusedError(BootwrightError):
    """The request is well formed but would endanger data or make a card that cannot start.

    Nothing was changed.
    """

    exit_code = 3


class FailedError(BootwrightError):
    """The device, the board or a tool of this machine failed."""

    exit_code = 4
