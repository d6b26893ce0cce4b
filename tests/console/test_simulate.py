"""`inv simulate`: a board on a pseudo-terminal, and clients that open it like a serial port."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import serial

from bootwright.console.boot import BootWatcher
from bootwright.console.io.pty_line import PtyLine
from bootwright.console.io.serial_port import SerialPort
from bootwright.console.replay import Await, Player, Print, log_steps, transcript_steps
from bootwright.console.simulate import SimulateOptions, simulate
from bootwright.console.systemd_messages import HIDDEN, HINT
from bootwright.console.transcript import Event, Writer, header_line
from bootwright.core.errors import InputError
from bootwright.core.paths import checkout
from bootwright.core.report import TextReporter
from bootwright.core.secret import Secret
from bootwright.volume.unlock_result import Result, UnlockResult
from bootwright.volume.unlock_session import UnlockSession

pytestmark = pytest.mark.integration

CASES = Path(__file__).parent.parent / "cases" / "console"
RECORDED = CASES / "debian12-systemd252-unlock.log"
WRONG_FIRST = CASES / "debian12-systemd252-wrong-then-right.log"
SECRET = b"correct horse"
PROMPT = b"Please enter passphrase for disk docker-data on /mnt/docker-data: " + HINT
ERASED = b"\b \b" * len(HINT)
OPENED = b"\r\n[  OK  ] Finished Cryptography Setup for docker-data.\r\n"


@contextmanager
def simulated(options: SimulateOptions) -> Iterator[tuple[str, io.StringIO]]:
    """Run the simulator in a thread; it has to end by itself when the context does."""
    log, devices, errors = io.StringIO(), list[str](), list[BaseException]()
    ready = threading.Event()

    def announce(device: str) -> None:
        devices.append(device)
        ready.set()

    def run() -> None:
        try:
            simulate(options, announce, TextReporter(log))
        except BaseException as error:
            errors.append(error)
            ready.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    if not errors:
        yield devices[0], log
    thread.join(20)
    assert not thread.is_alive()
    assert not errors, errors


class Client:
    """The host's end, as `inv unlock` has it."""

    def __init__(self, port: SerialPort) -> None:
        self.read, self.write = port.read, port.write

    def history(self) -> bytes:
        return b""


def run_unlock(device: str, secret: bytes = SECRET) -> UnlockResult:
    with SerialPort(device, 115200) as port:
        return UnlockSession(
            target="board",
            watcher=BootWatcher("docker-data", "/mnt/docker-data"),
            console=Client(port),
            passphrase=Secret(secret),
            timeout=60,
            reporter=TextReporter(io.StringIO()),
        ).run()


def write_transcript(path: Path, *events: Event) -> Path:
    writer = Writer()
    lines = [writer.line(event) for event in events]
    path.write_text(header_line("a board", 0) + "".join(lines), encoding="utf-8")
    return path


def test_the_made_up_boot_is_unlocked(tmp_path: Path) -> None:
    link = tmp_path / "board"
    options = SimulateOptions(passphrase=Secret(SECRET), link=link)
    stop = threading.Event()

    def client() -> None:
        while not link.exists() and not stop.wait(0.05):
            pass
        results.append(run_unlock(str(link)))
        # Then the board goes to its login prompt, and would wait for ever.
        os.kill(os.getpid(), signal.SIGINT)

    results: list[UnlockResult] = []
    log = io.StringIO()
    thread = threading.Thread(target=client)
    thread.start()
    try:
        simulate(options, lambda _: None, TextReporter(log))
    finally:
        stop.set()
        thread.join(20)
    assert [one.result for one in results] == [Result.UNLOCKED]
    assert not link.is_symlink()
    assert "client connected" in log.getvalue()
    assert "waiting for the passphrase of docker-data" in log.getvalue()
    assert SECRET.decode() not in log.getvalue()


