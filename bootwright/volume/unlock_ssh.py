"""Unlocking a board's encrypted volume over SSH: ``inv unlock`` for ``unlock = "ssh"``.

Facts → decision → one script that acts and reports the facts again. The passphrase goes to
the script's standard input and from there to cryptsetup, or to the program on the board that
asks for it.
"""

import contextlib
import time
from dataclasses import replace
from pathlib import Path

from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import FailedError
from bootwright.core.io.ask import Ask
from bootwright.core.passphrase import check_typeable
from bootwright.core.report import Reporter
from bootwright.core.secret import Secret, without_passphrase
from bootwright.core.text import sanitize_line
from bootwright.remote.io.connection import Remote
from bootwright.remote.sections import parse_sections
from bootwright.volume.facts import (
    VolumeFacts,
    Waiting,
    parse_volume,
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
    open_script,
    outcome,
    place_of,
    unfinished,
)

ATTEMPTS = 3
"""How many times the passphrase is given: a question may go away while it is answered."""


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

    What is done already is left alone, so that it can be run again at any time.

    Args:
        endpoint: the board.
        passphrase: given to the board's standard input and nowhere else.
        timeout: seconds for the whole, the wait for the SSH server included.
        reporter: where to tell what is done.
        ask: how to ask about a host key that is not known; ``None`` without a terminal.
        directory: where known-hosts files are kept; ``build/ssh`` if ``None``.

    Raises:
        InputError: the target has no address, its key file or the passphrase cannot be used.
        RefusedError: the SSH server's host key is not the target's.
        FailedError: no SSH server answers, it refuses us, or the connection was lost.
    """
    check_typeable(passphrase.reveal(), endpoint.name)
    begin = time.monotonic()
    with contextlib.closing(Remote(endpoint, ask=ask, directory=directory, wait=timeout)) as board:
        with board.step(reporter, f"Reach {endpoint.name} over SSH"):
            board.connect()
        session = _Session(endpoint, board, passphrase, begin, timeout, reporter)
        with reporter.step("Open the volume and start what lies on it"):
            return session.run()


class _Session:
    """One run; ``begin`` is when it began, by the monotonic clock, and ``timeout`` its seconds."""

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
        self._place = place_of(endpoint)
        self._board = board
        self._passphrase = passphrase
        self._begin = begin
        self._timeout = timeout
        self._reporter = reporter
        self._attempts = 0
        self._to_prompt: float | None = None

    def run(self) -> UnlockResult:
        facts = self._look()
        while True:
            try:
                way = decide(facts, self._place)
            except FailedError as error:
                return self._result(Result.FAILED, str(error))
            if way is UnlockMethod.NOTHING:
                return self._result(
                    Result.ALREADY_UNLOCKED, "the volume was open, mounted and in use already"
                )
            question = (
                facts.question_for(self._place.volume) if way is UnlockMethod.ANSWER else None
            )
            ended, facts = self._act(way, facts, question)
            if ended.wrong:
                return self._wrong(question)
            if not ended.gone:
                return self._judge(ended, facts)
            if self._attempts == ATTEMPTS:
                return self._result(
                    Result.FAILED, "the programs that asked for the passphrase did not wait for it"
                )

    def _look(self) -> VolumeFacts:
        script = volume_script(self._place)
        done = self._board.run(
            script, title="looking at the volume", sudo=True, timeout=self._left()
        )
        return parse_volume(done.text)

    def _act(
        self, way: UnlockMethod, facts: VolumeFacts, question: Waiting | None
    ) -> tuple[UnlockOutcome, VolumeFacts]:
        """Do what is left to do; return how it went, and the facts after it."""
        place = self._place
        if question is not None:
            self._to_prompt = self._to_prompt or self._elapsed()
            self._reporter.note(f"answering on the board: {question.message}")
            script = answer_script(facts, place, question)
        elif way is UnlockMethod.OPEN:
            script = open_script(facts, place)
        else:
            script = finish_script(facts, place)
        gives = way is not UnlockMethod.FINISH
        self._attempts += gives
        done = self._board.run(
            script,
            title="opening the volume" if gives else "mounting the volume",
            stdin=self._passphrase if gives else None,
            sudo=True,
            timeout=self._left(),
        )
        sections = parse_sections(done.text)
        ended = outcome(sections)
        # Shown as the board's text is, or it would not be found there.
        given = sanitize_line(self._passphrase.reveal().decode("utf-8", "replace"))
        ended = replace(ended, trouble=without_passphrase(ended.trouble, given))
        if ended.gone:
            return ended, self._look()
        reported = any(section.name == "host" for section in sections)
        return ended, volume_facts(sections) if reported else facts

    def _wrong(self, question: Waiting | None) -> UnlockResult:
        if question is None:
            detail = "no key slot opens with this passphrase; nothing was changed"
        else:
            detail = (
                "the board refused the passphrase; its prompt waits for the right one, and it"
                " gives up after the third wrong one"
            )
        return self._result(Result.WRONG_PASSPHRASE, detail)

    def _judge(self, ended: UnlockOutcome, facts: VolumeFacts) -> UnlockResult:
        """Return the result by what the board reports after everything was done."""
        if not ended.opened:
            return self._result(Result.FAILED, ended.trouble)
        try:
            way = decide(facts, self._place)
        except FailedError as error:
            return self._result(Result.FAILED, str(error))
        if way is UnlockMethod.NOTHING:
            return self._result(
                Result.UNLOCKED,
                f"the volume is open and mounted at {self._place.mount}",
                to_unlocked=self._elapsed(),
            )
        if facts.mapping is None:
            return self._result(
                Result.FAILED, f"the volume is not open after all. {ended.trouble}".strip()
            )
        rest = ended.trouble or "; ".join(unfinished(facts, self._place))
        return self._result(Result.FAILED, f"the volume is open, but {rest}")

    def _elapsed(self) -> float:
        return time.monotonic() - self._begin

    def _left(self) -> float:
        # At least a moment: the wait for the server may have used up nearly everything.
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
