"""The file of a run's log, as real commands leave it."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bootwright.core import run_log
from bootwright.core.cli import OUR_BUG
from bootwright.core.io import run_log as module
from bootwright.core.io.process import run
from bootwright.core.io.run_log import RunLog
from bootwright.core.paths import checkout
from tests.support.bench import INV

pytestmark = pytest.mark.integration


def logs(build: Path) -> list[Path]:
    return sorted((build / "log").glob("*"))


def records(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def inv(build: Path, *argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [INV, *argv],
        cwd=checkout(),
        env={"PATH": os.environ["PATH"], "HOME": str(build), "BOOTWRIGHT_BUILD": str(build)}
        | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def one_run(build: Path, *argv: str, name: str = "task") -> None:
    log = RunLog(build / "log", name, debug=False)
    with log.recording(argv=["inv"]):
        run(argv or ["true"])


def test_a_command_leaves_a_private_file_with_what_it_ran(tmp_path: Path) -> None:
    done = inv(tmp_path, "doctor", "--json")
    json.loads(done.stdout)
    (path,) = logs(tmp_path)
    assert path.name.endswith("Z-doctor.jsonl")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    first, *between, last = records(path)
    assert first["argv"][1:] == ["doctor", "--json"]
    started = {one["call"]: one["argv"] for one in between if one["event"] == "start"}
    ended = {one["call"]: one for one in between if one["event"] == "end"}
    assert started.keys() == ended.keys()
    assert any(argv[0].endswith("mke2fs") for argv in started.values())
    assert all(one["seconds"] >= 0 and "status" in one for one in ended.values())
    assert (last["gateway"], last["event"], last["status"]) == ("run", "end", done.returncode)


@pytest.mark.parametrize("line", ["--list", "--help", "config odroid", "profile", "no"])
def test_a_command_that_starts_nothing_writes_no_log(tmp_path: Path, line: str) -> None:
    inv(tmp_path, *line.split())
    assert list(tmp_path.iterdir()) == []


def test_an_error_names_the_file_on_standard_error(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(bytes(1024 * 1024))
    done = inv(tmp_path, "emulate", "--device", str(tmp_path / "image"))
    (path,) = logs(tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == f"what this run did: {path}"
    last = records(path)[-1]
    assert last["status"] == done.returncode
    assert last["error"].split(": ", 1)[1] in done.stderr


@pytest.mark.parametrize("how", [{"argv": ["--debug", "doctor"]}, {"argv": ["doctor", "--debug"]}])
def test_debug_prints_the_same_records(tmp_path: Path, how: dict[str, Any]) -> None:
    printed = inv(tmp_path, *how["argv"]).stderr.splitlines()
    assert printed == logs(tmp_path)[0].read_text().splitlines()


def test_debug_by_the_environment(tmp_path: Path) -> None:
    assert '"gateway": "process"' in inv(tmp_path, "doctor", BOOTWRIGHT_DEBUG="1").stderr
    assert '"gateway"' not in inv(tmp_path, "doctor", BOOTWRIGHT_DEBUG="0").stderr


def test_two_runs_at_once_have_a_file_each(tmp_path: Path) -> None:
    build = tmp_path / "build"
    first, second = (RunLog(build / "log", "same", debug=False) for _ in range(2))
    with first.recording(), second.recording():
        run(["true"])
    assert len({first.path, second.path}) == 2
    children = [
        subprocess.Popen(
            [INV, "doctor"],
            cwd=checkout(),
            env={**os.environ, "BOOTWRIGHT_BUILD": str(tmp_path)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]
    for child in children:
        child.wait()
    pids = {records(path)[0]["pid"] for path in logs(tmp_path)}
    assert pids == {child.pid for child in children}


CHILD = """
import sys
from pathlib import Path
from bootwright.core.io.process import run
from bootwright.core.io.run_log import RunLog

log = RunLog(Path(sys.argv[1]), "child", debug=False)
with log.recording():
    run(["sh", "-c", "echo started >&3; exec sleep 1000"], pass_fds=[3])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_log_of_an_interrupted_run_has_its_actions(
    tmp_path: Path, number: signal.Signals
) -> None:
    reading, writing = os.pipe()
    # What the child runs holds descriptor 3, so the pipe says when it has started.
    shell = ["sh", "-c", 'exec "$@" 3>&1 >/dev/null', "sh", sys.executable, "-c", CHILD]
    child = subprocess.Popen(
        [*shell, str(tmp_path / "log")],
        stdout=writing,
        stderr=subprocess.DEVNULL,
        cwd=checkout(),
        process_group=0,
    )
    os.close(writing)
    assert os.read(reading, 100) == b"started\n"
    child.send_signal(number)
    child.wait()
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)  # its own child, if it left that
    os.close(reading)
    (path,) = logs(tmp_path)
    found = records(path)
    assert found[1]["argv"][0] == "sh"
    if number is signal.SIGINT:
        assert (found[-1]["status"], found[-1]["error"]) == (4, "KeyboardInterrupt: ")


def test_the_log_has_the_traceback_of_a_bug(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "log", "task", debug=False)
    with pytest.raises(ZeroDivisionError), log.recording():
        _ = 1 / 0
    assert log.path is not None
    last = records(log.path)[-1]
    assert last["status"] == OUR_BUG
    assert "in test_the_log_has_the_traceback_of_a_bug" in last["traceback"]


# What cannot be written


