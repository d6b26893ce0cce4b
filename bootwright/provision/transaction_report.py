"""What the scripts of a transaction report: how far it came, and whether it was put back."""

from collections.abc import Iterable
from dataclasses import dataclass

from bootwright.remote.sections import Section


@dataclass(frozen=True)
class TransactionReport:
    """How applying a change ended on the board, or putting one back.

    Attributes:
        complete: every step was done and proven; the change waits to be confirmed.
        failed_step: the step that failed; empty if none did.
        message: what its command wrote.
        restored: everything was put back without an error; ``False``: with errors; ``None``: the
            board did not put anything back.
        proven: a container was run by the daemon as it was before, and the others run.
        restore_errors: what the commands wrote that could not put something back.
        steps: those that were begun, in order.
        client: version of the docker command.
        server: version of the engine.
    """

    complete: bool
    failed_step: str = ""
    message: str = ""
    restored: bool | None = None
    proven: bool = False
    restore_errors: str = ""
    steps: tuple[str, ...] = ()
    client: str = ""
    server: str = ""

    @property
    def interrupted(self) -> bool:
        """Whether the job was killed: it may have changed files, and did not put them back."""
        return not self.complete and not self.failed_step and self.restored is None


def parse_report(sections: Iterable[Section]) -> TransactionReport:
    """Return what the scripts ``apply`` and ``restore`` wrote as sections."""
    failed, message, errors, steps = "", "", [], []
    restored: bool | None = None
    client = server = ""
    complete = proven = False
    for section in sections:
        if section.name == "step":
            steps.append(section.line(0))
        elif section.name == "failed":
            failed, message = section.line(0), "\n".join(section.lines[1:]).strip()
        elif section.name == "trouble":
            errors.append(section.text.strip())
        elif section.name == "restored":
            restored = section.line(0) == "well"
        elif section.name == "proved":
            proven = True
        elif section.name == "versions":
            client, server = section.line(0), section.line(1)
        elif section.name == "applied":
            complete = True
    return TransactionReport(
        complete=complete,
        failed_step=failed,
        message=message,
        restored=restored,
        proven=proven,
        restore_errors="\n".join(errors),
        steps=tuple(steps),
        client=client,
        server=server,
    )
