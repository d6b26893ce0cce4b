"""The order of things on one board, with what boards really reported and a stand-in connection."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bootwright.core.endpoints import Endpoint, SshEndpoint
from bootwright.core.errors import FailedError, InputError, RefusedError
from bootwright.core.secret import Secret
from bootwright.provision import one_board
from bootwright.provision.desired_state import DesiredState
from bootwright.provision.one_board import Credentials, ProvisionOptions, provision
from bootwright.provision.result import ProvisionResult
from bootwright.remote.io.connection import Remote, RemoteFinished
from bootwright.remote.job import Reconnector
from bootwright.remote.sudo import SudoPasswordError
from tests.support.connection import WHERE, AnsweringBoard
from tests.support.host_facts import desired
from tests.support.reporter import Notes

CASES = Path(__file__).parent.parent / "cases" / "dockerhost"
PROVISIONED = (
    (CASES / "debian-12-provisioned.txt")
    .read_text(encoding="utf-8")
    # What could not be fetched that day would be a warning of every test.
    .replace("|upgraded 2026-11-25 bookworm-security", "|upgraded 2026-11-25")
)
BARE = (CASES / "debian-12-bare.txt").read_text(encoding="utf-8")

UNREAD = PROVISIONED.replace("\n|engine-runs yes", "\n|engine-runs yes\n|unread daemon.json")
"""The same board, whose daemon has not read daemon.json since it was changed: to be restarted."""

UNFINISHED = PROVISIONED.replace("\n|engine-runs yes", "\n|engine-runs yes\n|transaction armed")
"""The same board, with a change that was begun and neither confirmed nor put back."""

PROVEN = PROVISIONED.replace("\n|engine-runs yes", "\n|engine-runs yes\n|proven 417 20.10 20.11")
"""The same board, whose daemon was proven; this report is one for which the engine was asked."""

KERNEL = "6.1.0-50-armmp-lpae"
OLD_KERNEL = PROVISIONED.replace(f"|default-kernel {KERNEL}", "|default-kernel 6.1.0-51-armmp-lpae")
"""The same board, on which another kernel is installed than the one that runs."""

COLLECT, CONFIRM, PUT_BACK = "looking at the board", "confirming", "putting back"

JOB_ENDED = "== status\n|0\n"
APPLIED = f"{JOB_ENDED}== step\n|daemon\n== versions\n|20.10\n|20.11\n== applied\n== end\n"
RESTORED = "== restore\n|now\n== restored\n|well\n== end\n"


Make = Callable[..., AnsweringBoard]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return a board that reports these facts, with other answers by title."""

    def new(*facts: str, **answers: Sequence[str | RemoteFinished]) -> AnsweringBoard:
        board = AnsweringBoard(
            {
                COLLECT: list(facts),
                "apply": ["", APPLIED],
                "packages": ["", f"{JOB_ENDED}== missing\n== end\n"],
                CONFIRM: ["== confirmed\n== end\n"],
                PUT_BACK: [RESTORED],
                "recording the proven daemon": [""],
                **answers,
            }
        )

        def connection(endpoint: Endpoint, *, wait: float, **_: object) -> Remote:
            return board.network.connect(wait)

        monkeypatch.setattr(one_board, "Remote", connection)
        return board

    return new


ENDPOINT = Endpoint("odroid", ssh=SshEndpoint("192.0.2.1"))


def no_passphrase() -> Secret:
    raise InputError("no passphrase: give --passphrase-file")


def run(
    want: DesiredState | None = None,
    *,
    dry_run: bool = False,
    passphrase: Callable[[], Secret] = no_passphrase,
    notes: Notes | None = None,
) -> ProvisionResult:
    return provision(
        ENDPOINT,
        want or desired(),
        ProvisionOptions(dry_run=dry_run),
        Credentials(None, passphrase),
        notes or Notes(),
    )


def changed(result: ProvisionResult) -> list[str]:
    return [step.name for step in result.changed]


def test_a_board_that_is_as_it_should_be_is_asked_and_left_alone(make: Make) -> None:
    board = make(PROVISIONED)
    result = run()
    assert result.ok
    assert changed(result) == []
    assert result.versions["server"] == "20.10.24+dfsg1"
    # That the daemon does what it should is noted for the next run, which need not ask it.
    assert board.network.titles == [COLLECT, "recording the proven daemon"]


def test_a_proven_daemon_is_not_asked_again_where_nothing_is_to_do(make: Make) -> None:
    without_engine = PROVEN[: PROVEN.index("== engine")] + PROVEN[PROVEN.index("== files") :]
    board = make(without_engine)
    assert changed(run()) == []
    assert board.network.titles == [COLLECT]


