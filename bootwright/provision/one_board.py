"""``inv provision``: a board becomes a hardened Docker host, or stays exactly what it was.

Facts → plan → carry out → facts again: a change is confirmed only when the plan made from the
new facts has nothing left to do.
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
from bootwright.provision.apply import apply, put_back_what_is_left
from bootwright.provision.desired_state import DesiredState
from bootwright.provision.facts import HostFacts, parse_host
from bootwright.provision.facts_script import Questions, host_script, proven_script
from bootwright.provision.packages import missing_lists, new_kernel, packages_script
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
    hold_script,
    job_files,
)
from bootwright.remote.io.connection import Remote
from bootwright.remote.job import Reconnector, run_job
from bootwright.remote.job_script import JobState
from bootwright.remote.sections import END, PRELUDE, parse_sections

LOOK_S = 120.0
"""Seconds for a board to report; an emulated one takes 2."""

PACKAGES_S = 3600.0
"""Seconds for a full upgrade and Docker, on a slow card and a slow line."""


P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class ProvisionOptions:
    """How to provision.

    Attributes:
        dry_run: only plan.
        confirm_s: seconds after which a board takes an unconfirmed change back by itself.
        directory: where known-hosts files are kept; ``build/ssh`` if ``None``.
        wait: seconds to wait for a board that does not answer yet.
    """

    dry_run: bool = False
    confirm_s: int = CONFIRM_S
    directory: Path | None = None
    wait: float = 0.0


@dataclass(frozen=True)
class Credentials:
    """What the operator can be asked for, and how.

    Attributes:
        ask: about a host key that is not known; ``None`` without a terminal.
        passphrase: gives that of the volume, when the board has to be restarted.
        sudo_password: of who logs in, where sudo asks for it.
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
    """Make the board what is wished; return how that went.

    A change of configuration that fails is put back, and the result says so and why.

    Raises:
        InputError: the target has no address, or what it asks for cannot be.
        RefusedError: it would not work or endanger data; or the board's host key is another.
        FailedError: the board cannot be reached, or something on it failed; what holds then
            is said, and the same call goes on from there.
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
        self._link = Reconnector(self._connection, options.wait)
        self._questions = questions_for(desired.profile, desired.target.docker.trusted_user)
        self._done: list[StepResult] = []
        self._restarted: list[str] = []

    def close(self) -> None:
        """Hang up."""
        self._link.close()

    @property
    def _board(self) -> Remote:
        return self._link.board

    def run(self) -> ProvisionResult:
        """Look at the board, plan, apply, and look again."""
        facts, plan = self._look_first()
        if self._options.dry_run:
            return self._result(plan, facts, step_results(plan, facts.files), planned=True)
        if plan.packages is not None:
            facts, plan = self._install(plan, facts)
        if plan.reboot:
            facts, plan = self._reboot(plan, facts)
        steps = step_results(plan, facts.files)
        if not plan.to_do:
            self._remember(facts)
            return self._result(plan, facts, steps)
        self._tell(steps)
        return self._carry_out(plan, facts, steps)

    def _connection(self, wait: float) -> Remote:
        return Remote(
            self._endpoint,
            ask=self._credentials.ask,
            directory=self._options.directory,
            wait=wait,
            sudo_password=self._credentials.sudo_password,
        )

    def _look_first(self) -> tuple[HostFacts, ProvisionPlan]:
        title = f"Look at {self._endpoint.name}"
        with self._board.step(self._reporter, title):
            self._board.connect()
            facts = self._look_quickly()
        if facts.transaction and not self._options.dry_run:
            put_back_what_is_left(self._link, self._reporter)
            facts = self._look()
        return facts, self._plan(facts)

    def _look(self) -> HostFacts:
        return self._ask(self._questions)

    def _ask(self, questions: Questions) -> HostFacts:
        done = self._board.run(
            host_script(questions), title="looking at the board", sudo=True, timeout=LOOK_S
        )
        return self._named(parse_host, done.text)

    def _look_quickly(self) -> HostFacts:
        """Return the facts, without asking an engine that was proven if there is nothing to do."""
        facts = self._ask(replace(self._questions, whole=False))
        if not facts.proven or facts.transaction:
            return facts
        plan = self._named(plan_provision, self._desired, facts)
        return facts if plan.nothing else self._look()

    def _remember(self, facts: HostFacts) -> None:
        """Let later runs know that the daemon that runs now does what it should."""
        if facts.engine is not None:
            versions = versions_of(facts)
            script = proven_script(versions["client"] or "", versions["server"] or "")
            self._board.run(script, title="remembering", sudo=True, timeout=LOOK_S)

    def _named(self, decide: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what ``decide`` does; an error of it names the board."""
        try:
            return decide(*args, **kwargs)
        except (FailedError, RefusedError) as error:
            raise type(error)(f"{self._board.where}: {error}") from None

    def _plan(self, facts: HostFacts) -> ProvisionPlan:
        plan = self._named(plan_provision, self._desired, facts)
        if plan.vanishing and not self._desired.migrate_userns:
            names = self._vanishing()
            what = "switched on" if plan.daemon.values.get("userns-remap") else "switched off"
            raise RefusedError(
                f"{self._endpoint.name}: with user namespaces {what}, Docker keeps its data in"
                f" another folder, and this will seem to be gone: {names}. Save what you need"
                " (docker save, volumes), then give --migrate-userns; containers that run are"
                " stopped. Nothing was changed"
            )
        return plan

    def _vanishing(self) -> str:
        script = (
            "docker ps -a --format 'container {{.Names}}' 2>/dev/null\n"
            "docker images --format 'image {{.Repository}}:{{.Tag}}' 2>/dev/null\n"
            "docker volume ls --format 'volume {{.Name}}' 2>/dev/null\n"
        )
        done = self._board.run(
            f"{PRELUDE}section names\n{{ {script} }} | quoted\n{END}",
            title="looking at containers and images",
            sudo=True,
            timeout=LOOK_S,
        )
        names = parse_sections(done.text)[0].lines
        shown = ", ".join(names[:20])
        return f"{shown} and {len(names) - 20} more" if len(names) > 20 else shown or "its data"

    def _tell(self, steps: tuple[StepResult, ...]) -> None:
        for step in steps:
            for line in step.says if step.changed else ():
                self._reporter.note(f"{step.name}: {line}")

    def _install(self, plan: ProvisionPlan, facts: HostFacts) -> tuple[HostFacts, ProvisionPlan]:
        assert plan.packages is not None
        says = plan.packages.describe()
        with self._reporter.step(f"{says[0].upper()}{says[1:]}"):
            script, files = packages_script(plan.packages), {}
            if facts.engine is not None and facts.engine.running and not _outlives(plan, facts):
                self._reporter.warn("containers end if a new Docker is installed: no live-restore")
            if would_end_containers(plan, facts):
                script = hold_script() + script
                files = {INTERIM: FileChange(INTERIM, interim_text(facts).encode())}
            state = self._job("packages", script, files)
            for section in state.sections:
                if section.name == "failed":
                    said = "\n  ".join(line for line in section.lines[1:] if line.strip())
                    raise FailedError(
                        f"{self._board.where}: packages: to {section.line(0)} failed; run it again"
                        f" when that is mended. The board says:\n  {said}"
                    )
            if state.status != 0:
                raise FailedError(
                    f"{self._board.where}: packages: ended with {state.status}; run it again"
                )
        self._done.append(StepResult("packages", True, says=(says,)))
        if missing := missing_lists(state.sections):
            self._reporter.warn(
                f"{self._endpoint.name}: could not be fetched: {', '.join(missing)}"
            )
        with self._reporter.step(f"Look at {self._endpoint.name} again"):
            facts = self._look()
        return facts, self._plan(facts)

    def _job(self, name: str, script: str, files: dict[str, FileChange]) -> JobState:
        return run_job(
            self._link,
            name,
            script,
            files,
            timeout=PACKAGES_S,
            patience=self._options.confirm_s,
            reporter=self._reporter,
        )

    def _reboot(self, plan: ProvisionPlan, facts: HostFacts) -> tuple[HostFacts, ProvisionPlan]:
        try:
            passphrase = self._credentials.passphrase()
        except InputError as error:
            raise FailedError(
                f"{self._board.where}: {plan.reboot}: it has to be restarted, and its volume"
                f" unlocked after that, but: {error}. Run it again with that, or with --no-reboot"
            ) from None
        self._reporter.note(plan.reboot)
        if facts.engine is not None and facts.engine.running:
            self._reporter.warn("the restart ends containers; what no policy starts stays ended")
        restart_board(
            self._link,
            self._endpoint,
            passphrase,
            new_kernel(facts),
            self._reporter,
            self._credentials.ask,
        )
        again = self._look()
        if again.boot_id == facts.boot_id:
            raise FailedError(f"{self._board.where}: it did not restart; look at its console")
        self._restarted.append("board")
        self._done.append(StepResult("reboot", True, says=(plan.reboot,)))
        return again, self._plan(again)

    def _carry_out(
        self, plan: ProvisionPlan, facts: HostFacts, steps: tuple[StepResult, ...]
    ) -> ProvisionResult:
        change = transaction_of(plan, facts, self._options.confirm_s, uuid4().hex)
        done = apply(
            self._link,
            change,
            lambda: self._job(JOB, apply_script(change), job_files(change)),
            self._look_after,
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
        self._remember(done.facts)
        versions = {"client": done.client or None, "server": done.server or None}
        return self._result(plan, done.facts, steps, versions=versions)

    def _look_after(self) -> tuple[HostFacts, str]:
        """Return the board's facts, and what a plan made now would still do."""
        facts = self._look()
        plan = self._named(plan_provision, self._desired, facts)
        left = (f"{step.name} ({', '.join(step.says or step.paths)})" for step in plan.to_do)
        return facts, "; ".join(left)

    def _warn(self, plan: ProvisionPlan) -> None:
        for text in (*plan.warnings, *plan.notes):
            self._reporter.warn(text)

    def _result(
        self,
        plan: ProvisionPlan,
        facts: HostFacts,
        steps: tuple[StepResult, ...],
        *,
        planned: bool = False,
        versions: dict[str, str | None] | None = None,
    ) -> ProvisionResult:
        self._warn(plan)
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


def _outlives(plan: ProvisionPlan, facts: HostFacts) -> bool:
    """Tell whether containers outlive a restart of the daemon, or will be made to."""
    live = facts.engine is not None and facts.engine.live_restore
    return live or would_end_containers(plan, facts)