@pytest.mark.parametrize("what", ["a file", "no permission"])
def test_an_unusable_log_folder_gives_one_warning(
    tmp_path: Path, what: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if what == "a file":
        (tmp_path / "log").touch()
    else:
        # Root may write anywhere.
        def refuse(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "open", refuse)
    log = RunLog(tmp_path / "log", "task", debug=False)
    with log.recording():
        for _ in range(3):
            run_log.event("process", "x")
    monkeypatch.undo()
    assert log.path is None
    (warning,) = capfd.readouterr().err.splitlines()
    assert warning.startswith(f"warning: {tmp_path}/log: ")
    assert warning.endswith("; the log of this run is not written")


def test_a_full_disk_ends_the_log_after_a_complete_line_but_not_the_run(tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from bootwright.core.io.run_log import RunLog\n"
        "from bootwright.core.run_log import event\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "with RunLog(Path(sys.argv[1]), 'task', False).recording():\n"
        "    for _ in range(100): event('process', 'x', text='y' * 100)\n"
        "print('went on')\n"
    )
    argv = [sys.executable, "-c", script, str(tmp_path / "log")]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=checkout())
    assert (done.returncode, done.stdout) == (0, "went on\n")
    (path,) = logs(tmp_path)
    assert done.stderr == f"warning: {path}: File too large; the log of this run ends there\n"
    assert len(records(path)) > 5


# Bounds


def test_old_logs_are_removed_except_those_of_current_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_FILES", 5)
    monkeypatch.setattr(module, "MAX_TOTAL_BYTES", 10_000)
    folder = tmp_path / "log"
    folder.mkdir(mode=0o700)
    locked = ""

    def left(*sizes: int) -> list[str]:
        """Return which logs a new run leaves of those with these sizes, the oldest first."""
        for path in logs(tmp_path):
            if path.name != locked:
                path.unlink()
        for number, size in enumerate(sizes):
            (folder / f"2020010{number}T000000Z-x.jsonl").write_bytes(bytes(size))
        one_run(tmp_path)
        return [path.name[7:8] for path in logs(tmp_path) if path.name.startswith("2020")]

    assert left(1, 1, 1, 1, 1, 1, 1) == ["3", "4", "5", "6"]
    assert left(1, 1, 9000, 1001) == ["3"]
    locked = "20200100T000000Z-x.jsonl"
    with (folder / locked).open("wb") as running:
        fcntl.flock(running, fcntl.LOCK_SH)
        assert left(0, 1, 1, 1, 1, 1, 1) == ["0", "3", "4", "5", "6"]


def test_a_long_run_continues_in_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 4000)
    log = RunLog(tmp_path / "log", "long", debug=False)
    with log.recording():
        for number in range(50):
            run_log.event("process", "x", number=number, text="y" * 100)
    numbers = [one["number"] for path in logs(tmp_path) for one in records(path) if "number" in one]
    assert sorted(numbers) == list(range(50))
    assert len(logs(tmp_path)) > 2
    assert all(path.stat().st_size <= 4000 for path in logs(tmp_path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_logs_written_by_root_belong_to_the_owner_of_the_checkout(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 54321, 54322)
    one_run(home / "build")
    for path in (home / "build", home / "build" / "log", *logs(home / "build")):
        assert (path.stat().st_uid, path.stat().st_gid) == (54321, 54322)


def test_a_folder_that_is_a_link_is_left_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir(mode=0o755)
    (other / "20200101T000000Z-x.jsonl").touch()
    (tmp_path / "log").symlink_to(other)
    one_run(tmp_path)
    assert "the log of this run is not written" in capfd.readouterr().err
    assert other.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in other.iterdir()] == ["20200101T000000Z-x.jsonl"]


def test_only_logs_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILES", 2)
    folder = tmp_path / "log"
    folder.mkdir(mode=0o700)
    (folder / "mine.jsonl").touch()
    # Opening it would wait for a reader for ever.
    os.mkfifo(folder / "20200101T000000Z-x.jsonl")
    for _ in range(4):
        one_run(tmp_path)
    assert {"mine.jsonl", "20200101T000000Z-x.jsonl"} <= {path.name for path in folder.iterdir()}
    assert len(logs(tmp_path)) == 4


def test_the_newest_logs_stay_whatever_their_names_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_FILES", 3)
    folder = tmp_path / "log"
    folder.mkdir(mode=0o700)
    for number in range(5):
        # Written while the clock was wrong.
        path = folder / f"20300101T00000{number}Z-x.jsonl"
        path.touch()
        os.utime(path, (0, 0))
    for number in range(3):
        one_run(tmp_path, "echo", str(number))
    last = [one["argv"] for path in logs(tmp_path) for one in records(path) if one.get("argv")]
    assert sorted(argv[1] for argv in last if argv[0] == "echo") == ["0", "1", "2"]


def test_a_long_run_keeps_its_first_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 4000)
    monkeypatch.setattr(module, "MAX_TOTAL_BYTES", 8000)
    log = RunLog(tmp_path / "log", "long", debug=False)
    with log.recording():
        for number in range(200):
            run_log.event("process", "x", number=number, text="y" * 100)
    assert any(one["event"] == "start" for path in logs(tmp_path) for one in records(path))


def test_a_closed_standard_error_leaves_one_document(tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", f"exec {INV} doctor --json --debug 2>&-"],
        cwd=checkout(),
        env={"PATH": os.environ["PATH"], "HOME": "/", "BOOTWRIGHT_BUILD": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert json.loads(done.stdout)["schema"].startswith("bootwright.doctor/")


def test_arguments_that_may_be_secret_and_proxies_are_not_logged(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "log", "task", debug=False)
    with log.recording():
        run(["sh", "-c", ": command-geheim-9"], log_arguments=False)
        run(["true"], env={"https_proxy": "joe:pr0xypassw@proxy", "LANG": "C"})
    assert log.path is not None
    text = log.path.read_text()
    assert "geheim" not in text
    assert "pr0xypassw" not in text
    assert '"LANG": "C"' in text
