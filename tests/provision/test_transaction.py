"""Changing a board all or nothing: the real scripts in a real shell, against every failure."""

import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from bootwright.core.file_changes import FileChange, SymlinkChange, text_file
from bootwright.provision.daemon_json import DAEMON_JSON
from bootwright.provision.facts_script import RELOADED, TRANSACTION
from bootwright.provision.transaction import JOB, Transaction
from bootwright.remote.job_script import FOLDER
from tests.support.changes import odd, plain, whole
from tests.support.fakeboard import COUNTED, FakeBoard, Tree
from tests.support.namespace import need_namespaces

pytestmark = pytest.mark.integration

SHELLS = ("dash", "bash", "busybox")

Make = Callable[..., FakeBoard]

Call = tuple[str, int]

Prepare = Callable[[FakeBoard], None]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    need_namespaces()
    numbers = count()

    def new(prepare: Prepare = lambda _: None, shell: str = "dash") -> FakeBoard:
        board = FakeBoard(tmp_path / f"board{next(numbers)}", shell)
        board.make()
        prepare(board)
        board.start_docker()
        return board

    yield new
    shutil.rmtree(tmp_path)


def prepared(board: FakeBoard) -> None:
    """Make the board what :func:`whole` is planned for."""
    folder = board.path("/etc/docker")
    folder.chmod(0o757)
    os.chown(folder, 1000, 998)


def with_odd_things(board: FakeBoard) -> None:
    board.write("/etc/docker/key.json", "{}")
    os.chown(board.path("/etc/docker/key.json"), 1000, 998)
    board.path("/etc/docker/key.json").chmod(0o640)
    board.path("/etc/to-folder").symlink_to("systemd")
    board.path("/etc/was-link").symlink_to("no-such")
    board.write("/etc/was-file", "text")
    board.path("/etc/was-file").chmod(0o4750)
    board.write("/etc/to-go", "gone")
    board.write("/etc/docker/daemon.json", '{"debug": false, "live-restore": true}')


def without_daemon_folder(board: FakeBoard) -> None:
    board.path("/etc/docker").rmdir()


CHANGES = {
    "whole": (whole, prepared),
    "no folder of the daemon": (plain, without_daemon_folder),
    "odd": (odd, with_odd_things),
    "stopped": (lambda: replace(plain(), keep_containers=False), lambda _: None),
}


def every_call(board: FakeBoard, change: Transaction) -> list[Call]:
    """Carry the change out, and return the calls that it took."""
    assert board.apply(change).complete
    return numbered(board.calls)


def numbered(calls: list[str]) -> list[Call]:
    """Return the first and the last call of each kind, with how often it had been made."""
    # The script itself comes first.
    assert calls[0].startswith("sh ")
    seen: Counter[str] = Counter()
    kinds: dict[str, list[Call]] = {}
    for call in calls[1:]:
        seen[call] += 1
        words = call.split()
        kind = " ".join(words[:2]) if words[0] in COUNTED else call
        kinds.setdefault(kind, []).append((call, seen[call]))
    return [call for kind in kinds.values() for call in dict.fromkeys([kind[0], kind[-1]])]


