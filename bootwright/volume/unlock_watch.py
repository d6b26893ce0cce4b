"""``inv unlock --watch``: unlock a board at every boot, until it is ended."""

import time
from dataclasses import replace

from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import BootwrightError, FailedError, RefusedError
from bootwright.core.io.ask import Ask
from bootwright.core.passphrase import check_typeable
from bootwright.core.report import Reporter
from bootwright.core.secret import Secret
from bootwright.remote.io.connection import Remote, UnreachableError
from bootwright.remote.io.wait import note_coming_up
from bootwright.volume.unlock import UnlockOptions, chosen_via, console_session
from bootwright.volume.unlock_result import Result, UnlockResult
from bootwright.volume.unlock_ssh import unlock_over_ssh

PAUSE_S = 5.0
"""Seconds to the second attempt after a failure."""

MOST_PAUSE_S = 60.0
"""Seconds between attempts at most: each pause is twice the last."""


def watch(
    endpoint: Endpoint,
    passphrase: Secret,
    reporter: Reporter,
    options: UnlockOptions,
    *,
    ask: Ask | None = None,
) -> UnlockResult:
    """Unlock the board at every boot; return only when the passphrase is wrong.

    A console that another program uses, and a board that fails or is not there, are waited for.

    Args:
        endpoint: the board.
        passphrase: typed at the prompt or sent over SSH, and nowhere else.
        reporter: gets a message about each boot, and about each change.
        options: how; the timeout is from the passphrase to the open volume.
        ask: asks about an SSH host key that is not known.

    Raises:
        InputError: the target has no address that can be used, or the passphrase cannot be typed.
        RefusedError: the SSH server's host key is not the target's.
    """
    check_typeable(passphrase.reveal(), endpoint.name)
    troubles = _Troubles(reporter)
    if chosen_via(endpoint, options) == "ssh":
        return _watch_ssh(endpoint, passphrase, reporter, options, ask, troubles)
    return _watch_serial(endpoint, passphrase, reporter, options, troubles)


class _Troubles:
    """Reports what keeps the board from being watched, once each, and pauses longer and longer."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self.over()

    def over(self) -> None:
        """Note that there is none any more."""
        self._last = ""
        self._pause = PAUSE_S

    def report(self, error: BootwrightError) -> None:
        """Report ``error`` unless it was the last one too."""
        if str(error) != self._last:
            self._reporter.warn(f"{error}; trying again until it works")
        self._last = str(error)

    def wait_out(self, error: BootwrightError) -> None:
        """Report ``error``, and pause."""
        self.report(error)
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, MOST_PAUSE_S)


def _watch_serial(
    endpoint: Endpoint,
    passphrase: Secret,
    reporter: Reporter,
    options: UnlockOptions,
    troubles: _Troubles,
) -> UnlockResult:
    while True:
        try:
            with console_session(endpoint, passphrase, reporter, options) as session:
                # Its file must not exist before, so it is written until the console is lost.
                options = replace(options, transcript=None)
                for result in session.results():
                    troubles.over()
                    if _is_final(result, reporter):
                        return result
        except (RefusedError, FailedError) as error:
            troubles.wait_out(error)


def _watch_ssh(
    endpoint: Endpoint,
    passphrase: Secret,
    reporter: Reporter,
    options: UnlockOptions,
    ask: Ask | None,
    troubles: _Troubles,
) -> UnlockResult:
    while True:
        try:
            result = unlock_over_ssh(
                endpoint, passphrase, timeout=options.timeout, reporter=reporter, ask=ask
            )
            if result.result is not Result.WRONG_PASSPHRASE:
                result.check()
            troubles.over()
            if _is_final(result, reporter):
                return result
            # As long as this connection lives, the board has not restarted.
            with Remote(endpoint) as board:
                board.wait_until_lost()
            reporter.note(f"{endpoint.name}: the connection has ended; waiting for the next boot")
        except UnreachableError as error:
            # It was waited for already.
            troubles.report(error)
        except FailedError as error:
            troubles.wait_out(error)


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
