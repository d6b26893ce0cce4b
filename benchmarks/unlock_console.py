"""Time the answer to a passphrase prompt, compared with ``expect``, and count the failures.

    .venv/bin/python benchmarks/unlock_console.py [--prompts N] [--seconds N] [--interrupted N]

It needs neither root nor a board: a simulated board prints to a pseudo-terminal at 115200 baud.
Each board is answered by a separate process, which opens the terminal as a serial port:

- ours: :func:`bootwright.volume.unlock.unlock`;
- expect: a usual Tcl script, which waits for the word "passphrase" and sends the passphrase;
- expect, careful: waits for the whole question for this disk, and then as long as ours.

An expect script could also send a TAB and wait for "(no echo) ", as ours does; then it would not
show the passphrase either. Processor time is measured by the kernel in ns (``schedstat``).
"""

import argparse
import io
import math
import multiprocessing
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from bootwright.console.io.pty_line import PtyLine
from bootwright.console.simulated_board import (
    LINE_SPEED,
    AskPassphrase,
    Output,
    Pieces,
    SimulatedBoard,
    interrupt,
)
from bootwright.console.systemd_messages import Dialect
from bootwright.core.endpoints import Endpoint
from bootwright.core.io.process import environment
from bootwright.core.report import TextReporter
from bootwright.core.secret import Secret
from bootwright.volume.unlock import UnlockOptions, unlock
from bootwright.volume.unlock_decisions import SETTLE_S

PASSPHRASE = b"only for a benchmark"
DISK = "docker-data on /mnt/docker-data"
WORDS = f"Please enter passphrase for disk {DISK}:".encode()
RECORD = b"[   19.089431] platform regulatory.0: firmware: failed to load regulatory.db (-2)\r\n"
QUESTION = Dialect().question(DISK)

GRACE_S = 0.3
"""Seconds from the opening of the port to the board's first byte; opening drops earlier bytes."""

LIMIT_S = 4.0
"""Seconds after the board's first byte within which a client has to answer."""

WARM_S = 1.5
"""Seconds after the board's first byte before measuring processor time starts."""

ECHO_DELAYS_S = (0.005, 0.05, 0.2, 0.5)
"""Seconds from the question until the board switches the echo off."""

LINES_PER_SECOND = 14
"""About 1.1 KB/s: Debian 12 without `quiet` prints 29.7 KB in the 27 s before its prompt."""

PIECE_S = 0.001
"""Seconds between two pieces that arrive at the client: the shortest wait of poll(2)."""

FTDI_S = 0.016
"""The same for the most common USB serial adapter (FTDI), set by its driver (``latency_timer``)."""

FULL_S = 10.0
"""Seconds of measuring with output at the full speed of the line."""

PARALLEL = 12
"""Boards that are answered at the same time."""

EXPECT = r"""
set port [open [lindex $argv 0] r+]
fconfigure $port -mode 115200,n,8,1 -translation binary
spawn -open $port
set timeout -1
%s
send "$env(PASSPHRASE)\r"
expect "Mounted"
"""
PLAIN = 'expect "passphrase"'
CAREFUL = rf"""expect -re {{passphrase for disk {DISK}: \(press TAB for no echo\) }}
after {SETTLE_S * 1000:.0f}"""


def ours(device: Path) -> None:
    endpoint = Endpoint(f"benchmark-{os.getpid()}", str(device))
    options = UnlockOptions(via="serial")
    unlock(endpoint, Secret(PASSPHRASE), TextReporter(io.StringIO()), options)


@contextmanager
def our_client(device: Path) -> Iterator[int]:
    process = multiprocessing.get_context("fork").Process(target=ours, args=(device,))
    process.start()
    try:
        yield process.pid or 0
    finally:
        process.kill()
        process.join()


@contextmanager
def expect_client(script: str, device: Path) -> Iterator[int]:
    argv = ["expect", "-c", f"set argv [list {device}]\n{EXPECT % script}"]
    env = {**environment(), "PASSPHRASE": PASSPHRASE.decode()}
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, env=env) as process:
        try:
            yield process.pid
        finally:
            process.kill()


@contextmanager
def client(name: str, device: Path) -> Iterator[int]:
    """Run a client until the context ends; gives its process id."""
    if name == "ours":
        with our_client(device) as pid:
            yield pid
    else:
        with expect_client(PLAIN if name == "expect" else CAREFUL, device) as pid:
            yield pid


CLIENTS = ("ours", "expect", "expect, careful")


@dataclass(frozen=True)
class Run:
    """The result of one board; times are in seconds from the last byte of the prompt.

    Attributes:
        key: when the client sent its first byte.
        secret: when the client sent the first byte of the passphrase.
        delivered: the question received the passphrase.
        shown: how many bytes of the passphrase the terminal showed in clear.
        length: whether asterisks showed the length of the passphrase.
    """

    key: float
    secret: float
    delivered: bool
    shown: int
    length: bool


