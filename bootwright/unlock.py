"""Unlocking a board's encrypted volume: ``inv unlock``, over serial or over SSH.

Here is the order of things. The rules at a console are in
:class:`~bootwright.unlock_session.UnlockSession`, those over SSH in
:mod:`bootwright.unlock_ssh`.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bootwright.console.boot import BootWatcher
from bootwright.console.tries import Tries
from bootwright.effects.console import open_console
from bootwright.effects.sshwait import answers
from bootwright.effects.transcript_file import TranscriptFile
from bootwright.endpoints import Endpoint
from bootwright.errors import FailedError, InputError
from bootwright.passphrase import check_typeable
from bootwright.report import Reporter
from bootwright.secret import Secret
from bootwright.unlock_result import Result, UnlockResult, Via
from bootwright.unlock_session import UnlockSession

GREETING_S = 1.5
"""Seconds that an SSH server gets to greet before the serial line is used. One that is up
greets in milliseconds; the emulator accepts a connection before its guest runs."""

Another = Callable[[str], Secret | None]
"""Asks for another passphrase after a wrong one; is told how many tries are left."""


@dataclass(frozen=True)
class UnlockOptions:
    """How to unlock.

    Attributes:
        via: ``auto`` takes SSH when it answers, else the serial line.
        timeout: seconds for the whole.
        all_tries: use even the last try that the boot allows.
        transcript: a new file for what goes over the console.
    """

    via: Literal["auto", "serial", "ssh"] = "auto"
    timeout: float = 300.0
    all_tries: bool = False
    transcript: Path | None = None


def unlock(
    endpoint: Endpoint,
    passphrase: Secret,
    reporter: Reporter,
    options: UnlockOptions = UnlockOptions(),
    another: Another | None = None,
) -> UnlockResult:
    """Open the board's encrypted volume, or find it open.

    Args:
        endpoint: the board.
        passphrase: typed at the prompt or piped over SSH, and nowhere else.
        reporter: where to tell what is done.
        options: how.
        another: asks for another passphrase when the first one is wrong.

    Raises:
        InputError: the target has no way to be reached, or the passphrase cannot be typed.
        RefusedError: another program uses the console, or the SSH server is another one.
        FailedError: the serial line cannot be opened, or SSH failed.
    """
    check_typeable(passphrase.reveal(), endpoint.name)
    via = _chosen(endpoint, options)
    if via == "ssh":
        from bootwright.unlock_ssh import unlock_over_ssh

        try:
            return unlock_over_ssh(endpoint, passphrase, timeout=options.timeout, reporter=reporter)
        except FailedError as error:
            if options.via == "ssh" or not _asks_on_serial(endpoint):
                raise
            reporter.warn(f"{error}; going on with the serial line")
    with _session(endpoint, passphrase, reporter, options, another) as session:
        return session.run()


def watch(
    endpoint: Endpoint, passphrase: Secret, reporter: Reporter, options: UnlockOptions
) -> UnlockResult:
    """Unlock the board at its console at every boot; return only when the passphrase is wrong.

    ``options.timeout`` is for what follows an answer. Raises as :func:`unlock` does.
    """
    check_typeable(passphrase.reveal(), endpoint.name)
    with _session(endpoint, passphrase, reporter, options, patient=True) as session:
        for result in session.results():
            if result.ok:
                reporter.note(f"{endpoint.name}: {result.result.value}; waiting for the next boot")
            elif result.result is not Result.WRONG_PASSPHRASE:
                reporter.warn(f"{endpoint.name}: {result.result.value}: {result.detail}")
            else:
                return result
    raise AssertionError("a console has no last boot")


def check_reachable(endpoint: Endpoint, options: UnlockOptions) -> None:
    """Raise unless the target names what ``options`` need; before a passphrase is asked for.

    Raises:
        InputError: says what is missing, and where to set it.
    """
    serial = "serial_port (or --port, such as /dev/ttyUSB0)"
    missing = {
        "serial": None if endpoint.serial_url else f"serial port: set {serial}",
        "ssh": None if endpoint.ssh else "address: set host (and port, user)",
        "auto": None
        if endpoint.ssh or endpoint.serial_url
        else f"address and no serial port: set host, or {serial}",
    }[options.via]
    if missing:
        raise InputError(f"target {endpoint.name!r} has no {missing} in bootwright.toml")
    if options.via == "serial" and endpoint.unlock == "ssh":
        raise InputError(
            f"the card of {endpoint.name!r} does not ask for the passphrase at boot"
            ' (unlock = "ssh"); leave --via away'
        )


def _asks_on_serial(endpoint: Endpoint) -> bool:
    return endpoint.serial_url is not None and endpoint.unlock == "serial"


def _chosen(endpoint: Endpoint, options: UnlockOptions) -> Via:
    check_reachable(endpoint, options)
    if options.via != "auto":
        return options.via
    if not _asks_on_serial(endpoint):
        if endpoint.ssh is None:
            raise InputError(
                f"the card of {endpoint.name!r} does not ask for the passphrase at boot"
                ' (unlock = "ssh"), and there is no host for it in bootwright.toml'
            )
        return "ssh"
    return "ssh" if endpoint.ssh and answers(endpoint.ssh, within=GREETING_S) else "serial"


@contextlib.contextmanager
def _session(
    endpoint: Endpoint,
    passphrase: Secret,
    reporter: Reporter,
    options: UnlockOptions,
    another: Another | None = None,
    *,
    patient: bool = False,
) -> Iterator[UnlockSession]:
    who = "inv unlock --watch" if patient else "inv unlock"
    with contextlib.ExitStack() as stack:
        console = stack.enter_context(open_console(endpoint, who, reporter))
        recorder = None
        if options.transcript is not None:
            title = f"{endpoint.name}: {who}"
            recorder = stack.enter_context(TranscriptFile(options.transcript, title))
        yield UnlockSession(
            target=endpoint.name,
            watcher=BootWatcher(endpoint.volume, endpoint.mount),
            console=console,
            passphrase=passphrase,
            timeout=options.timeout,
            reporter=reporter,
            recorder=recorder,
            tries=Tries(endpoint.tries, options.all_tries),
            another=another,
            patient=patient,
        )
