"""``inv audit`` for one or several targets: each board asked once, and evaluated here."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from bootwright.audit.benchmark import View, load_checks, load_view
from bootwright.audit.checks.evaluate import evaluate
from bootwright.audit.facts import AuditFacts, parse_audit_host
from bootwright.audit.facts_script import audit_script
from bootwright.audit.model import Check, Subject, Waiver
from bootwright.audit.report.view import viewed
from bootwright.audit.result import AuditResult, host_of
from bootwright.audit.waivers import WAIVERS_NAME, load_waivers
from bootwright.core import paths
from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import BootwrightError, FailedError
from bootwright.core.io.ask import Ask, terminal
from bootwright.core.io.secret_input import read_sudo_password
from bootwright.core.parsing import PARSE_ERRORS
from bootwright.core.report import Reporter, TextReporter
from bootwright.core.secret import Secret
from bootwright.core.text import sanitize_line
from bootwright.hosts import resolve
from bootwright.hosts.fleet import Fleet
from bootwright.hosts.profile import Profile, load_profile
from bootwright.remote.io.connection import Remote
from bootwright.remote.sudo import SudoPasswordError

LOOK_S = 300.0
"""Seconds for a board to report; an emulated one takes 5.

The script waits 90 s for one that starts, and then three times for a docker that hangs.
"""

PARALLEL = 16
"""Boards at a time: each is asked one thing, and evaluating takes milliseconds."""


@dataclass(frozen=True)
class AuditRequest:
    """What the command line asks for.

    Attributes:
        names: targets.
        group: or all targets of this group.
        identity: private key file, instead of the targets'.
        sudo_password_file: with the password that sudo asks for.
        wait: seconds to wait for a board that does not answer yet.
        parallel: boards at a time.
        benchmark: whose numbering is shown; ``None`` for docker-bench-security's.
        waivers: the file; the checkout's if ``None``.
        directory: where known-hosts files are kept; ``build/ssh`` if ``None``.
    """

    names: Sequence[str]
    group: str | None = None
    identity: str | None = None
    sudo_password_file: str | None = None
    wait: float = 0.0
    parallel: int = PARALLEL
    benchmark: str | None = None
    waivers: str | None = None
    directory: Path | None = None


@dataclass(frozen=True)
class Rules:
    """What boards are evaluated by: checks, profile, waivers, and the numbering that is shown."""

    checks: tuple[Check, ...]
    profile: Profile
    waivers: tuple[Waiver, ...]
    view: View | None

    def shown(self, result: AuditResult) -> AuditResult:
        """Return a result in the numbering that was asked for."""
        return result if self.view is None else viewed(result, self.view)


@dataclass(frozen=True)
class _Board:
    endpoint: Endpoint
    trusted_user: str | None


def audit_targets(request: AuditRequest) -> list[AuditResult]:
    """Audit every target; a board that could not be audited is a result with its error.

    Raises:
        InputError: no such target, group or benchmark, or waivers that cannot be used; no board
            was asked then.
    """
    rules = load_rules(request.benchmark, request.waivers)
    boards = {
        name: _Board(
            resolve.endpoint_of(name, request.identity), resolve.target_of(name).docker.trusted_user
        )
        for name in resolve.targets_named(request.names, request.group)
    }
    for board in boards.values():
        board.endpoint.ssh_server()  # all have an address, or no board is asked
    password = None
    if request.sudo_password_file is not None:
        password = read_sudo_password(request.sudo_password_file, "the user")
    if len(boards) == 1:
        (board,) = boards.values()
        return [_alone(board, rules, request, password)]

    def work(name: str, reporter: Reporter) -> AuditResult:
        return _guarded(boards[name], rules, request, password, None, reporter)

    done = Fleet(list(boards), work, _line, request.parallel).run()
    return [
        result
        if isinstance(result, AuditResult)
        else rules.shown(AuditResult(name, _today(), error=result))
        for name, result in done.items()
    ]


def load_rules(benchmark: str | None = None, waivers: str | None = None) -> Rules:
    """Return what boards are evaluated by, from the checkout.

    Raises:
        InputError: no such benchmark, or a file that cannot be used.
    """
    root = paths.checkout()
    checks = load_checks(root / "checks" / "cis-docker")
    path = Path(waivers).expanduser() if waivers else root / WAIVERS_NAME
    known = [check.id for check in checks]
    return Rules(
        checks=checks,
        profile=load_profile(root / "profiles"),
        waivers=load_waivers(path, known) if waivers or path.exists() else (),
        view=load_view(root / "checks" / "cis-docker", benchmark) if benchmark else None,
    )


def questions(profile: Profile) -> list[str]:
    """Return the paths, shell patterns among them, whose owner and mode an audit has to know."""
    paths = [path for watch in profile.audit.watch for path in watch.paths]
    paths += [path for file in profile.files.file for path in file.paths]
    return list(dict.fromkeys(paths))


def collect(board: Remote, profile: Profile) -> AuditFacts:
    """Return what a board reports, in one round trip.

    Raises:
        FailedError: the connection was lost, or the answer cannot be understood.
    """
    script = audit_script(questions(profile))
    done = board.run(script, title="looking at the board", sudo=True, timeout=LOOK_S)
    try:
        return parse_audit_host(done.text)
    except FailedError as error:
        raise FailedError(f"{board.where}: {error}") from None


def evaluate_board(
    facts: AuditFacts,
    rules: Rules,
    target: str,
    trusted_user: str | None,
    *,
    day: date,
    seconds: float = 0.0,
) -> AuditResult:
    """Return a board's result, in the numbering that was asked for."""
    subject = Subject(facts, rules.profile, trusted_user)
    checked, findings = evaluate(subject, rules.checks, rules.waivers, target)
    return rules.shown(
        AuditResult(
            target,
            day,
            host=host_of(facts),
            checks=checked,
            findings=findings,
            seconds=seconds,
        )
    )


