"""Carrying a change out on a board, proving it over a new connection, and confirming it."""

from collections.abc import Callable
from dataclasses import dataclass

from bootwright.core.errors import BootwrightError, FailedError
from bootwright.core.report import Reporter
from bootwright.provision.facts import HostFacts
from bootwright.provision.transaction import (
    Applied,
    Transaction,
    applied,
    confirm_script,
    put_back_script,
)
from bootwright.remote.job import Reconnector
from bootwright.remote.job_script import JobState
from bootwright.remote.sections import parse_sections

PUT_BACK_S = 900.0
"""Seconds to put everything back: the daemon twice, a container, on a slow board."""

CONFIRM_S = 120.0
"""Seconds to confirm; it takes a moment, but for what the card has to write."""


@dataclass(frozen=True)
class ApplyResult:
    """How it ended.

    Attributes:
        facts: the board's after it; ``None`` if it failed.
        error: why it failed.
        rolled_back: everything was put back, or it was tried.
        client: version of the docker command.
        server: version of the engine.
    """

    facts: HostFacts | None = None
    error: FailedError | None = None
    rolled_back: bool = False
    client: str = ""
    server: str = ""


def apply(
    link: Reconnector,
    change: Transaction,
    run: Callable[[], JobState],
    look: Callable[[], tuple[HostFacts, str]],
    reporter: Reporter,
) -> ApplyResult:
    """Carry a change out; it stays only if nothing is left to do afterwards.

    Args:
        link: the board.
        change: what is carried out.
        run: runs the job that does it, to its end.
        look: returns the board's facts, and what is still to be done by them.
        reporter: where to tell what is done.

    Raises:
        FailedError: the board cannot be reached; it puts everything back by itself then.
    """
    where = link.board.where
    with reporter.step("Change it all, run a container, be ready to put it back"):
        ended = applied(run().sections)
        if ended.broken_off:
            # Killed, say: it may have armed and begun.
            ended = _put_back(link, change, ended)
    if not ended.ok:
        said = "\n  ".join(line for line in ended.message.splitlines() if line.strip())
        error = f"{where}: step {ended.failed} failed. {_outcome(ended)}. The board says:\n  {said}"
        return ApplyResult(error=FailedError(error), rolled_back=ended.restored is not None)
    with reporter.step("Prove it over a new connection, and confirm"):
        try:
            link.again(float(change.confirm_s))
            facts, left = look()
        except BootwrightError as error:
            raise FailedError(
                f"{error}\nThe change is in place and not confirmed: the board takes it back"
                f" {change.confirm_s} s after it began. Run it again to have that done at once"
            ) from None
        if left:
            back = _put_back(link, change, ended)
            why = FailedError(f"{where}: this did not take: {left}. {_outcome(back)}")
            return ApplyResult(error=why, rolled_back=True)
        done = link.board.run(
            confirm_script(change.id), title="confirming", sudo=True, timeout=CONFIRM_S
        )
    if not any(section.name == "confirmed" for section in parse_sections(done.text)):
        why = FailedError(
            f"{where}: the confirmation came too late; the board has put everything back"
        )
        return ApplyResult(error=why, rolled_back=True)
    return ApplyResult(facts, client=ended.client, server=ended.server)


def put_back_what_is_left(link: Reconnector, reporter: Reporter) -> None:
    """Put back what an interrupted run had changed.

    Raises:
        FailedError: it is still at work, or putting back met trouble.
    """
    reporter.warn("a change was begun here and never confirmed: putting it back")
    with reporter.step("Put back what an interrupted run had changed"):
        done = link.board.run(
            put_back_script(), title="putting back", sudo=True, timeout=PUT_BACK_S
        )
    sections = parse_sections(done.text)
    if any(section.name == "busy" for section in sections):
        raise FailedError(
            f"{link.board.where}: another inv provision is at work on this board; wait for its end"
        )
    ended = applied(sections)
    if ended.restored is False:
        raise FailedError(f"{link.board.where}: {_outcome(ended)}")


def _put_back(link: Reconnector, change: Transaction, ended: Applied) -> Applied:
    done = link.board.run(
        put_back_script(change.id), title="putting back", sudo=True, timeout=PUT_BACK_S
    )
    back = applied(parse_sections(done.text))
    return Applied(ended.failed, ended.message, back.restored, back.trouble, ended.steps, "", "")


def _outcome(ended: Applied) -> str:
    if ended.restored is None:
        return "Nothing was changed"
    if ended.restored:
        return "Everything was put back, and works as before"
    return (
        "Putting it back met trouble; what was there before is in"
        f" /var/lib/bootwright/transaction.failed on the board: {ended.trouble}"
    )
