"""Jobs on a board: over a real server, with connections that are cut, to the job's end."""

import contextlib
import ctypes
import os
import queue
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from bootwright.core.errors import FailedError
from bootwright.core.file_changes import FileChange
from bootwright.core.report import Meter
from bootwright.core.secret import Secret
from bootwright.core.shell import render
from bootwright.remote import job_script
from bootwright.remote.io.connection import Remote
from bootwright.remote.job import Reconnector, run_job
from bootwright.remote.job_script import FOLDER, JOB_FUNCTIONS, JobState, follow_script, job_state
from bootwright.remote.sections import parse_sections
from tests.support.sshserver import USER, SshServer, need_sshd

pytestmark = pytest.mark.integration

PR_SET_CHILD_SUBREAPER = 36
"""See prctl(2)."""

SECRET = "correct horse battery staple"

FUNCTIONS = render(*JOB_FUNCTIONS)
"""What a job's script begins with."""

WAITS = f"{FUNCTIONS}mkfifo go more\nprogress waits\nread word <go\n"
"""A job that waits for a word in the pipe ``go`` of its folder; for a second one, ``more``.

One pipe for both would not do: a writer that has not closed it yet is there for a second
reader, who then reads its end.
"""


class Notes:
    """A reporter whose notes can be waited for."""

    def __init__(self) -> None:
        self._notes: queue.Queue[str] = queue.Queue()
        self.all: list[str] = []

    def step(self, title: str) -> AbstractContextManager[None]:
        return nullcontext()

    def meter(self, title: str, total: int | None) -> AbstractContextManager[Meter]:
        raise AssertionError(title)

    def note(self, text: str) -> None:
        self.all.append(text)
        self._notes.put(text)

    def warn(self, text: str) -> None:
        raise AssertionError(text)

    def until(self, word: str) -> None:
        """Wait for a note with this word."""
        while word not in self._notes.get(timeout=60):
            pass


class Started:
    """A job that is followed in the background."""

    def __init__(self, link: Reconnector, script: str, **more: float) -> None:
        self.notes = Notes()
        self._end: queue.Queue[JobState | FailedError] = queue.Queue()
        options = {"timeout": 60.0, "patience": 20.0, **more}
        self._arguments = (link, script, options)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        link, script, options = self._arguments
        try:
            self._end.put(run_job(link, "work", script, {}, reporter=self.notes, **options))
        except FailedError as error:
            self._end.put(error)

    def end(self) -> JobState | FailedError:
        """Return how it ended."""
        return self._end.get(timeout=120)


