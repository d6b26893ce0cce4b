"""Unlocking a board's encrypted volume over SSH: ``inv unlock`` for ``unlock = "ssh"``.

Facts, a decision, one script that carries it out and reports the facts again. The passphrase
goes to the script's standard input, and from there to cryptsetup or to the program on the board
that asks for it.
"""

import contextlib
import time
from dataclasses import replace
from pathlib import Path

from bootwright.core.board_names import TRIES
from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import FailedError
from bootwright.core.io.ask import Ask
from bootwright.core.passphrase import check_typeable
from bootwright.core.report import Reporter
from bootwright.core.secret import Secret, without_passphrase
from bootwright.core.text import sanitize_line
from bootwright.remote.clock import clock_is_off
from bootwright.remote.io.clock import correct_clock
from bootwright.remote.io.connection import Remote
from bootwright.volume.facts import (
    BoardQuestion,
    VolumeFacts,
    volume_facts,
    volume_script,
)
from bootwright.volume.unlock_result import Result, UnlockResult
from bootwright.volume.unlock_ssh_plan import (
    UnlockMethod,
    UnlockOutcome,
    answer_script,
    decide,
    finish_script,
    layout_of,
    open_script,
    outcome,
    unfinished,
)

ATTEMPTS = 3
"""How many times the passphrase is sent: the question may end while it is being answered."""


def unlock_over_ssh(
    endpoint: Endpoint,
    passphrase: Secret,
    *,
    timeout: float,
    reporter: Reporter,
    ask: Ask | None = None,
    directory: Path | None = None,
) -> UnlockResult:
    """Open the volume, mount it and start Docker; return how that ended.

    What is done already is not done again, so it can be run at any time.

    Args:
        endpoint: the board.
        passphrase: sent to the standard input of a script on the board, and nowhere else.
        timeout: seconds for all of it, the wait for the SSH server included.
        reporter: gets a message about each step.
        ask: how to ask about a host key that is not known; ``None`` without a terminal.
        directory: where known-hosts files are kept; ``build/ssh`` if ``None``.

    Raises:
        InputError: the target has no address, its key file or the passphrase cannot be used.
        RefusedError: the SSH server's host key is not the target's.
        FailedError: no SSH server answers, it refuses us, or the connection was lost.
    """
    check_typeable(passphrase.reveal(), endpoint.name)
    begin = time.monotonic()
    remote = Remote(endpoint, ask=ask, directory=directory, wait=timeout, login_in_wait=True)
    with contextlib.closing(remote) as board:
        with board.step(reporter, f"Connect to {endpoint.name} over SSH"):
            board.connect()
        session = _Session(endpoint, board, passphrase, begin, timeout, reporter)
        with reporter.step("Open the volume and start the services that use it"):
            return session.run()