def test_a_transcript_waits_for_what_was_typed(tmp_path: Path) -> None:
    path = write_transcript(
        tmp_path / "boot.cast",
        Event(0.5, "o", b"Linux \xff\r\n" + PROMPT),
        Event(40.0, "m", b"the line was cut"),
        Event(50.0, "i", b"\t"),
        Event(50.1, "o", ERASED + b"(no echo) "),
        Event(51.0, "i", b"\x15***\n"),
        Event(52.0, "o", OPENED),
        Event(60.0, "o", b"\r\nboard login: "),
    )
    with simulated(SimulateOptions(path, speed=20)) as (device, log):
        begin = time.monotonic()
        result = run_unlock(device, b"any passphrase")
    assert (result.result, result.attempts) == (Result.UNLOCKED, 1)
    # Sixty seconds were recorded; fifty of them were waiting.
    assert time.monotonic() - begin < 15
    assert "waiting for a key" in log.getvalue()
    assert "waiting for Enter" in log.getvalue()


def test_a_recorded_console_comes_out_as_it_was(tmp_path: Path) -> None:
    data = bytes(range(256)) * 20
    path = write_transcript(tmp_path / "boot.cast", Event(0.0, "o", data))
    got = bytearray()
    with (
        simulated(SimulateOptions(path)) as (device, _),
        serial.Serial(device, 115200, timeout=0.5) as port,
    ):
        while len(got) < len(data):
            got += port.read(4096)
    assert bytes(got) == data


@pytest.mark.parametrize("recorded", [RECORDED, WRONG_FIRST])
def test_a_raw_log_is_played_to_the_end(recorded: Path) -> None:
    with simulated(SimulateOptions(recorded, speed=5)) as (device, _):
        result = run_unlock(device)
        if recorded == WRONG_FIRST:
            with serial.Serial(device, timeout=10) as port:
                port.write(b"right\n")
                assert port.read_until(b"login: ").endswith(b"login: ")
    wrong = recorded == WRONG_FIRST
    assert result.result is (Result.WRONG_PASSPHRASE if wrong else Result.UNLOCKED)


def test_a_client_can_come_and_go(tmp_path: Path) -> None:
    path = write_transcript(
        tmp_path / "boot.cast",
        Event(0.0, "o", b"one\r\n"),
        Event(1.0, "i", b"ab"),
        Event(1.0, "o", b"two\r\n"),
    )
    with simulated(SimulateOptions(path)) as (device, log):
        with serial.Serial(device, exclusive=True, timeout=5) as port:
            assert port.read(5) == b"one\r\n"
            port.write(b"a")
        deadline = time.monotonic() + 5
        while "client disconnected" not in log.getvalue() and time.monotonic() < deadline:
            time.sleep(0.05)
        with serial.Serial(device, exclusive=True, timeout=5) as port:
            time.sleep(0.2)
            port.write(b"b")
            assert port.read(5) == b"two\r\n"
    assert log.getvalue().count("client connected") == 2


def test_a_device_that_a_client_left_to_itself_alone_is_replaced(tmp_path: Path) -> None:
    link = tmp_path / "board"
    with PtyLine(link) as line:
        before = line.device
        assert not line.free()
        with pytest.MonkeyPatch.context() as patch:
            # As the kernel does for all but root.
            def busy(*_: object) -> int:
                raise OSError(16, "Device or resource busy")

            patch.setattr(os, "open", busy)
            assert line.free()
        assert link.readlink() == line.device
        assert line.device.exists()
        assert (line.device == before) or not before.exists()


def test_a_client_that_sets_nothing_gets_a_raw_line() -> None:
    with PtyLine() as line:
        client = os.open(line.device, os.O_RDWR | os.O_NOCTTY)
        try:
            line.write(b"a\nb\r")
            assert os.read(client, 9) == b"a\nb\r"
            os.write(client, b"c\n\x03")
            line.wait(5)
            # Without an echo of what was printed, too.
            assert line.read() == b"c\n\x03"
        finally:
            os.close(client)


def test_the_link_is_made_once_and_removed(tmp_path: Path) -> None:
    link = tmp_path / "board"
    link.write_text("mine")
    with pytest.raises(InputError, match="it exists"):
        PtyLine(link)
    assert link.read_text() == "mine"
    link.unlink()
    # What a simulator that was killed left behind.
    link.symlink_to("/dev/pts/99999")
    with PtyLine(link) as line:
        assert link.readlink() == line.device
    assert not link.is_symlink()
    with pytest.raises(InputError, match="cannot make the link"):
        PtyLine(tmp_path / "no" / "board")