def each(calls: list[Call], test: Callable[[str, int], str]) -> dict[str, str]:
    """Return what went wrong by call."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda call: test(*call), calls)
    return {
        f"{call} #{nth}": wrong for (call, nth), wrong in zip(calls, results, strict=True) if wrong
    }


def difference(board: FakeBoard, before: Tree) -> str:
    now = board.tree()
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return f"differs: {names}" if names else ""


@pytest.mark.parametrize("shell", SHELLS)
def test_what_was_carried_out_and_confirmed_is_there_and_nothing_else(
    make: Make, shell: str
) -> None:
    if shutil.which(shell) is None:
        pytest.fail(f"{shell} is not installed: run scripts/setup test")
    board, change = make(prepared, shell), whole()
    before, containers = board.tree(), board.running
    ended = board.apply(change)
    assert ended.complete, ended
    assert ended.steps == (*(step.name for step in change.steps), "smoke")
    assert (ended.client, ended.server) == ("20.10", "20.11")
    assert board.armed
    assert board.confirm() == ("confirmed", "end")
    after = board.tree()
    for file in (item for step in change.steps for item in step.changes):
        name = str(board.path(file.path).relative_to(board.root))
        if isinstance(file, FileChange):
            status = board.path(file.path).stat()
            assert after.pop(name)[2] == file.data, name
            assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (file.mode, 0, 0)
        elif isinstance(file, SymlinkChange):
            assert after.pop(name)[1] == file.target
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {
        *("etc/passwd", "etc/group", "etc/shadow", "etc/docker", "etc/docker/tls"),
        *("etc/audit", "etc/audit/rules.d", "etc/ssh/sshd_config.d"),
        *(f"etc/systemd/system/{unit}.d" for unit in ("docker.service", "docker.socket")),
        "etc/systemd/system/containerd.service.d",
        *(
            f"etc/systemd/system/multi-user.target.wants/{unit}.service"
            for unit in ("docker", "auditd", "systemd-timesyncd")
        ),
    }
    assert board.running == containers
    assert board.left == []
    assert not board.path(f"{FOLDER}/{JOB}").exists()
    assert board.confirm() == ("too-late", "end")


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_one_call_fails_the_board_is_what_it_was(make: Make, name: str) -> None:
    planned, prepare = CHANGES[name]
    change = planned()
    model = make(prepare)
    before, containers = model.tree(), model.running
    calls = every_call(model, change)
    if name in ("no folder of the daemon", "stopped"):
        calls = [(call, nth) for call, nth in calls if call.startswith(("systemctl", "docker"))]
    success = model.tree()

    def fail(call: str, nth: int) -> str:
        board = make(prepare)
        board.strike("fail", call, nth)
        ended = board.apply(change)
        if not (board.root / "struck").exists():
            return "was not called"
        wrong = ""
        if ended.complete:
            # It was of no consequence, or it would be told.
            wrong = difference(board, success)
            board.restore("now")
        elif ended.restored is False or not ended.failed_step:
            wrong = f"{ended}"
        wrong = wrong or difference(board, before) or ", ".join(board.left)
        if " exited" in board.running or (change.keep_containers and board.running != containers):
            wrong += f" containers: {board.running}"
        return wrong

    assert each(calls, fail) == {}


def without_unit(board: FakeBoard) -> Tree:
    """Return the board without the unit that does nothing any more."""
    return {name: what for name, what in board.tree().items() if "bootwright-restore" not in name}


@pytest.mark.parametrize("name", ["whole", "odd"])
def test_wherever_the_power_is_cut_the_next_start_puts_everything_back(
    make: Make, name: str
) -> None:
    planned, prepare = CHANGES[name]
    change = planned()
    model = make(prepare)
    before = model.tree()
    calls = every_call(model, change)

    def cut(call: str, nth: int) -> str:
        board = make(prepare)
        board.strike("cut", call, nth)
        running = board.start_apply(change)
        running.communicate(timeout=120)
        if running.returncode != -signal.SIGKILL:
            return f"ended with {running.returncode}"
        armed = board.armed
        board.reboot()
        if not armed:
            # Not begun: the next run overwrites the unit, which does nothing without the mark.
            board.apply(change)
            board.restore("now")
        return difference(board, before) or ", ".join(board.left)

    assert each(calls, cut) == {}


def test_wherever_the_power_is_cut_while_putting_back_the_next_start_goes_on(
    make: Make, tmp_path: Path
) -> None:
    change = whole()
    model = make(prepared)
    before = model.tree()
    assert model.apply(change).complete
    to_confirm = model.copy(tmp_path / "to-confirm")
    numbers = count()
    model.strike("none", "nothing")
    model.restore("now")
    calls = numbered(model.calls)

    def cut(call: str, nth: int) -> str:
        board = to_confirm.copy(tmp_path / f"cut{next(numbers)}")
        board.strike("cut", call, nth)
        running = board.start(f"{TRANSACTION}/restore", "now")
        running.communicate(timeout=120)
        if running.returncode != -signal.SIGKILL:
            return f"ended with {running.returncode}"
        held = board.armed
        board.reboot()
        # Once the mark is gone the unit does nothing.
        now = board.tree() if held else without_unit(board)
        return "" if now == before and not board.armed else f"{held}"

    assert len(calls) > 40
    assert each(calls, cut) == {}


def test_wherever_the_power_is_cut_while_confirming_the_whole_holds_or_nothing(
    make: Make, tmp_path: Path
) -> None:
    model = make(prepared)
    before = model.tree()
    assert model.apply(whole()).complete
    to_confirm = model.copy(tmp_path / "to-confirm")
    model.strike("none", "nothing")
    assert model.confirm() == ("confirmed", "end")
    calls, after, numbers = numbered(model.calls), model.tree(), count()
    ends = []

    def cut(call: str, nth: int) -> str:
        board = to_confirm.copy(tmp_path / f"cut{next(numbers)}")
        board.strike("cut", call, nth)
        running = board.start_confirm()
        running.communicate(timeout=120)
        if running.returncode != -signal.SIGKILL:
            return f"ended with {running.returncode}"
        held = not board.armed
        ends.append(held)
        board.reboot()
        now = without_unit(board) if held else board.tree()
        return "" if now == (after if held else before) and not board.armed else f"{held}"

    assert each(calls, cut) == {}
    assert set(ends) == {True, False}


def test_at_boot_no_daemon_is_asked_and_none_is_waited_for(make: Make) -> None:
    board = make(prepared)
    before = board.tree()
    assert board.apply(whole()).complete
    board.strike("none", "nothing")
    board.reboot()
    assert difference(board, before) == ""
    assert board.left == []
    verbs = {tuple(call.split()[:2]) for call in board.calls if call.startswith("systemctl")}
    assert verbs == {("systemctl", verb) for verb in ("disable", "stop", "daemon-reload")}
    stops = [call for call in board.calls if call.startswith("systemctl stop")]
    assert stops == ["systemctl stop bootwright-deadline.timer"]
    assert not any(call.startswith(("docker", "auditctl", "userdel")) for call in board.calls)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_daemon_that_does_not_start_gets_its_old_configuration_back(
    make: Make, shell: str
) -> None:
    if shutil.which(shell) is None:
        pytest.fail(f"{shell} is not installed: run scripts/setup test")
    change = plain()
    steps = [
        replace(step, changes=(text_file(DAEMON_JSON, "broken"), *step.changes[1:]))
        if step.name == "daemon"
        else step
        for step in change.steps
    ]
    board = make(shell=shell)
    before, containers = board.tree(), board.running
    ended = board.apply(replace(change, steps=tuple(steps)))
    assert (ended.failed_step, ended.restored, ended.complete) == ("daemon", True, False)
    assert "Job for docker.service failed" in ended.message
    assert "dockerd: no such thing" in ended.message
    assert difference(board, before) == ""
    assert not board.path(DAEMON_JSON).exists()
    # It was found by the shell that keeps containers alive, and goes on without.
    assert board.running == containers
    assert board.loaded == {}
    assert board.confirm() == ("too-late", "proved", "restored", "end")


def test_a_daemon_json_of_the_future_does_not_seem_unread_for_ever(make: Make) -> None:
    board = make(with_odd_things)
    file = board.path(DAEMON_JSON)
    # The clock was ahead when it was written, and is right now.
    os.utime(file, (4e9, 4e9))
    assert board.apply(odd()).complete
    assert file.stat().st_mtime_ns <= board.path(RELOADED).stat().st_mtime_ns


def test_a_container_that_says_otherwise_takes_everything_back(make: Make) -> None:
    board = make(prepared)
    before, containers = board.tree(), board.running
    board.state("docker/lies", "uid_map: 0 0\nNoNewPrivs: 1\nSeccomp: 2\n== applied\n")
    ended = board.apply(whole())
    assert (ended.failed_step, ended.restored, ended.restore_errors) == ("smoke", True, "")
    assert ended.message.startswith("a container printed no line that matches ^uid_map: 0 [1-9]: ")
    assert difference(board, before) == ""
    assert (board.running, board.left) == (containers, [])


def test_a_container_that_dies_in_the_restart_is_started_again_and_that_is_reported(
    make: Make,
) -> None:
    board = make()
    before = board.tree()
    board.state("docker/mortal", "db")
    ended = board.apply(plain())
    assert ended.failed_step == "daemon"
    assert "did not go on running: db" in ended.message
    # What was lost cannot be undone, and is not called so.
    assert ended.restored is False
    assert "did not go on running: db" in ended.restore_errors
    # The copies are kept where something was not as before.
    kept = board.path("/var/lib/bootwright/transaction.failed")
    assert (kept / "old").is_dir()
    shutil.rmtree(kept)
    assert difference(board, before) == ""
    assert board.running == "a1 10 /web running\nb2 101 /db running\n"


HANGS = (
    "systemctl enable --now systemd-timesyncd.service",
    "useradd --system --no-create-home --shell /usr/sbin/nologin dockremap",
    "systemctl reload docker.service",
    "systemctl restart docker.service",
    f"auditctl -R {TRANSACTION}/audit.rules",
    "docker import - bootwright-smoke:N",
)


@pytest.mark.parametrize("call", HANGS)
def test_what_hangs_is_ended_at_the_deadline_and_taken_back(make: Make, call: str) -> None:
    board = make(prepared)
    before, containers = board.tree(), board.running
    board.hang(call)
    running = board.start_apply(whole())
    board.until_hung()
    timer = (board.root / "timer").read_text()
    assert "--on-active=600 " in timer
    assert timer.endswith(f"/bin/sh {TRANSACTION}/restore deadline\n")
    sections = board.reach_deadline()
    assert ("restored", ("well",)) in [(section.name, section.lines) for section in sections]
    assert running.wait(30) == -signal.SIGKILL
    assert running.stdout is not None
    running.stdout.close()
    assert difference(board, before) == ""
    assert (board.running, board.left) == (containers, [])
    assert board.confirm() in (
        ("too-late", "restored", "end"),
        # The daemon was touched before.
        ("too-late", "proved", "restored", "end"),
    )


def test_a_second_change_waits_until_the_first_is_confirmed_or_put_back(make: Make) -> None:
    board = make(prepared)
    before = board.tree()
    assert board.apply(whole()).complete
    between = board.tree()
    ended = board.apply(plain())
    assert (ended.failed_step, ended.restored) == ("begin", None)
    assert "armed" in ended.message
    assert difference(board, between) == ""
    assert board.armed
    board.restore("now")
    assert difference(board, before) == ""
    assert board.apply(whole()).complete


def test_to_put_back_twice_changes_nothing_more(make: Make) -> None:
    board = make(prepared)
    before, containers = board.tree(), board.running
    assert board.apply(whole()).complete
    script = board.path(f"{TRANSACTION}/restore").read_text()
    assert board.restore("now")[-1].lines == ("well",)
    board.write("/run/restore", script)
    board.strike("none", "nothing")
    begin, proved, ended = board.run("/run/restore", "now")
    assert begin.lines == ("now", "there is nothing to put back")
    # How it ended is known to whoever asks later.
    assert (proved.name, ended.name, ended.lines) == ("proved", "restored", ("well",))
    assert not any(call.startswith(("systemctl", "docker", "rm")) for call in board.calls)
    assert difference(board, before) == ""
    assert board.running == containers


def test_what_does_not_come_back_is_reported(make: Make) -> None:
    board = make(prepared)
    board.state("docker/lies", "uid_map: 0 0\n")
    # The old daemon, which had run containers, runs none now.
    board.strike("fail", "docker import - bootwright-smoke:N", 2)
    ended = board.apply(whole())
    assert (ended.failed_step, ended.restored, ended.restore_errors) == (
        "smoke",
        False,
        "no container runs",
    )