class _Session:
    """One run: it began at ``begin`` (monotonic clock), and may take ``timeout`` seconds."""

    def __init__(
        self,
        endpoint: Endpoint,
        board: Remote,
        passphrase: Secret,
        begin: float,
        timeout: float,
        reporter: Reporter,
    ) -> None:
        self._target = endpoint.name
        self._layout = layout_of(endpoint)
        self._board = board
        self._passphrase = passphrase
        self._begin = begin
        self._timeout = timeout
        self._reporter = reporter
        self._attempts = 0
        self._to_prompt: float | None = None

    def run(self) -> UnlockResult:
        before = time.time()
        facts = self._collect()
        wrong_clock = clock_is_off(facts.clock, before, time.time())
        while True:
            try:
                method = decide(facts, self._layout)
            except FailedError as error:
                return self._result(Result.FAILED, str(error))
            if method is UnlockMethod.NOTHING:
                return self._result(
                    Result.ALREADY_UNLOCKED, "the volume is open, mounted and in use already"
                )
            if wrong_clock:
                # Before services start that check certificates. Once: it may not be possible.
                correct_clock(self._board, facts.clock, self._reporter)
                wrong_clock = False
            question = (
                facts.question_for(self._layout.volume) if method is UnlockMethod.ANSWER else None
            )
            ended, facts = self._act(method, facts, question)
            if ended.wrong:
                return self._wrong(question, facts)
            if not ended.gone:
                return self._evaluate(ended, facts)
            if self._attempts == ATTEMPTS:
                return self._result(
                    Result.FAILED,
                    "each program that asked for the passphrase ended before it was sent",
                )

    def _collect(self) -> VolumeFacts:
        script = volume_script(self._layout)
        return volume_facts(
            self._board.report(
                script, title="reading the volume's state", timeout=self._remaining()
            )
        )

    def _act(
        self, method: UnlockMethod, facts: VolumeFacts, question: BoardQuestion | None
    ) -> tuple[UnlockOutcome, VolumeFacts]:
        """Do what remains to be done; return how that ended, and the facts after it."""
        layout = self._layout
        if question is not None:
            self._to_prompt = self._to_prompt or self._elapsed()
            self._reporter.note(f"answering a prompt on the board: {question.message}")
            script = answer_script(facts, layout, question)
        elif method is UnlockMethod.OPEN:
            script = open_script(facts, layout)
        else:
            script = finish_script(facts, layout)
        with_passphrase = method is not UnlockMethod.FINISH
        self._attempts += with_passphrase
        sections = self._board.report(
            script,
            title="opening the volume" if with_passphrase else "mounting the volume",
            stdin=self._passphrase if with_passphrase else None,
            timeout=self._remaining(),
        )
        ended = outcome(sections)
        # The board's text was sanitized; the passphrase is only found in it in the same form.
        sanitized = sanitize_line(self._passphrase.reveal().decode("utf-8", "replace"))
        ended = replace(ended, problem=without_passphrase(ended.problem, sanitized))
        if ended.gone:
            return ended, self._collect()
        reported = any(section.name == "host" for section in sections)
        return ended, volume_facts(sections) if reported else facts

    def _wrong(self, question: BoardQuestion | None, facts: VolumeFacts) -> UnlockResult:
        if question is None:
            detail = "the passphrase opens no key slot of the volume; nothing was changed"
        else:
            detail = (
                "the board refused the passphrase. It asks again, if its tries are not used up"
                f" (tries={_tries(facts)} in its crypttab)"
            )
        return self._result(Result.WRONG_PASSPHRASE, detail)

    def _evaluate(self, ended: UnlockOutcome, facts: VolumeFacts) -> UnlockResult:
        """Return the result by the facts after everything was done."""
        if not ended.opened:
            return self._result(Result.FAILED, ended.problem)
        try:
            method = decide(facts, self._layout)
        except FailedError as error:
            return self._result(Result.FAILED, str(error))
        if method is UnlockMethod.NOTHING:
            return self._result(
                Result.UNLOCKED,
                f"the volume is open and mounted at {self._layout.mount}",
                to_unlocked=self._elapsed(),
            )
        if facts.mapping is None:
            return self._result(
                Result.FAILED, f"the volume is still not open. {ended.problem}".strip()
            )
        rest = ended.problem or "; ".join(unfinished(facts, self._layout))
        return self._result(Result.FAILED, f"the volume is open, but {rest}")

    def _elapsed(self) -> float:
        return time.monotonic() - self._begin

    def _remaining(self) -> float:
        # The wait for the SSH server may have taken nearly all of it; a script needs some time.
        return max(10.0, self._timeout - self._elapsed())

    def _result(
        self, result: Result, detail: str, to_unlocked: float | None = None
    ) -> UnlockResult:
        return UnlockResult(
            target=self._target,
            via="ssh",
            result=result,
            detail=detail,
            prompts_seen=int(self._to_prompt is not None),
            attempts=self._attempts,
            to_prompt=self._to_prompt,
            to_unlocked=to_unlocked,
        )


def _tries(facts: VolumeFacts) -> str:
    """Return how many passphrases the board takes in one boot, as its crypttab says."""
    options = facts.crypttab.options if facts.crypttab else ()
    given = [name.removeprefix("tries=") for name in options if name.startswith("tries=")]
    return given[-1] if given else str(TRIES)