def _alone(
    board: _Board, rules: Rules, request: AuditRequest, password: Secret | None
) -> AuditResult:
    """Audit the only board; the operator may be asked."""
    reporter = TextReporter()
    result = _guarded(board, rules, request, password, terminal(), reporter)
    ssh = board.endpoint.ssh
    if isinstance(result.error, SudoPasswordError) and password is None and terminal() and ssh:
        password = read_sudo_password(None, f"{ssh.user} on {board.endpoint.name}")
        result = _guarded(board, rules, request, password, terminal(), reporter)
    return result


def _guarded(
    board: _Board,
    rules: Rules,
    request: AuditRequest,
    password: Secret | None,
    ask: Ask | None,
    reporter: Reporter,
) -> AuditResult:
    """Audit a board; an error is a result as well."""
    begin = time.monotonic()
    name = board.endpoint.name
    failed: BootwrightError
    try:
        remote = Remote(
            board.endpoint,
            ask=ask,
            directory=request.directory,
            wait=request.wait,
            sudo_password=password,
        )
        with remote.step(reporter, f"Look at {name}"), remote:
            facts = collect(remote, rules.profile)
        took = time.monotonic() - begin
        return evaluate_board(facts, rules, name, board.trusted_user, day=_today(), seconds=took)
    except BootwrightError as error:
        failed = error
    except PARSE_ERRORS as error:
        # A board may answer with what no judge has thought of; it is not to end the others.
        text = sanitize_line(str(error))[:200]
        failed = FailedError(f"{name}: the board's answer cannot be evaluated: {text}")
    return rules.shown(AuditResult(name, _today(), seconds=time.monotonic() - begin, error=failed))


def _line(result: AuditResult) -> tuple[str, bool]:
    """Return the message about a board as soon as it is evaluated, and whether that is good."""
    if result.error is not None:
        return str(result.error), False
    total = result.summary.total
    warns = total.counts["warn"]
    return f"{warns} warn, score {total.score} of {total.max_score}", True


def _today() -> date:
    return datetime.now(UTC).date()
