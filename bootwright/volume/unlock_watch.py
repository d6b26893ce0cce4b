"""``inv unlock --watch``: unlock a board at every boot, until it is ended."""

import time

from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import FailedError
from bootwright.core.io.ask import Ask
from bootwright.core.passphrase import check_typeable
from bootwright.core.report import Reporter
from bootwright.core.secret import Secret
from bootwright.remote.io.connection import Remote, UnreachableError
from bootwright.remote.io.wait import note_coming_up
from bootwright.volume.unlock import UnlockOptions, chosen_via, console_session
from bootwright.volume.unlock_result import Result, UnlockResult
from bootwright.volume.unlock_ssh import unlock_over_ssh

PAUSE_S = 10.0
"""Seconds between attempts over SSH after a failure."""


def watch(
    endpoint: Endpoint,
    passphrase: Secret,
    reporter: Reporter,
    options: UnlockOptions,
    *,
    ask: Ask | None = None,
) -> UnlockResult:
    """Unlock the board at every boot; return only when the passphrase is wrong.

    Args:
        endpoint: the board.
        passphrase: typed at the prompt or sent over SSH, and nowhere else.
        reporter: gets a message about each boot.
        options: how; the timeout is from the passphrase to the open volume.
        ask: asks about an SSH host key that is not known.

    Raises:
        InputError: the target has no address that can be used, or the passphrase cannot be typed.
        RefusedError: another program uses the console, or the SSH server's host key is not the
            target's.
        FailedError: the serial line cannot be opened at the start.
    """
    check_typeable(passphrase.reveal(), endpoint.name)
    if chosen_via(endpoint, options) == "ssh":
        return _watch_ssh(endpoint, passphrase, reporter, options, ask)
    with console_session(endpoint, passphrase, reporter, options) as session:
        for result in session.results():
            if _is_final(result, reporter):
                return result
    raise AssertionError("a console has no last boot")


def _watch_ssh(
    endpoint: Endpoint,
    passphrase: Secret,
    reporter: Reporter,
    options: UnlockOptions,
    ask: Ask | None,
) -> UnlockResult:
    while True:
        try:
            result = unlock_over_ssh(
                endpoint, passphrase, timeout=options.timeout, reporter=reporter, ask=ask
            )
            if _is_final(result, reporter):
                return result
            # As long as this connection lives, the board has not restarted.
            with Remote(endpoint) as board:
                board.wait_until_lost()
            reporter.note(f"{endpoint.name}: the connection has ended")
        except UnreachableError as error:
            reporter.note(f"{error}; waiting")
        except FailedError as error:
            reporter.warn(f"{error}; trying again")
            time.sleep(PAUSE_S)


def _is_final(result: UnlockResult, reporter: Reporter) -> bool:
    """Report how a boot ended; return whether the next one would end the same, and waste a try."""
    if result.result is Result.WRONG_PASSPHRASE:
        return True
    message = f"{result.target}: {result.result.value}: {result.detail}"
    if result.ok:
        note_coming_up(result.target)
        reporter.note(f"{message}; waiting for the next boot")
    else:
        reporter.warn(message)
    return False