def pump(
    board: SimulatedBoard,
    line: PtyLine,
    begin: float,
    typed: list[float],
    piece: float = PIECE_S,
) -> bytes:
    """Move bytes that are due in both directions, then wait a moment; return what was printed."""
    now = max(time.monotonic() - begin, 0)
    if data := line.read():
        typed += [time.monotonic()] * len(data)
        board.type(data, now)
    if out := board.due(now):
        line.write(out)
        return out
    line.wait(min(max(board.next_at() - now, piece), 0.05))
    return b""


def await_client(line: PtyLine) -> float:
    """Wait until the client has opened the device; return the time at which the board starts."""
    while not line.has_client():
        time.sleep(0.005)
    begin = time.monotonic() + GRACE_S
    time.sleep(GRACE_S)
    return begin


def run(name: str, prompt: Pieces, echo_delay: float, pause: float) -> Run:
    """Let a client answer a board's prompt."""
    ask = AskPassphrase(DISK, Dialect(), prompt, PASSPHRASE, echo_delay=echo_delay)
    board = SimulatedBoard((Output(((0.0, RECORD), (pause, RECORD))), ask))
    printed, prompt_at, typed = b"", math.nan, list[float]()
    length = sum(len(data) for _, data in prompt) + 2 * len(RECORD)
    with PtyLine() as line, client(name, line.device):
        begin = await_client(line)
        while time.monotonic() < begin + LIMIT_S and not board.answers:
            printed += pump(board, line, begin, typed)
            # Bytes that are sent before the prompt's end are echoed within the prompt.
            if math.isnan(prompt_at) and len(printed) >= length and prompt[-1][1] in printed:
                prompt_at = time.monotonic()
    keys = b"".join(data for _, data in board.typed)
    at = keys.find(PASSPHRASE)
    answer = board.answers[0] if board.answers else None
    return Run(
        key=typed[0] - prompt_at if typed else math.nan,
        secret=typed[at] - prompt_at if at >= 0 else math.nan,
        delivered=answer is not None and answer.given == PASSPHRASE,
        shown=len(answer.echoed.strip(b"\t\x15")) if answer else 0,
        length=answer is not None and not answer.hidden,
    )


def whole_prompt() -> Pieces:
    return tuple((0.0, part) for part in QUESTION)


def latencies(name: str, prompts: int) -> list[Run]:
    """Let a client answer boards one after another; the moments within a read's wait are random."""
    rng = Random(0)
    return [run(name, whole_prompt(), 0.005, rng.uniform(0, 0.2)) for _ in range(prompts)]


def interrupted_run(name: str, at: int) -> Run:
    """Let a client answer a question that a kernel message interrupts after ``at`` bytes."""
    text = b"".join(QUESTION)
    return run(name, interrupt(text, ((text.index(WORDS) + at, 0.0, RECORD),)), 0.005, 0.1)


def echo_run(name: str, echo_delay: float) -> Run:
    """Let a client answer a board that switches the echo off after ``echo_delay`` seconds."""
    return run(name, whole_prompt(), echo_delay, 0.1)


def boot_text(lines: int, per_second: float) -> Pieces:
    """Return the messages of a boot: every third line from systemd, the others from the kernel."""
    status = Dialect().status("OK", "Started", "systemd-udevd.service", "Rule-based Manager.")
    each = [RECORD, RECORD, status]
    pause = 1 / per_second if per_second else 0.0
    # A piece starts after the previous one was transmitted, so that time is subtracted.
    return tuple(
        (max(pause - len(line) / LINE_SPEED, 0.0), line)
        for line in (each[number % 3] for number in range(lines))
    )


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process, in seconds."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def load(name: str, text: Pieces, seconds: float, piece: float) -> tuple[float, float]:
    """Let a client wait while a board prints; return its share of a core, and bytes per second."""
    board = SimulatedBoard((Output(text),))
    with PtyLine() as line, client(name, line.device) as pid:
        begin = await_client(line)
        count, before, since = 0, math.nan, math.nan
        while (now := time.monotonic()) < begin + WARM_S + seconds:
            if math.isnan(since) and now >= begin + WARM_S:
                count, before, since = 0, cpu_seconds(pid), now
            count += len(pump(board, line, begin, [], piece))
        took = time.monotonic() - since
        return (cpu_seconds(pid) - before) / took, count / took


def summary(values: Sequence[float]) -> str:
    ordered = sorted(values)
    p95 = ordered[math.ceil(0.95 * len(ordered)) - 1]
    times = (statistics.median(ordered), p95, ordered[-1])
    return "  ".join(f"{1000 * value:7.1f}" for value in times)


