"""Applying a change to a board, proving it over a new connection, and confirming it."""

from collections.abc import Callable
from dataclasses import dataclass

from bootwright.core.errors import BootwrightError, FailedError
from bootwright.core.report import Reporter
from bootwright.provision.facts import HostFacts
from bootwright.provision.facts_script import TRANSACTION
from bootwright.provision.transaction import Transaction, confirm_script, put_back_script
from bootwright.provision.transaction_report import TransactionReport, parse_report
from bootwright.remote.job import Reconnector
from bootwright.remote.job_script import JobState

PUT_BACK_S = 900.0
"""Seconds to put everything back: two starts of the daemon and of a container, on a slow board."""

_GONE = (
    "The change is not there any more, and the board does not report whether everything was put"
    " back. Run it again, which plans from what is there"
)
"""What holds if another program or a further restart has put the change back."""

CONFIRM_S = 120.0
"""Seconds to confirm; it takes a moment, except for what the card has to write."""


@dataclass(frozen=True)
class ApplyResult:
    """How applying a change ended.

    Attributes:
        facts: the board's facts after it; ``None`` if the change does not stay.
        error: why it does not stay.
        rolled_back: the board put back what was there, or tried to.
        client: version of the docker command.
        server: version of the engine.
    """

    facts: HostFacts | None = None
    error: FailedError | None = None
    rolled_back: bool = False
    client: str = ""
    server: str = ""


def apply(
    reconnector: Reconnector,
    change: Transaction,
    run_apply_job: Callable[[], JobState],
    collect: Callable[[], tuple[HostFacts, str]],
    reporter: Reporter,
) -> ApplyResult:
    """Apply a change to a board; it stays only if nothing is left to do afterwards.

    Args:
        reconnector: the connection to the board.
        change: what is applied.
        run_apply_job: runs the job that applies it, to its end.
        collect: returns the board's facts, and what is still left to do according to them.
        reporter: shows the progress.

    Raises:
        FailedError: the board cannot be reached; it puts everything back by itself then.
    """
    where = reconnector.board.where
    with reporter.step("Apply the change, and run a container as a test"):
        report = parse_report(run_apply_job().sections)
        # A killed job has put nothing back itself.
        back = _put_back(reconnector, change) if report.interrupted else report
    if not report.complete:
        error = _error(where, _failure(report), back, "Nothing was changed", report.message)
        return ApplyResult(error=error, rolled_back=back.restored is not None)
    with reporter.step("Prove it over a new connection, and confirm"):
        try:
            reconnector.again(float(change.confirm_s))
            facts, left = collect()
        except BootwrightError as cause:
            raise FailedError(
                f"{cause}\nThe change is in place and not confirmed: the board takes it back"
                f" {change.confirm_s} s after it began. Run it again to have that done at once"
            ) from None
        if left:
            back = _put_back(reconnector, change)
            error = _error(where, f"this did not take effect: {left}", back, _GONE)
            return ApplyResult(error=error, rolled_back=True)
        sections = reconnector.board.report(
            confirm_script(change.id), title="confirming", timeout=CONFIRM_S
        )
    if not any(section.name == "confirmed" for section in sections):
        late = f"the confirmation came too late, after {change.confirm_s} s"
        error = _error(where, late, parse_report(sections), _GONE)
        return ApplyResult(error=error, rolled_back=True)
    return ApplyResult(facts, client=report.client, server=report.server)


def put_back_unfinished(reconnector: Reconnector, reporter: Reporter) -> None:
    """Put back what an interrupted run had changed.

    Raises:
        FailedError: that run still goes on, or something could not be put back.
    """
    reporter.warn("a change was begun here and never confirmed: putting it back")
    with reporter.step("Put back what an interrupted run had changed"):
        sections = reconnector.board.report(
            put_back_script(), title="putting back", timeout=PUT_BACK_S
        )
    where = reconnector.board.where
    if any(section.name == "busy" for section in sections):
        raise FailedError(f"{where}: another inv provision runs on this board; wait for its end")
    back = parse_report(sections)
    if back.restored is False:
        raise _error(where, "a change of an interrupted run was there", back, "")


def _put_back(reconnector: Reconnector, change: Transaction) -> TransactionReport:
    return parse_report(
        reconnector.board.report(
            put_back_script(change.id), title="putting back", timeout=PUT_BACK_S
        )
    )


def _failure(report: TransactionReport) -> str:
    if report.failed_step:
        return f"step {report.failed_step} failed"
    last = f"in step {report.steps[-1]}" if report.steps else "before its first step"
    return f"the job was killed {last}"


def _error(
    where: str, what: str, back: TransactionReport, not_armed: str, message: str = ""
) -> FailedError:
    """Return the error that says what happened, and what holds on the board now.

    Args:
        where: the board.
        what: happened.
        back: what the board reported of putting back.
        not_armed: what holds if there was nothing to put back any more.
        message: what a command on the board wrote.
    """
    if back.restored is None:
        outcome = not_armed
    elif back.restored and back.proven:
        outcome = "Everything was put back, and works as before"
    elif back.restored:
        outcome = "Everything was put back"
    else:
        outcome = (
            "Not everything could be put back; the former files are in"
            f" {TRANSACTION}.failed on the board"
        )
    text = f"{where}: {what}. {outcome}."
    for title, output in (
        (" The board says:", message),
        ("\nErrors while putting back:", back.restore_errors),
    ):
        lines = [line for line in output.splitlines() if line.strip()]
        text += "\n  ".join([title, *lines]) if lines else ""
    return FailedError(text)