def test_a_proven_daemon_is_asked_where_something_is_to_do(make: Make) -> None:
    opened = PROVEN.replace("|passwordauthentication no", "|passwordauthentication yes")
    board = make(opened, opened.replace("|proven 417 20.10 20.11\n", ""), PROVISIONED)
    assert changed(run()) == ["ssh"]
    assert board.network.titles[:3] == [COLLECT, COLLECT, "apply"]


def test_what_a_daemon_warns_of_that_was_just_started_is_reported(make: Make) -> None:
    warns = PROVISIONED.replace('"Warnings":null', '"Warnings":["WARNING: No swap limit support"]')
    assert warns != PROVISIONED
    make(UNREAD, warns)
    notes = Notes()
    assert run(notes=notes).ok
    assert "docker info warns: No swap limit support" in notes.warnings


IN_2020 = "== clock\n|1577836800\n\n== end"
"""The end of a report by a board without a clock of its own."""

SET_CLOCK = "setting the clock"


def test_a_wrong_clock_is_set_before_anything_that_depends_on_it(make: Make) -> None:
    wrong = BARE.replace("== end", IN_2020)
    board = make(wrong, PROVISIONED, **{SET_CLOCK: ["== end\n"]})
    result = run()
    assert changed(result) == ["clock", "packages"]
    assert result.changed[0].says == ("set the board's clock, which shows 2020-01-01 00:00:00 UTC",)
    assert board.network.titles[:3] == [COLLECT, SET_CLOCK, "packages"]


def test_a_clock_that_is_wrong_is_something_to_do(make: Make) -> None:
    make(PROVISIONED.replace("== end", IN_2020), **{SET_CLOCK: ["== end\n"]})
    assert changed(run()) == ["clock"]
    # In a dry run it is only planned.
    board = make(PROVISIONED.replace("== end", IN_2020))
    planned = run(dry_run=True)
    assert changed(planned) == ["clock"]
    assert planned.changed[0].says[0].endswith("unless a time server keeps it right")
    assert board.network.titles == [COLLECT]


def test_a_clock_that_cannot_be_set_stops_nothing_and_is_tried_once(make: Make) -> None:
    wrong = PROVISIONED.replace("== end", IN_2020)
    refused = [RemoteFinished(1, b"", b"date: Operation not permitted")]
    board = make(UNREAD.replace("== end", IN_2020), wrong, **{SET_CLOCK: refused})
    notes = Notes()
    result = run(notes=notes)
    assert (result.ok, changed(result)) == (True, ["daemon"])
    assert board.network.titles.count(SET_CLOCK) == 1
    assert "Operation not permitted" in " ".join(notes.warnings)


def test_a_dry_run_only_asks(make: Make) -> None:
    board = make(UNREAD)
    result = run(dry_run=True)
    assert result.planned
    assert changed(result) == ["daemon"]
    assert result.summary() == "would change daemon"
    assert board.network.titles == [COLLECT]


def test_a_dry_run_puts_no_unfinished_change_back(make: Make) -> None:
    board = make(UNFINISHED)
    run(dry_run=True)
    assert board.network.titles == [COLLECT]


def test_a_change_is_applied_proven_and_confirmed(make: Make) -> None:
    board = make(UNREAD, PROVISIONED)
    notes = Notes()
    result = run(notes=notes)
    assert result.ok
    assert not result.rolled_back
    assert changed(result) == ["daemon"]
    assert result.restarted == ("docker.service",)
    assert result.versions == {"client": "20.10", "server": "20.11"}
    assert board.network.titles == [
        *(COLLECT, "apply", "apply", COLLECT, CONFIRM, "recording the proven daemon"),
    ]
    assert any(note.startswith("daemon: restart the daemon, which") for note in notes.notes)


def test_what_needs_no_restart_of_the_daemon_tells_none(make: Make) -> None:
    opened = PROVISIONED.replace("|passwordauthentication no", "|passwordauthentication yes")
    make(opened, PROVISIONED)
    result = run()
    assert changed(result) == ["ssh"]
    assert result.restarted == ()


def test_facts_that_are_the_same_afterwards_are_not_confirmed(make: Make) -> None:
    board = make(UNREAD, UNREAD)
    result = run()
    assert result.rolled_back
    assert isinstance(result.error, FailedError)
    assert str(result.error).startswith(
        f"{WHERE}: this did not take effect: daemon (restart the daemon, which has not read"
    )
    assert "Everything was put back" in str(result.error)
    assert result.versions == {}
    assert result.restarted == ()
    assert board.network.titles[-2:] == [COLLECT, PUT_BACK]
    document = result.as_json()
    assert document["rolled_back"] is True
    assert document["error"]["exit_code"] == 4


