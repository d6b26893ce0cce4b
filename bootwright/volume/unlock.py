"""Unlocking a board's encrypted volume: ``inv unlock``, over serial or over SSH.

Here it is decided which of the two is used. What happens at a console is in
:mod:`bootwright.volume.unlock_session`, what happens over SSH in
:mod:`bootwright.volume.unlock_ssh`.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bootwright.console.boot import BootWatcher
from bootwright.console.io.console import open_console
from bootwright.console.io.pending_prompt import recall, remember
from bootwright.console.io.serial_port import check_port, check_url
from bootwright.console.io.transcript_file import TranscriptFile
from bootwright.console.tries import PendingPrompt, Tries
from bootwright.core.endpoints import Endpoint, UnlockMode
from bootwright.core.errors import FailedError, InputError, RefusedError
from bootwright.core.io.ask import Ask
from bootwright.core.passphrase import check_typeable
from bootwright.core.report import Reporter
from bootwright.core.secret import Secret
from bootwright.remote.io.wait import answers, note_coming_up
from bootwright.volume.choices import UnlockVia
from bootwright.volume.unlock_result import UnlockResult
from bootwright.volume.unlock_session import UnlockSession
from bootwright.volume.unlock_ssh import unlock_over_ssh

GREETING_S = 1.5
"""Seconds in which an SSH server has to send its greeting, else the serial line is used. A running
server sends it in milliseconds; the emulator accepts connections before its guest runs."""

Another = Callable[[str], Secret | None]
"""Asks the operator for another passphrase; its argument says why, and how many tries are left."""


@dataclass(frozen=True)
class UnlockOptions:
    """How to unlock.

    Attributes:
        via: ``auto`` uses SSH if an SSH server answers, else the serial line.
        timeout: seconds for all of it; with ``watch``, from the passphrase to the open volume.
        all_tries: also use the last try that the boot allows.
        transcript: a new file for what goes over the console.
        watch: unlock at every boot; end only when the passphrase is wrong.
        restarted_after: a restart was ordered when the console's log had so many bytes (see
            :func:`printed_so_far`), so what it shows up to the new boot's banner is of the boot
            before; ``None`` if none was ordered.
    """

    via: UnlockVia = "auto"
    timeout: float = 300.0
    all_tries: bool = False
    transcript: Path | None = None
    watch: bool = False
    restarted_after: int | None = None


def printed_so_far(endpoint: Endpoint) -> int:
    """Return the bytes of the console's log; 0 without one."""
    log = endpoint.console_history
    return log.stat().st_size if log is not None and log.exists() else 0


def options_of(
    *,
    via: UnlockVia,
    timeout: float,
    all_tries: bool,
    transcript: str | None,
    watch: bool,
    json: bool,
) -> UnlockOptions:
    """Return the options of the command line.

    Raises:
        InputError: they do not go together.
    """
    if watch and json:
        raise InputError(
            "--watch and --json: one JSON document is for one boot, and --watch has no end"
        )
    if transcript and via == "ssh":
        raise InputError("--transcript records the serial console, which --via ssh does not use")
    return UnlockOptions(
        via=via,
        timeout=timeout,
        all_tries=all_tries,
        transcript=Path(transcript) if transcript else None,
        watch=watch,
    )


def unlock(
    endpoint: Endpoint,
    passphrase: Secret,
    reporter: Reporter,
    options: UnlockOptions = UnlockOptions(),
    *,
    another: Another | None = None,
    ask: Ask | None = None,
) -> UnlockResult:
    """Open the board's encrypted volume, or find that it is open.

    Args:
        endpoint: the board.
        passphrase: typed at the prompt or sent over SSH, and nowhere else.
        reporter: gets a message about each step.
        options: how to unlock.
        another: asks for another passphrase when the first one is wrong, at a console.
        ask: asks about an SSH host key that is not known.

    Raises:
        InputError: the target has no address that can be used, or the passphrase cannot be typed.
        RefusedError: another program uses the console, or the SSH server's host key is not the
            target's.
        FailedError: the serial line cannot be opened, or SSH failed.
    """
    check_typeable(passphrase.reveal(), endpoint.name)
    via = chosen_via(endpoint, options)
    if via == "ssh":
        if options.transcript is not None:
            reporter.warn("unlocking over SSH, without the console: no transcript is written")
        try:
            result = unlock_over_ssh(
                endpoint, passphrase, timeout=options.timeout, reporter=reporter, ask=ask
            )
            return _noted(result)
        except FailedError as error:
            if options.via == "ssh" or not _asks_on_serial(endpoint):
                raise
            reporter.warn(str(error))
            reporter.note("trying the serial line instead")
    with console_session(endpoint, passphrase, reporter, options, another) as session:
        return _noted(session.run())


