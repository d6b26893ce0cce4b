"""``inv provision``: a board becomes a hardened Docker host, or stays exactly what it was.

Facts → plan → apply → facts again: a change is confirmed only when the plan made from the new
facts has nothing left to do.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ParamSpec, TypeVar
from uuid import uuid4

from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import FailedError, InputError, RefusedError
from bootwright.core.file_changes import FileChange
from bootwright.core.io.ask import Ask
from bootwright.core.report import Reporter
from bootwright.core.secret import Secret
from bootwright.provision.actions import RestartDocker, StartDocker
from bootwright.provision.apply import apply, put_back_unfinished
from bootwright.provision.desired_state import DesiredState
from bootwright.provision.facts import HostFacts, host_facts
from bootwright.provision.facts_script import (
    Questions,
    docker_data_script,
    host_script,
    proven_script,
)
from bootwright.provision.kernel_check import engine_warnings
from bootwright.provision.packages import new_kernel, package_warnings, packages_script
from bootwright.provision.plan import (
    ProvisionPlan,
    interim_text,
    plan_provision,
    questions_for,
    transaction_of,
    versions_of,
    would_end_containers,
)
from bootwright.provision.reboot import restart_board
from bootwright.provision.result import ProvisionResult, StepResult, step_results
from bootwright.provision.transaction import (
    CONFIRM_S,
    INTERIM,
    JOB,
    apply_script,
    job_files,
)
from bootwright.remote.clock import clock_is_off, clock_text
from bootwright.remote.io.clock import correct_clock
from bootwright.remote.io.connection import Remote
from bootwright.remote.job import Reconnector, run_job
from bootwright.remote.job_script import JobState

COLLECT_S = 300.0
"""Seconds for a board to report; an emulated one takes 2.