def test_a_failing_step_is_the_result_and_no_facts_are_collected(make: Make) -> None:
    failed = f"{JOB_ENDED}== step\n|daemon\n== failed\n|daemon\n|no such key\n{RESTORED}"
    board = make(UNREAD, apply=["", failed])
    result = run()
    assert result.rolled_back
    assert "step daemon failed. Everything was put back" in str(result.error)
    assert board.network.titles == [COLLECT, "apply", "apply"]


def test_an_unfinished_change_is_put_back_before_anything_is_planned(make: Make) -> None:
    board = make(UNFINISHED, UNREAD, PROVISIONED)
    notes = Notes()
    result = run(notes=notes)
    assert changed(result) == ["daemon"]
    assert board.network.titles[:3] == [COLLECT, PUT_BACK, COLLECT]
    assert notes.warnings[0] == "a change was begun here and never confirmed: putting it back"


def test_an_unfinished_change_of_a_run_that_goes_on_stops_this_one(make: Make) -> None:
    board = make(UNFINISHED, **{PUT_BACK: ["== busy\n== end\n"]})
    with pytest.raises(FailedError, match="another inv provision runs on this board"):
        run()
    assert board.network.titles == [COLLECT, PUT_BACK]


def test_a_change_that_is_not_there_after_the_proof_came_too_late(make: Make) -> None:
    make(UNREAD, PROVISIONED, **{CONFIRM: ["== too-late\n== end\n"]})
    result = run()
    assert result.rolled_back
    assert "the confirmation came too late" in str(result.error)


def test_packages_come_first_and_the_rest_is_planned_after_them(make: Make) -> None:
    board = make(BARE, PROVISIONED)
    notes = Notes()
    result = run(notes=notes)
    assert changed(result) == ["packages"]
    assert board.network.titles[:4] == [COLLECT, "packages", "packages", COLLECT]
    assert notes.steps[1].startswith("Bring all packages up to date and install docker.io")


def test_packages_that_cannot_be_installed_end_the_run(make: Make) -> None:
    failed = "== status\n|1\n== failed\n|install\n|E: Unable to locate package docker.io\n== end\n"
    board = make(BARE, packages=["", failed])
    with pytest.raises(FailedError) as error:
        run()
    assert str(error.value) == (
        f"{WHERE}: packages: this step failed: install. Repair what the board reports,"
        " then run this again. The board says:\n  E: Unable to locate package docker.io"
    )
    assert board.network.titles == [COLLECT, "packages", "packages"]


def test_a_job_for_packages_that_was_killed_ends_the_run(make: Make) -> None:
    make(BARE, packages=["", "== status\n|137\n== end\n"])
    with pytest.raises(FailedError, match="packages: the job ended with status 137; run it again"):
        run()


def test_lists_of_packages_that_are_missing_are_a_warning(make: Make) -> None:
    missing = f"{JOB_ENDED}== missing\n|bookworm-security\n== end\n"
    make(BARE, PROVISIONED, packages=["", missing])
    notes = Notes()
    assert run(notes=notes).ok
    assert notes.warnings == ["odroid: could not be fetched: bookworm-security"]


RUNNING = PROVISIONED.replace('"ContainersRunning":0', '"ContainersRunning":2')
MORTAL = RUNNING.replace('"LiveRestoreEnabled":true', '"LiveRestoreEnabled":false')


@pytest.mark.parametrize(
    ("facts", "own", "held", "warned"),
    [
        (RUNNING, {}, False, False),
        (MORTAL, {}, True, False),
        (MORTAL, {"daemon": {"live-restore": False}}, False, True),
    ],
    ids=["they go on", "they are made to go on", "they may not"],
)
def test_containers_that_run_while_docker_is_upgraded(
    make: Make, facts: str, own: dict[str, Any], held: bool, warned: bool
) -> None:
    board = make(facts, packages=["", "== status\n|137\n== end\n"])
    notes = Notes()
    with pytest.raises(FailedError, match="packages"):
        run(desired(own, upgrade=True), notes=notes)
    (job,) = [data for _, data in board.inputs if data]
    assert b"apt-get" in job
    assert (b"have containers outlive the daemon" in job) == held
    assert (b'"live-restore": true' in job) == held
    warnings = [text for text in notes.warnings if "containers end if a new Docker" in text]
    assert bool(warnings) == warned


