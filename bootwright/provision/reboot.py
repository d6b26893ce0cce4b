"""Restarting a board, and unlocking it again by the target's own way."""

import shlex
import time

from bootwright.core.board_names import STATE
from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import FailedError, InputError
from bootwright.core.io.ask import Ask
from bootwright.core.passphrase import check_typeable
from bootwright.core.report import Reporter
from bootwright.core.secret import Secret
from bootwright.provision.facts_script import REBOOTED_FOR
from bootwright.remote.io.connection import UnreachableError
from bootwright.remote.job import Reconnector
from bootwright.remote.sections import PRELUDE
from bootwright.volume.status import collect
from bootwright.volume.unlock import UnlockOptions, check_reachable, unlock
from bootwright.volume.unlock_result import Result, Via
from bootwright.volume.unlock_ssh_plan import WRONG_PASSPHRASE, place_of

LOOK_AGAIN_S = 20.0
"""Seconds to wait for a board that may still be going down, before its console is read again."""

REBOOT_S = 600.0
"""Seconds for a board to go down, come up and be reachable again."""


def restart_board(
    link: Reconnector,
    endpoint: Endpoint,
    passphrase: Secret,
    kernel: str,
    reporter: Reporter,
    ask: Ask | None,
) -> None:
    """Restart the board, unlock it, and connect again.

    Args:
        link: the board; connected, and connected again afterwards.
        endpoint: how it is reached, and how its volume is opened.
        passphrase: of its volume.
        kernel: what it is restarted for; kept on the board.
        reporter: where to tell what is done.
        ask: about a host key that is not known.

    Raises:
        InputError: there is no way to unlock it again, or the passphrase is wrong; it was not
            restarted.
        FailedError: it did not come back, or its volume could not be opened.
        RefusedError: its host key is another one.
    """
    via: Via = "serial" if endpoint.unlock == "serial" else "ssh"
    options = UnlockOptions(via=via, timeout=REBOOT_S)
    check_reachable(endpoint, options)
    check_typeable(passphrase.reveal(), endpoint.name)
    with reporter.step("Try the passphrase, while the board is still up"):
        _try_passphrase(link, endpoint, passphrase)
    script = (
        f"mkdir -p {STATE} && printf '%s\\n' {shlex.quote(kernel)} >{REBOOTED_FOR} && sync &&"
        # A moment later, so that this connection learns that it was begun.
        " systemd-run --quiet --on-active=1 systemctl reboot"
    )
    with reporter.step(f"Restart {endpoint.name}"):
        done = link.board.run(PRELUDE + script, title="restarting", sudo=True, timeout=REBOOT_S)
        if done.returncode != 0 or not link.board.wait_until_lost(REBOOT_S):
            said = f": {done.stderr_text}" if done.stderr_text else ""
            raise FailedError(f"{link.board.where}: it does not go down{said}; look at its console")
        link.close()
    end = time.monotonic() + REBOOT_S
    while True:
        result = unlock(endpoint, passphrase, reporter, options, ask=ask)
        result.check()
        # What a console showed before the board went down says that it is open: then the new boot
        # is still to come, and its prompt.
        stale = result.result is Result.ALREADY_UNLOCKED
        try:
            with reporter.step(f"Reach {endpoint.name} again"):
                return link.again(LOOK_AGAIN_S if stale else REBOOT_S)
        except UnreachableError:
            if not stale or time.monotonic() > end:
                raise


def _try_passphrase(link: Reconnector, endpoint: Endpoint, passphrase: Secret) -> None:
    facts = collect(link.board, place_of(endpoint))
    if facts.device is None:
        raise FailedError(f"{link.board.where}: it has no encrypted volume in /etc/crypttab")
    script = (
        "exec cryptsetup open --test-passphrase --type luks2 --key-file=- --"
        f" {shlex.quote(facts.device)}"
    )
    done = link.board.run(
        PRELUDE + script, title="trying the passphrase", stdin=passphrase, sudo=True, timeout=300
    )
    if done.returncode == WRONG_PASSPHRASE:
        raise InputError(
            f"{link.board.where}: the passphrase opens no key slot of its volume; the board was not"
            " restarted"
        )
    if done.returncode != 0:
        raise FailedError(
            f"{link.board.where}: the passphrase could not be tried ({done.stderr_text}); the board"
            " was not restarted"
        )
