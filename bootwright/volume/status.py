"""``inv status``: ask a board over SSH about its encrypted volume."""

from pathlib import Path

from bootwright.core.endpoints import Endpoint
from bootwright.core.io.ask import Ask
from bootwright.remote.io.connection import Remote, UnreachableError
from bootwright.volume.facts import VolumeFacts, VolumeLayout, volume_facts, volume_script
from bootwright.volume.status_result import StatusResult, status_of
from bootwright.volume.unlock_ssh_plan import layout_of

REPORT_S = 60.0
"""Seconds in which a board has to report; an emulated one takes 2."""


def status(
    endpoint: Endpoint,
    *,
    ask: Ask | None = None,
    directory: Path | None = None,
    wait: float | None = 0.0,
) -> StatusResult:
    """Return the state of a target's volume.

    Args:
        endpoint: the target.
        ask: how to ask about a host key that is not known; ``None`` without a terminal.
        directory: where known-hosts files are kept; ``build/ssh`` if ``None``.
        wait: seconds to wait for a board that does not answer yet; as usual if ``None``.

    Raises:
        InputError: the target has no address, or its key file cannot be used.
        RefusedError: the SSH server's host key is not the target's.
        FailedError: no SSH server answers, it refuses us, or the board's answer cannot be
            understood.
    """
    layout = layout_of(endpoint)
    try:
        with Remote(endpoint, ask=ask, directory=directory, wait=wait) as board:
            facts = collect(board, layout)
    except UnreachableError as error:
        raise UnreachableError(
            f"{error} If the board waits for its passphrase, its SSH server does not run yet:"
            f" inv unlock {endpoint.name}"
        ) from None
    return status_of(endpoint.name, facts, layout)


def collect(board: Remote, layout: VolumeLayout) -> VolumeFacts:
    """Return what the board reports of its volume.

    Raises:
        FailedError: the connection was lost, or the answer cannot be understood.
    """
    script = volume_script(layout)
    return volume_facts(board.report(script, title="reading the volume's state", timeout=REPORT_S))