def report_latencies(pool: ProcessPoolExecutor, prompts: int) -> None:
    pending = {name: pool.submit(latencies, name, prompts) for name in CLIENTS}
    runs = {name: future.result() for name, future in pending.items()}
    print(f"from the prompt's last byte, {prompts} prompts each: median, 95 %, longest, in ms")
    medians: dict[str, dict[str, float]] = {}
    kinds: dict[str, Callable[[Run], float]] = {
        "first key": lambda each: each.key,
        "passphrase": lambda each: each.secret,
    }
    for kind, value in kinds.items():
        for name, each in runs.items():
            values = [value(one) for one in each if one.delivered]
            medians.setdefault(kind, {})[name] = statistics.median(values)
            print(f"  {kind:11} {name:16} {summary(values)}  ({len(values)} delivered)")
    for kind, median in medians.items():
        mine, plain, careful = (median[name] for name in CLIENTS)
        print(f"  {kind}, ours: {mine / careful:.2f} × expect, careful;", end=" ")
        print(f"{1000 * (mine - plain):.0f} ms after expect", flush=True)
    print(f"  of ours, {1000 * SETTLE_S:.0f} ms wait for the echo to go off")


def report_loads(pool: ProcessPoolExecutor, seconds: float) -> None:
    print(f"processor time while waiting, % of one core, {seconds:.0f} s")
    boot = boot_text(int((seconds + WARM_S + 1) * LINES_PER_SECOND), LINES_PER_SECOND)
    full = boot_text(int((FULL_S + WARM_S + 1) * LINE_SPEED / 70), 0)
    name = f"boot, {LINES_PER_SECOND} lines/s"
    report_scenes(
        pool,
        {
            "silent": ((), seconds, PIECE_S),
            f"{name}, every {1000 * PIECE_S:.0f} ms": (boot, seconds, PIECE_S),
        },
    )
    report_scenes(
        pool,
        {
            f"{name}, every {1000 * FTDI_S:.0f} ms": (boot, seconds, FTDI_S),
            f"full line, every {1000 * FTDI_S:.0f} ms, {FULL_S:.0f} s": (full, FULL_S, FTDI_S),
        },
    )


def report_scenes(
    pool: ProcessPoolExecutor, scenes: dict[str, tuple[Pieces, float, float]]
) -> None:
    pending = {
        scene: [pool.submit(load, name, *what) for name in ("ours", "expect")]
        for scene, what in scenes.items()
    }
    for scene, futures in pending.items():
        (mine, rate), (peer, _) = (future.result() for future in futures)
        ratio = f"{mine / peer:.1f} ×" if peer > 1e-5 else "-"
        print(f"  {scene:30} {rate:6.0f} B/s  ours {100 * mine:6.3f}", end="")
        print(f"  expect {100 * peer:6.3f}  {ratio}", flush=True)


def report_interrupted(pool: ProcessPoolExecutor, count: int) -> None:
    places = [1 + number * (len(WORDS) - 1) // count for number in range(count)]
    pending = {name: [pool.submit(interrupted_run, name, at) for at in places] for name in CLIENTS}
    print(f"a message of the kernel within the question, at {count} places: delivered")
    for name, futures in pending.items():
        runs = [future.result() for future in futures]
        clear = sum(each.shown > 0 for each in runs)
        print(f"  {name:16} {sum(each.delivered for each in runs):3} of {count}", end="")
        print(f", shown in clear {clear}")


def report_echo(pool: ProcessPoolExecutor, count: int) -> None:
    pending = {
        (name, delay): [pool.submit(echo_run, name, delay) for _ in range(count)]
        for delay in ECHO_DELAYS_S
        for name in CLIENTS
    }
    print(f"the echo goes off late, {count} boards each: delivered; passphrase shown in", end="")
    print(f" clear (of its {len(PASSPHRASE)} bytes, at most); only its length shown")
    for (name, delay), futures in pending.items():
        runs = [future.result() for future in futures]
        delivered = sum(each.delivered for each in runs)
        clear = sum(each.shown > 0 for each in runs)
        most = max(each.shown for each in runs)
        length = sum(each.length and not each.shown for each in runs)
        print(
            f"  {1000 * delay:4.0f} ms  {name:16} {delivered:3}  {clear:3} ({most:2})  {length:3}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=50, help="prompts to time for each client")
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="seconds of measuring processor time"
    )
    parser.add_argument(
        "--interrupted",
        type=int,
        default=32,
        help="places at which a kernel message interrupts the question",
    )
    parser.add_argument("--boards", type=int, default=10, help="boards for each delay of the echo")
    arguments = parser.parse_args()

    start = time.monotonic()
    print(f"load average {os.getloadavg()[0]:.2f} at the start", flush=True)
    fork = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BOOTWRIGHT_BUILD"] = folder
        with ProcessPoolExecutor(PARALLEL, fork) as pool:
            report_latencies(pool, arguments.prompts)
            report_loads(pool, arguments.seconds)
            report_interrupted(pool, arguments.interrupted)
            report_echo(pool, arguments.boards)
    print(f"load average {os.getloadavg()[0]:.2f} at the end,", end=" ")
    print(f"{time.monotonic() - start:.0f} s in all")


if __name__ == "__main__":
    main()