def test_what_cannot_be_played(tmp_path: Path) -> None:
    def why(options: SimulateOptions) -> str:
        with pytest.raises(InputError) as raised:
            simulate(options, print, TextReporter(io.StringIO()))
        return str(raised.value)

    bad = tmp_path / "bad.cast"
    assert "--passphrase-file" in why(SimulateOptions())
    assert "--speed" in why(SimulateOptions(speed=2, passphrase=Secret(SECRET)))
    assert "any passphrase" in why(SimulateOptions(RECORDED, passphrase=Secret(SECRET)))
    assert "cannot read it" in why(SimulateOptions(bad))
    bad.write_bytes(b'{"version": 1}\n')
    assert "not a transcript" in why(SimulateOptions(bad))
    bad.write_bytes(b"{\xff")
    assert "not UTF-8" in why(SimulateOptions(bad))


def test_the_task(tmp_path: Path) -> None:
    path = write_transcript(tmp_path / "boot.cast", Event(0.0, "o", b"hello\r\n"))
    link = tmp_path / "board"
    command = [sys.executable, "-m", "invoke", "simulate", "--transcript", str(path)]
    with subprocess.Popen(
        [*command, "--link", str(link)],
        cwd=checkout(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        device = process.stdout.readline().strip()
        assert link.readlink() == Path(device)
        with serial.Serial(str(link), timeout=5) as port:
            assert port.read(7) == b"hello\r\n"
        assert process.wait(10) == 0
        assert "client connected" in process.stderr.read()
    done = subprocess.run(
        [*command[:4], "--speed", "0"], cwd=checkout(), capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "--speed" in done.stderr


# The player alone.


def test_time_goes_on_from_what_was_typed() -> None:
    player = Player([Print(1.0, b"a"), Await(count=2), Print(1.0, b"b")], speed=2)
    assert player.next_at() == 0.5
    assert player.due(0.4) == b""
    assert player.due(0.6) == b"a"
    assert (player.due(50), player.waiting, player.next_at()) == (b"", "2 keys", float("inf"))
    player.type(b"x", 50)
    assert player.due(60) == b""
    player.type(b"yz", 60)
    assert player.waiting == ""
    assert player.due(60.4) == b""
    assert player.due(60.5) == b"b"
    assert player.over


def test_what_was_typed_early_counts() -> None:
    player = Player([Print(1.0, b"a"), Await(count=1), Await(), Print(1.0, b"b")])
    player.type(b"\tsecret\r", 0.5)
    assert player.due(1.9) == b"a"
    assert player.due(2.0) == b"b"


def test_steps_of_a_transcript() -> None:
    events = [
        Event(1.0, "o", b"a"),
        Event(2.0, "i", b"x"),
        Event(2.5, "i", b"yz"),
        Event(3.0, "m", b"remark"),
        Event(4.0, "o", b"b"),
        Event(5.0, "i", b"***"),
        Event(5.0, "i", b"\n"),
        Event(5.5, "o", b"c"),
        Event(6.0, "i", b"***"),
    ]
    assert list(transcript_steps(events)) == [
        Print(1.0, b"a"),
        Await(count=3),
        Print(1.5, b"b"),
        Await(),
        Print(0.5, b"c"),
        Await(count=1),
    ]


def test_steps_of_a_raw_log() -> None:
    assert b"".join(
        step.data if isinstance(step, Print) else step.otherwise
        for step in log_steps(RECORDED.read_bytes())
    ) == (RECORDED.read_bytes())
    waits = [step for step in log_steps(WRONG_FIRST.read_bytes()) if isinstance(step, Await)]
    reply = ERASED + HIDDEN
    assert waits == [Await(1, reply, reply), Await(), Await(1, reply, reply), Await()]


def test_a_raw_log_without_a_hint() -> None:
    log = b"Please enter passphrase for disk swap! ***\r\nPlease unlock disk x: \r\ndone\r\n"
    steps = list(log_steps(log))
    assert [step for step in steps if isinstance(step, Await)] == [
        Await(1, HIDDEN, b"***"),
        Await(),
        Await(),
    ]
    assert isinstance(steps[-1], Print) and steps[-1].data == b"done\r\n"
