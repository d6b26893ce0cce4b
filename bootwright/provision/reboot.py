"""Restarting a board, and unlocking its volume again as the target says: serial or SSH."""

import time
from dataclasses import replace

from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import FailedError, InputError
from bootwright.core.io.ask import Ask
from bootwright.core.passphrase import check_typeable
from bootwright.core.report import Reporter
from bootwright.core.secret import Secret
from bootwright.core.shell import render
from bootwright.provision.facts_script import REBOOTED_FOR
from bootwright.remote.io.connection import UnreachableError
from bootwright.remote.job import Reconnector
from bootwright.remote.sections import SECTIONS
from bootwright.volume.status import collect
from bootwright.volume.unlock import UnlockOptions, check_reachable, printed_so_far, unlock
from bootwright.volume.unlock_result import Result
from bootwright.volume.unlock_ssh_plan import WRONG_PASSPHRASE, layout_of, try_passphrase_script

READ_AGAIN_S = 20.0
"""Seconds to wait for a board that may still shut down, before its console is read again."""

REBOOT_S = 600.0
"""Seconds for a board to go down, come up and be reachable again."""


def restart_board(
    reconnector: Reconnector,
    endpoint: Endpoint,
    passphrase: Secret,
    kernel: str,
    reporter: Reporter,
    ask: Ask | None,
) -> None:
    """Restart the board, unlock it, and connect again.

    Args:
        reconnector: the connection to the board; connected anew afterwards.
        endpoint: how the board is reached, and how its volume is unlocked.
        passphrase: of its volume.
        kernel: the kernel that it is restarted for; kept on the board, so that one that never
            boots is not tried again and again.
        reporter: shows the progress.
        ask: how to ask about a host key that is not known; ``None`` without a terminal.

    Raises:
        InputError: the target does not say how to unlock it again, or the passphrase is wrong;
            the board was not restarted.
        FailedError: it did not come back, or its volume could not be unlocked.
        RefusedError: its host key is another one.
    """
    via = endpoint.unlock
    options = UnlockOptions(via=via, timeout=REBOOT_S)
    check_reachable(endpoint, options)
    # What the console shows from before the restart says nothing of the boot after it.
    options = replace(options, restarted_after=printed_so_far(endpoint))
    check_typeable(passphrase.reveal(), endpoint.name)
    with reporter.step("Try the passphrase, while the board is still up"):
        _try_passphrase(reconnector, endpoint, passphrase)
    with reporter.step(f"Restart {endpoint.name}"):
        done = reconnector.board.run(
            reboot_script(kernel), title="restarting", sudo=True, timeout=REBOOT_S
        )
        if done.returncode != 0 or not reconnector.board.wait_until_lost(REBOOT_S):
            where = reconnector.board.where
            raise FailedError(done.failure(f"{where}: it does not shut down; look at its console"))
        reconnector.close()
    end = time.monotonic() + REBOOT_S
    while True:
        result = unlock(endpoint, passphrase, reporter, options, ask=ask)
        result.check()
        # After a silence, the console may have shown the last lines of the boot before. The prompt
        # of the new boot comes later then, and the console has to be read again.
        stale = result.result is Result.ALREADY_UNLOCKED
        try:
            with reporter.step(f"Reach {endpoint.name} again"):
                return reconnector.again(READ_AGAIN_S if stale else REBOOT_S)
        except UnreachableError:
            if not stale or time.monotonic() > end:
                raise


def reboot_script(kernel: str) -> str:
    """Return the script that records ``kernel`` as what it restarts for, and restarts the board."""
    return render(SECTIONS, "provision/shell/reboot.sh", rebooted_file=REBOOTED_FOR, kernel=kernel)


def _try_passphrase(reconnector: Reconnector, endpoint: Endpoint, passphrase: Secret) -> None:
    facts = collect(reconnector.board, layout_of(endpoint))
    if facts.device is None:
        raise FailedError(f"{reconnector.board.where}: it has no encrypted volume in /etc/crypttab")
    done = reconnector.board.run(
        try_passphrase_script(facts.device),
        title="trying the passphrase",
        stdin=passphrase,
        sudo=True,
        timeout=300,
    )
    if done.returncode == WRONG_PASSPHRASE:
        raise InputError(
            f"{reconnector.board.where}: the passphrase opens no key slot of its volume; the board"
            " was not restarted"
        )
    if done.returncode != 0:
        raise FailedError(
            done.failure(
                f"{reconnector.board.where}: the passphrase could not be tried; the board was not"
                " restarted"
            )
        )