class Board:
    """A server, with what a test does behind a job's back."""

    def __init__(self, server: SshServer, known: Path) -> None:
        self.server, self.known = server, known
        self._links: list[Reconnector] = []
        assert server.run is not None
        self.folder = server.run / FOLDER.removeprefix("/run/") / "work"

    def link(self, user: str = "root") -> Reconnector:
        """Connect."""
        endpoint = self.server.endpoint(user)
        link = Reconnector(lambda wait: Remote(endpoint, directory=self.known, wait=wait), 0.0)
        link.board.connect()
        self._links.append(link)
        return link

    def run(self, script: str, **files: FileChange) -> JobState:
        """Run a job to its end."""
        return run_job(
            self.link(), "work", script, files, timeout=60, patience=20, reporter=Notes()
        )

    def go_on(self, pipe: str = "go") -> None:
        """Have the job that waits at this pipe go on."""
        (self.folder / pipe).write_text("on\n")

    def cut(self) -> None:
        """End every session that there is, as a lost network would."""
        children = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children")
        sessions = [int(pid) for pid in children.read_text().split()]
        assert sessions
        for pid in sessions:
            os.kill(pid, signal.SIGKILL)

    def kill(self) -> None:
        """End the job at once, with everything that it started."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.folder / "pid").read_text())
            os.killpg(pid, signal.SIGKILL)
            # Ours since it has no other parent any more; until then its number is taken.
            os.waitpid(pid, 0)

    def close(self) -> None:
        for link in self._links:
            link.close()
        self.kill()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    need_sshd()
    if Path("/run/systemd/system").exists():
        pytest.skip("systemd runs here: a job would become a unit of this machine")
    server = SshServer(tmp_path_factory.mktemp("sshd"), own_run=True)
    # A job that its session left behind becomes a child of ours, as it would one of init's.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    yield server.start()
    server.stop()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0)


@pytest.fixture
def board(server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    board = Board(server, tmp_path / "known")
    yield board
    board.close()


def sections_of(state: JobState | FailedError) -> list[tuple[str, tuple[str, ...]]]:
    assert isinstance(state, JobState), state
    assert not state.gone
    return [(section.name, section.lines) for section in state.sections]


def test_output_and_status_come_back_and_what_it_does_is_reported(board: Board) -> None:
    script = (
        f"{FUNCTIONS}progress 'it'\"'\"'s \"$HOME\" é'; section one; echo '|a b'; echo oops >&2\n"
        "printf 'x\\n== status\\n' | quoted; section two; exit 7\n"
    )
    state = board.run(script)
    assert state.status == 7
    assert sections_of(state) == [("one", ("a b", "x", "== status")), ("two", ())]
    assert board.run(f"{FUNCTIONS}section again").sections[0].name == "again"


def test_a_job_reads_nothing_and_has_no_terminal(board: Board) -> None:
    state = board.run(f"{FUNCTIONS}section in; cat; [ -t 0 ] || echo '|no terminal'; pwd | quoted")
    assert sections_of(state) == [("in", ("no terminal", f"{FOLDER}/work"))]


def test_a_job_outlives_its_session_and_is_followed_over_a_new_one(board: Board) -> None:
    job = Started(
        board.link(),
        f'{WAITS}progress again; read more <more; section went; echo "|$word, $more"',
    )
    job.notes.until("waits")
    board.cut()
    job.notes.until("connecting again")
    board.go_on()
    job.notes.until("again")
    board.cut()
    job.notes.until("connecting again")
    board.go_on("more")
    assert sections_of(job.end()) == [("went", ("on, on",))]


def test_a_board_that_stays_away_is_given_up_and_its_job_goes_on(
    board: Board, server: SshServer
) -> None:
    job = Started(board.link(), f"{WAITS}section went", patience=0.5)
    job.notes.until("waits")
    sessions = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    server.stop()
    for pid in sessions:
        os.kill(int(pid), signal.SIGKILL)
    error = job.end()
    assert isinstance(error, FailedError)
    assert "Is the board on" in str(error)
    assert "The board goes on by itself" in str(error)
    server.start()
    state = job_state(
        parse_sections(
            board.link().board.run(follow_script("work", ""), title="t", timeout=20).text
        )
    )
    assert (state.status, state.gone, state.progress) == (None, False, "waits")
    board.go_on()
    assert board.folder.exists()


def test_a_job_that_dies_without_a_status_was_broken_off(board: Board) -> None:
    job = Started(board.link(), f"{WAITS}exit 0")
    job.notes.until("waits")
    board.kill()
    error = job.end()
    assert isinstance(error, FailedError)
    assert "work: it was interrupted (was the board restarted?); run it again" in str(error)
    # The next one takes its place.
    assert board.run("exit 3").status == 3


def test_a_restart_of_the_board_breaks_a_job_off(board: Board) -> None:
    job = Started(board.link(), f"{WAITS}exit 0")
    job.notes.until("waits")
    board.kill()
    shutil.rmtree(board.folder)
    assert "interrupted" in str(job.end())


def test_one_of_a_name_at_a_time(board: Board) -> None:
    job = Started(board.link(), f"{WAITS}section first")
    job.notes.until("waits")
    with pytest.raises(FailedError, match="work is under way on this board already"):
        board.run(f"{FUNCTIONS}section second")
    # Not even its files were touched.
    board.go_on()
    assert sections_of(job.end()) == [("first", ())]
    assert sections_of(board.run(f"{FUNCTIONS}section second")) == [("second", ())]


def test_two_that_begin_at_once_do_not_mix(board: Board) -> None:
    lock = board.folder.with_name("lock")
    assert board.run("exit 0").status == 0
    with subprocess.Popen(
        ["flock", str(lock), "sh", "-c", "echo held; read word"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(FailedError, match="another inv provision begins on this board"):
            board.run("exit 0")
        holder.communicate(b"\n")
    # The job that was started has not inherited the lock.
    assert board.run("exit 0").status == 0


@pytest.mark.parametrize("user", ["root", USER])
def test_files_arrive_with_owner_and_mode_and_a_secret_shows_nowhere(
    board: Board, server: SshServer, user: str
) -> None:
    if user != "root" and not Path("/usr/bin/sudo").exists():
        pytest.fail("sudo is not installed: run scripts/setup test")
    server.sudoers(f"{USER} ALL=(ALL) NOPASSWD: ALL")
    # While the archive is unpacked, and while the job runs.
    look = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ >>/etc/tools/seen 2>/dev/null"
    server.tool("tar", f'{look}\nexec /usr/bin/tar "$@"')
    script = (
        f"{FUNCTIONS}{look}\nsection files\n"
        "stat -c '|%n %a %u:%g' . job secret plain; section secret; quoted <secret\n"
    )
    files = {
        "secret": FileChange("/x", Secret(SECRET.encode()), 0o400, 12, 34),
        "plain": FileChange("/y", b"\0\xff" * 500_000, 0o4755),
    }
    state = run_job(
        board.link(user), "work", script, files, timeout=60, patience=20, reporter=Notes()
    )
    assert sections_of(state) == [
        ("files", (". 700 0:0", "job 700 0:0", "secret 400 12:34", "plain 4755 0:0")),
        ("secret", (SECRET,)),
    ]
    assert (board.folder / "plain").read_bytes() == b"\0\xff" * 500_000
    seen = (server.tools / "seen").read_bytes()
    assert b"sshd" in seen
    assert SECRET.encode() not in seen
    assert SECRET not in server.log.read_text()
    for path in (board.folder, board.folder.parent):
        assert oct(path.stat().st_mode & 0o7777) == "0o700"


def test_a_job_without_end_is_left_running_after_its_time(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_script, "SLICE_S", 1)
    job = Started(board.link(), f"{WAITS}section went", timeout=0.5)
    error = job.end()
    assert isinstance(error, FailedError)
    assert "work: no end after 0 s; it goes on there" in str(error)
    with pytest.raises(FailedError, match="under way"):
        board.run("exit 0")
    board.go_on()


def test_what_cannot_be_started_is_reported(board: Board, server: SshServer) -> None:
    server.tool("tar", "echo 'tar: no space left' >&2; exit 2")
    try:
        with pytest.raises(
            FailedError, match=r"work cannot be started .*\n  standard error: tar: no space left"
        ):
            board.run("exit 0")
    finally:
        (server.tools / "tar").unlink()


def follow(board: Board, before: str) -> JobState:
    """Follow a job once, with something that happens in the middle of the script."""
    script = before + follow_script("work", "")
    return job_state(parse_sections(board.link().board.run(script, title="t", timeout=20).text))


def test_a_job_that_ends_while_one_looks_is_not_taken_for_interrupted(board: Board) -> None:
    job = Started(board.link(), f"{WAITS}section went")
    job.notes.until("waits")
    # It ends between the look for its status and that for its process.
    happens = f"kill() {{ echo 5 >{FOLDER}/work/status; return 1; }}\n"
    assert follow(board, happens).status == 5
    board.go_on()
    job.end()


def test_a_job_whose_number_is_being_written_is_not_taken_for_interrupted(board: Board) -> None:
    board.folder.mkdir(parents=True, exist_ok=True)
    for path in board.folder.iterdir():
        path.unlink()
    (board.folder / "pid").write_text("")
    assert not follow(board, "sleep() { :; }\n").gone


def test_a_board_that_answers_no_more_is_not_asked_for_ever(
    board: Board, server: SshServer
) -> None:
    server.sudoers(f"{USER} ALL=(ALL) NOPASSWD: ALL")
    job = Started(board.link(USER), f"{WAITS}exit 0", timeout=2.0)
    job.notes.until("waits")
    # From now on every look fails, over every connection.
    server.sudoers("")
    board.cut()
    error = job.end()
    assert isinstance(error, FailedError)
    assert "sudo" in str(error)
    board.go_on()


def test_a_job_that_says_very_much_still_tells_its_end(board: Board) -> None:
    state = board.run(f"{FUNCTIONS}seq 1 300000; section end-of-it; echo '|here'")
    assert sections_of(state)[-1] == ("end-of-it", ("here",))
    assert state.status == 0