class Restart:
    """What restarting a board is called with, in place of doing it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[bytes, str]] = []
        monkeypatch.setattr(one_board, "restart_board", self.restart)

    def restart(
        self,
        reconnector: Reconnector,
        endpoint: Endpoint,
        passphrase: Secret,
        kernel: str,
        *_: object,
    ) -> None:
        self.calls.append((passphrase.reveal(), kernel))


def test_a_new_kernel_restarts_the_board_and_the_rest_is_planned_after_it(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    restart = Restart(monkeypatch)
    # What was to be done to the daemon is not any more: it was started anew.
    unread = OLD_KERNEL.replace("\n|engine-runs yes", "\n|engine-runs yes\n|unread daemon.json")
    board = make(unread, replace_boot(PROVISIONED))
    result = run(passphrase=lambda: Secret(b"correct horse"))
    assert restart.calls == [(b"correct horse", "6.1.0-51-armmp-lpae")]
    assert changed(result) == ["reboot"]
    assert result.restarted == ("board",)
    assert board.network.titles[:2] == [COLLECT, COLLECT]


def replace_boot(text: str) -> str:
    """Return a report of the same board after a restart."""
    return "\n".join(
        "|boot 00000000-0000-0000-0000-000000000000" if line.startswith("|boot ") else line
        for line in text.splitlines()
    )


def test_a_board_that_did_not_restart_is_an_error(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    Restart(monkeypatch)
    make(OLD_KERNEL, OLD_KERNEL)
    with pytest.raises(FailedError, match="it did not restart; look at its console"):
        run(passphrase=lambda: Secret(b"correct horse"))


def test_without_a_passphrase_the_board_is_not_restarted(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    restart = Restart(monkeypatch)
    board = make(OLD_KERNEL)
    with pytest.raises(FailedError) as error:
        run()
    text = str(error.value)
    assert "kernel 6.1.0-51-armmp-lpae is installed" in text
    assert "its volume unlocked after that, but: no passphrase: give --passphrase-file." in text
    assert "--no-reboot" in text
    assert restart.calls == []
    assert board.network.titles == [COLLECT]


def test_without_a_restart_the_rest_is_done_and_the_kernel_a_warning(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    restart = Restart(monkeypatch)
    make(OLD_KERNEL)
    notes = Notes()
    result = run(desired(reboot=False), notes=notes)
    assert result.ok
    assert restart.calls == []
    assert "restart it" in notes.warnings[0]


def test_data_that_would_seem_to_be_gone_is_named_and_nothing_done(make: Make) -> None:
    images = PROVISIONED.replace('"Images":0', '"Images":30')
    names = "".join(f"|image shell:{number}\n" for number in range(30))
    title = "looking at containers and images"
    board = make(images, **{title: [f"== names\n{names}== end\n"]})
    with pytest.raises(RefusedError) as error:
        run(desired({"daemon": {"userns-remap": ""}}))
    text = str(error.value)
    assert text.startswith("odroid: with user namespaces switched off, Docker keeps its data in")
    assert "image shell:0, image shell:1, " in text
    assert "image shell:19 and 10 more. Save what you need" in text
    assert "Nothing was changed" in text
    assert board.network.titles == [COLLECT, title]


def test_data_that_may_seem_to_be_gone_is_not_asked_about(make: Make) -> None:
    images = PROVISIONED.replace('"Images":0', '"Images":30')
    board = make(images)
    want = desired({"daemon": {"userns-remap": ""}}, migrate_userns=True)
    assert run(want, dry_run=True).ok
    assert board.network.titles == [COLLECT]


@pytest.mark.parametrize(
    "error",
    [
        SudoPasswordError(f"{WHERE}: sudo asks for a password"),
        FailedError(f"{WHERE}: sudo refused the password of mia; it was tried once"),
    ],
)
def test_a_sudo_password_that_is_missing_or_wrong_is_tried_once(
    make: Make, error: FailedError
) -> None:
    board = make(UNREAD)

    def refuse() -> None:
        raise error

    board.network.before(COLLECT, refuse)
    with pytest.raises(type(error), match="sudo") as caught:
        run()
    assert caught.value is error
    assert board.network.titles == [COLLECT]


def test_another_host_key_ends_the_run_before_any_script(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = make(UNREAD)

    def refuse(connection: Remote) -> None:
        raise RefusedError(f"{WHERE}: this is not the host key of odroid; not connected.")

    monkeypatch.setattr("tests.support.connection.FakeConnection.connect", refuse)
    with pytest.raises(RefusedError, match="not the host key of odroid"):
        run()
    assert board.network.titles == []


def test_an_error_in_planning_names_the_board(make: Make) -> None:
    make(PROVISIONED.replace("|os-ID debian", "|os-ID plan9"))
    with pytest.raises(FailedError, match=r"^board \(root@192\.0\.2\.1 port 22\): .* is neither"):
        run()


def test_the_answers_of_the_cases_are_what_they_are_called() -> None:
    texts = (UNREAD, UNFINISHED, PROVEN, OLD_KERNEL, RUNNING, MORTAL, replace_boot(PROVISIONED))
    assert len({PROVISIONED, *texts}) == len(texts) + 1