One that has just been restarted waits up to 90 of them for its services, is slow while these start,
and may ask its engine for 30 more.
"""

JOB_S = 3600.0
"""Seconds for a job: the longest is a full upgrade and Docker, on a slow card and a slow line."""

MOST_NAMES = 20
"""Containers, images and volumes that an error names; it counts the others."""

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class ProvisionOptions:
    """How to provision.

    Attributes:
        dry_run: only plan.
        confirm_s: seconds after which a board takes an unconfirmed change back by itself.
        directory: where known-hosts files are kept; ``build/ssh`` if ``None``.
        wait: seconds to wait for a board that does not answer yet; as usual if ``None``.
    """

    dry_run: bool = False
    confirm_s: int = CONFIRM_S
    directory: Path | None = None
    wait: float | None = 0.0


@dataclass(frozen=True)
class Credentials:
    """The secrets that a run may need, and how the operator is asked.

    Attributes:
        ask: about a host key that is not known; ``None`` without a terminal.
        passphrase: returns the volume's passphrase; called when the board has to be restarted.
        sudo_password: the password of the login user, where sudo asks for it.
    """

    ask: Ask | None
    passphrase: Callable[[], Secret]
    sudo_password: Secret | None = None


def provision(
    endpoint: Endpoint,
    desired: DesiredState,
    options: ProvisionOptions,
    credentials: Credentials,
    reporter: Reporter,
) -> ProvisionResult:
    """Bring a board to its desired state; return how that went.

    A change of configuration that fails is put back, and the result says so and why.

    Raises:
        InputError: the target has no address, or what it asks for cannot be.
        RefusedError: it would not work, or endanger data; or the board's host key is another.
        FailedError: the board cannot be reached, or something on it failed. The message says
            what holds then; the same call goes on from there.
    """
    run = BoardRun(endpoint, desired, options, credentials, reporter)
    try:
        return run.run()
    finally:
        run.close()


class BoardRun:
    """One run on one board."""

    def __init__(
        self,
        endpoint: Endpoint,
        desired: DesiredState,
        options: ProvisionOptions,
        credentials: Credentials,
        reporter: Reporter,
    ) -> None:
        self._endpoint = endpoint
        self._desired = desired
        self._options = options
        self._credentials = credentials
        self._reporter = reporter
        self._begin = time.monotonic()
        self._reconnector = Reconnector(self._connection, options.wait)
        self._questions = questions_for(desired.profile)
        self._done: list[StepResult] = []
        self._restarted: list[str] = []
        self._clock_left = False

    def close(self) -> None:
        """Close the connection."""
        self._reconnector.close()

    @property
    def _board(self) -> Remote:
        return self._reconnector.board

    def run(self) -> ProvisionResult:
        """Collect facts, plan, apply, and collect facts again."""
        facts, plan = self._start()
        if self._options.dry_run:
            return self._result(plan, facts, step_results(plan, facts.files), planned=True)
        if plan.packages is not None:
            facts, plan = self._install_packages(plan, facts)
        if plan.reboot:
            facts, plan = self._reboot(plan, facts)
        steps = step_results(plan, facts.files)
        if not plan.to_do:
            self._record_proven(facts)
            return self._result(plan, facts, steps)
        for step in steps:
            for line in step.says if step.changed else ():
                self._reporter.note(f"{step.name}: {line}")
        return self._apply(plan, facts, steps)

    def _connection(self, wait: float | None) -> Remote:
        return Remote(
            self._endpoint,
            ask=self._credentials.ask,
            directory=self._options.directory,
            wait=wait,
            sudo_password=self._credentials.sudo_password,
        )

    def _start(self) -> tuple[HostFacts, ProvisionPlan]:
        """Connect, have an unfinished change put back, and make the first plan."""
        title = f"Read the state of {self._endpoint.name}"
        with self._board.step(self._reporter, title):
            self._board.connect()
            facts = self._collect_quickly()
        if facts.transaction and not self._options.dry_run:
            put_back_unfinished(self._reconnector, self._reporter)
            facts = self._collect()
        return facts, self._plan(facts)

    def _collect(self) -> HostFacts:
        return self._answer_to(self._questions)

    def _answer_to(self, questions: Questions) -> HostFacts:
        before = time.time()
        sections = self._board.report(
            host_script(questions), title="looking at the board", timeout=COLLECT_S
        )
        facts = self._naming_board(host_facts, sections)
        if facts.clock is not None and clock_is_off(facts.clock, before, time.time()):
            self._correct_clock(facts.clock)
        return facts

    def _correct_clock(self, shown: int) -> None:
        """Set the board's clock, before anything is done there that depends on it.

        That may be more than once: a board without a clock of its own loses it in a restart.
        """
        if self._clock_left:
            return
        if self._options.dry_run or correct_clock(self._board, shown, self._reporter):
            says = f"set the board's clock, which shows {clock_text(shown)}"
            # The board is not asked for that.
            says += ", unless a time server keeps it right" if self._options.dry_run else ""
            self._done.append(StepResult("clock", True, says=(says,)))
        else:
            self._clock_left = True

    def _collect_quickly(self) -> HostFacts:
        """Return the facts, without asking the engine where that cannot change the plan.

        The board keeps a mark of the daemon's process that was last proven; see
        :data:`bootwright.provision.facts_script.PROVEN`.
        """
        facts = self._answer_to(replace(self._questions, whole=False))
        if not facts.proven or facts.transaction:
            return facts
        plan = self._naming_board(plan_provision, self._desired, facts)
        return facts if plan.nothing else self._collect()

    def _record_proven(self, facts: HostFacts) -> None:
        """Have the board keep the mark that its running daemon does what daemon.json says."""
        if facts.engine is not None:
            versions = versions_of(facts)
            script = proven_script(
                versions["client"] or "", versions["server"] or "", facts.engine.warnings
            )
            self._board.run(
                script, title="recording the proven daemon", sudo=True, timeout=COLLECT_S
            )

    def _naming_board(self, decide: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what ``decide`` returns; an error that it raises gets the board's name."""
        try:
            return decide(*args, **kwargs)
        except (FailedError, RefusedError) as error:
            raise type(error)(f"{self._board.where}: {error}") from None

    def _plan(self, facts: HostFacts) -> ProvisionPlan:
        plan = self._naming_board(plan_provision, self._desired, facts)
        if plan.hides_data and not self._desired.migrate_userns:
            names = self._names_of_data()
            raise RefusedError(
                f"{self._endpoint.name}: with {' and '.join(plan.hidden)}, Docker keeps its data in"
                f" another folder, and this will seem to be gone: {names}. Save what you need"
                " (docker save, volumes), then give --migrate-userns; containers that run are"
                " stopped. Nothing was changed"
            )
        return plan

    def _names_of_data(self) -> str:
        """Return the names of the board's containers, images and volumes for an error."""
        sections = self._board.report(
            docker_data_script(), title="looking at containers and images", timeout=COLLECT_S
        )
        names = sections[0].lines
        shown = ", ".join(names[:MOST_NAMES])
        more = len(names) - MOST_NAMES
        return f"{shown} and {more} more" if more > 0 else shown or "its data"

    def _install_packages(
        self, plan: ProvisionPlan, facts: HostFacts
    ) -> tuple[HostFacts, ProvisionPlan]:
        assert plan.packages is not None
        what = plan.packages.describe()
        with self._reporter.step(f"{what[0].upper()}{what[1:]}"):
            files, engine = {}, facts.engine
            hold = would_end_containers(plan, facts)
            script = packages_script(plan.packages, hold_containers=hold)
            if hold:
                files = {INTERIM: FileChange(INTERIM, interim_text(facts).encode())}
            elif engine is not None and engine.running and not engine.live_restore:
                self._reporter.warn("containers end if a new Docker is installed: no live-restore")
            state = self._run_job("packages", script, files)
            self._check_packages(state)
        self._done.append(StepResult("packages", True, says=(what,)))
        for text in package_warnings(state.sections):
            self._reporter.warn(f"{self._endpoint.name}: {text}")
        with self._reporter.step(f"Read the state of {self._endpoint.name} again"):
            facts = self._collect()
        return facts, self._plan(facts)

    def _check_packages(self, state: JobState) -> None:
        """Raise if the job did not end well.

        Raises:
            FailedError: with what the package manager wrote.
        """
        for section in state.sections:
            if section.name == "failed":
                message = "\n  ".join(line for line in section.lines[1:] if line.strip())
                raise FailedError(
                    f"{self._board.where}: packages: this step failed: {section.line(0)}. Repair"
                    f" what the board reports, then run this again. The board says:\n  {message}"
                )
        if state.status != 0:
            raise FailedError(
                f"{self._board.where}: packages: the job ended with status {state.status}; run it"
                " again"
            )

    def _run_job(self, name: str, script: str, files: dict[str, FileChange]) -> JobState:
        return run_job(
            self._reconnector,
            name,
            script,
            files,
            timeout=JOB_S,
            patience=self._options.confirm_s,
            reporter=self._reporter,
        )

    def _reboot(self, plan: ProvisionPlan, facts: HostFacts) -> tuple[HostFacts, ProvisionPlan]:
        try:
            passphrase = self._credentials.passphrase()
        except InputError as error:
            raise FailedError(
                f"{self._board.where}: {plan.reboot}: the board has to be restarted, and its"
                f" volume unlocked after that, but: {error}. Run it again with that, or with"
                " --no-reboot"
            ) from None
        self._reporter.note(plan.reboot)
        if facts.engine is not None and facts.engine.running:
            self._reporter.warn(
                "the restart ends containers; those without a restart policy stay ended"
            )
        restart_board(
            self._reconnector,
            self._endpoint,
            passphrase,
            new_kernel(facts),
            self._reporter,
            self._credentials.ask,
        )
        again = self._collect()
        if again.boot_id == facts.boot_id:
            raise FailedError(f"{self._board.where}: it did not restart; look at its console")
        self._restarted.append("board")
        self._done.append(StepResult("reboot", True, says=(plan.reboot,)))
        return again, self._plan(again)

    def _apply(
        self, plan: ProvisionPlan, facts: HostFacts, steps: tuple[StepResult, ...]
    ) -> ProvisionResult:
        change = transaction_of(plan, facts, self._options.confirm_s, uuid4().hex)
        done = apply(
            self._reconnector,
            change,
            lambda: self._run_job(JOB, apply_script(change), job_files(change)),
            self._collect_after,
            self._reporter,
        )
        if done.facts is None:
            return replace(
                self._result(plan, facts, steps),
                rolled_back=done.rolled_back,
                error=done.error,
                versions={},
            )
        actions = (action for step in plan.to_do for action in step.actions)
        if any(isinstance(action, RestartDocker | StartDocker) for action in actions):
            self._restarted.append("docker.service")
        self._record_proven(done.facts)
        # Of a daemon that did not run before, or of another version.
        new = (text for text in engine_warnings(done.facts) if text not in plan.warnings)
        plan = replace(plan, warnings=(*plan.warnings, *new))
        versions = {"client": done.client or None, "server": done.server or None}
        return self._result(plan, done.facts, steps, versions=versions)

    def _collect_after(self) -> tuple[HostFacts, str]:
        """Return the board's facts, and what a plan made now would still do."""
        facts = self._collect()
        plan = self._naming_board(plan_provision, self._desired, facts)
        left = (f"{step.name} ({', '.join(step.says or step.paths)})" for step in plan.to_do)
        return facts, "; ".join(left)

    def _result(
        self,
        plan: ProvisionPlan,
        facts: HostFacts,
        steps: tuple[StepResult, ...],
        *,
        planned: bool = False,
        versions: dict[str, str | None] | None = None,
    ) -> ProvisionResult:
        for text in (*plan.warnings, *plan.notes):
            self._reporter.warn(text)
        done = {step.name: step for step in self._done}
        return ProvisionResult(
            target=self._endpoint.name,
            planned=planned,
            steps=tuple(done.get(step.name, step) for step in steps),
            restarted=tuple(self._restarted),
            versions=versions or versions_of(facts),
            seconds=time.monotonic() - self._begin,
            warnings=(*plan.warnings, *plan.notes),
            waived=plan.waived,
        )