def _noted(result: UnlockResult) -> UnlockResult:
    """Have later commands wait longer for a board whose volume is open: it is still starting."""
    if result.ok:
        note_coming_up(result.target)
    return result


def check_reachable(endpoint: Endpoint, options: UnlockOptions) -> None:
    """Raise unless the target has what ``options`` need; called before the passphrase is asked for.

    Raises:
        InputError: names what is missing, and where to set it.
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
            ' (unlock = "ssh"); omit --via'
        )


def check_serial_port(endpoint: Endpoint, options: UnlockOptions, *, given: bool) -> None:
    """Raise if the serial port that will be used cannot be; before the passphrase is asked for.

    Args:
        endpoint: the board.
        options: how to unlock. With ``watch``, a port that is not there or in use is waited for.
        given: the operator has named the port, so it is checked even if SSH answers.

    Raises:
        InputError: there is no such port, or it is none.
        RefusedError: another program has it open.
        FailedError: we may not use it.
    """
    url = endpoint.serial_url
    if url is None or options.via == "ssh" or not (given or _asks_on_serial(endpoint)):
        return
    check_url(url)
    if options.watch:
        return
    try:
        check_port(url)
    except (InputError, RefusedError, FailedError):
        if given or chosen_via(endpoint, options) == "serial":
            raise


def _asks_on_serial(endpoint: Endpoint) -> bool:
    return endpoint.serial_url is not None and endpoint.unlock == "serial"


def chosen_via(endpoint: Endpoint, options: UnlockOptions) -> UnlockMode:
    """Return how the board is to be reached now.

    Raises:
        InputError: it cannot be; names what is missing.
    """
    check_reachable(endpoint, options)
    if options.via != "auto":
        return options.via
    if not _asks_on_serial(endpoint):
        if endpoint.ssh is None:
            raise InputError(
                f"the card of {endpoint.name!r} does not ask for the passphrase at boot"
                ' (unlock = "ssh"), and bootwright.toml has no host for it'
            )
        return "ssh"
    if options.watch:
        # The boot waits at its prompt, and the SSH server starts only after that.
        return "serial"
    return "ssh" if endpoint.ssh and answers(endpoint.ssh, within=GREETING_S) else "serial"


def _pending_prompt(endpoint: Endpoint, options: UnlockOptions) -> PendingPrompt | None:
    """Return the question that an earlier run left open, if nothing else tells which one is."""
    if endpoint.console_history is not None or options.restarted_after is not None:
        return None
    return recall(endpoint.name)


@contextlib.contextmanager
def console_session(
    endpoint: Endpoint,
    passphrase: Secret,
    reporter: Reporter,
    options: UnlockOptions,
    another: Another | None = None,
) -> Iterator[UnlockSession]:
    """Open the board's console and its transcript for a session there; see :func:`unlock`."""
    who = "inv unlock --watch" if options.watch else "inv unlock"
    with contextlib.ExitStack() as stack:
        console = stack.enter_context(
            open_console(endpoint, who, reporter, wait_for_port=options.watch)
        )
        recorder = None
        if options.transcript is not None:
            title = f"{endpoint.name}: {who}"
            recorder = stack.enter_context(
                TranscriptFile(options.transcript, title, warn=reporter.warn)
            )
        session = UnlockSession(
            target=endpoint.name,
            watcher=BootWatcher(endpoint.volume, endpoint.mount),
            console=console,
            passphrase=passphrase,
            timeout=options.timeout,
            reporter=reporter,
            recorder=recorder,
            tries=Tries(endpoint.tries, options.all_tries),
            another=another,
            endless=options.watch,
            pending_prompt=_pending_prompt(endpoint, options),
            restarted_after=options.restarted_after,
        )
        try:
            yield session
        finally:
            remember(endpoint.name, session.waiting)
