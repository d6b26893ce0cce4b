"""``inv audit`` for one or several targets: each board reports once, and is evaluated here."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from bootwright.audit.benchmark import View, load_checks, load_view
from bootwright.audit.checks.evaluate import evaluate
from bootwright.audit.facts import AuditFacts, audit_facts
from bootwright.audit.facts_script import audit_script
from bootwright.audit.model import BenchmarkCheck, Subject, Waiver
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
from bootwright.core.secret import Secret, mask
from bootwright.core.text import sanitize_line
from bootwright.hosts import resolve
from bootwright.hosts.fleet import Fleet
from bootwright.hosts.profile import Profile, load_profile
from bootwright.remote.io.connection import Remote
from bootwright.remote.sudo import SudoPasswordError

COLLECT_S = 300.0
"""Seconds within which a board has to report its facts; an emulated board takes 5.

The script waits up to 90 s for a board that is starting, then for up to three hanging docker calls.
"""

PARALLEL = 16
"""How many boards are audited at the same time; evaluating one takes milliseconds."""


@dataclass(frozen=True)
class AuditRequest:
    """What the command line asks for.

    Attributes:
        names: the targets.
        group: audit all targets of this group instead.
        identity: a private key file; ``None``: those of the targets.
        sudo_password_file: a file with the password for sudo.
        wait: seconds to wait for a board that does not answer yet; as usual if ``None``.
        parallel: how many boards are audited at the same time.
        benchmark: the version whose ids are shown; ``None``: that of docker-bench-security.
        waivers: the file with waivers; ``None``: that of the checkout.
        directory: the folder for known-hosts files; ``None``: ``build/ssh``.
    """

    names: Sequence[str]
    group: str | None = None
    identity: str | None = None
    sudo_password_file: str | None = None
    wait: float | None = 0.0
    parallel: int = PARALLEL
    benchmark: str | None = None
    waivers: str | None = None
    directory: Path | None = None


@dataclass(frozen=True)
class Rules:
    """The checks, profile and waivers for all boards, and the version whose ids are shown."""

    checks: tuple[BenchmarkCheck, ...]
    profile: Profile
    waivers: tuple[Waiver, ...]
    view: View | None

    def shown(self, result: AuditResult) -> AuditResult:
        """Return a result with the ids of the requested version."""
        return result if self.view is None else viewed(result, self.view)


@dataclass(frozen=True)
class _Board:
    endpoint: Endpoint
    trusted_user: str | None


def audit_targets(request: AuditRequest) -> list[AuditResult]:
    """Audit every target; a board that could not be audited is a result with its error.

    Raises:
        InputError: no such target, group or benchmark, or waivers that cannot be used; then no
            board was contacted.
    """
    rules = load_rules(request.benchmark, request.waivers)
    boards = {
        name: _Board(
            resolve.endpoint_of(name, request.identity), resolve.target_of(name).docker.trusted_user
        )
        for name in resolve.targets_named(request.names, request.group)
    }
    for board in boards.values():
        board.endpoint.ssh_server()  # if one has no address, no board is contacted
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
    """Load the checks, profile and waivers from the checkout.

    Raises:
        InputError: no such benchmark, or a file that cannot be used.
    """
    root = paths.checkout()
    checks = load_checks(root / "checks" / "cis-docker")
    path = paths.expand_user(waivers) if waivers else root / WAIVERS_NAME
    known = [check.id for check in checks]
    return Rules(
        checks=checks,
        profile=load_profile(root / "profiles"),
        waivers=load_waivers(path, known) if waivers or path.exists() else (),
        view=load_view(root / "checks" / "cis-docker", benchmark) if benchmark else None,
    )


def paths_to_check(profile: Profile) -> list[str]:
    """Return the paths and shell patterns whose owner and mode an audit needs."""
    paths = [path for watch in profile.audit.watch for path in watch.paths]
    paths += [path for file in profile.files.file for path in file.paths]
    return list(dict.fromkeys(paths))


def collect(board: Remote, profile: Profile) -> AuditFacts:
    """Return the facts about a board, collected in one SSH call.

    Raises:
        FailedError: the connection was lost, or the answer cannot be parsed.
    """
    script = audit_script(paths_to_check(profile))
    sections = board.report(script, title="looking at the board", timeout=COLLECT_S)
    try:
        return audit_facts(sections)
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
    """Return a board's result, with the ids of the requested version."""
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
    """Audit a single board; the operator may be asked for a host key or a password."""
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
    """Audit a board; an error is returned as a result."""
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
        with remote.step(reporter, f"Read the state of {name}"), remote:
            facts = collect(remote, rules.profile)
        took = time.monotonic() - begin
        return evaluate_board(facts, rules, name, board.trusted_user, day=_today(), seconds=took)
    except BootwrightError as error:
        failed = error
    except PARSE_ERRORS as error:
        # No evaluator expects this answer. The audits of other boards must continue.
        text = sanitize_line(mask(str(error)))[:200]
        failed = FailedError(f"{name}: the board's answer cannot be evaluated: {text}")
    return rules.shown(AuditResult(name, _today(), seconds=time.monotonic() - begin, error=failed))


def _line(result: AuditResult) -> tuple[str, bool]:
    """Return the message when the audit of a board has ended, and whether it succeeded."""
    if result.error is not None:
        return str(result.error), False
    total = result.summary.total
    warns = total.counts["warn"]
    return f"{warns} warn, score {total.score} of {total.max_score}", True


def _today() -> date:
    return datetime.now(UTC).date()
