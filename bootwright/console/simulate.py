"""A board without hardware: ``inv simulate``.

It prints a recorded boot or a generated one on a pseudo-terminal, which a client opens like a
serial port, and reads what the client types.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bootwright.console.io.pty_line import PtyLine
from bootwright.console.replay import Peer, Player, log_steps, transcript_steps
from bootwright.console.sample_boot import sample_boot
from bootwright.console.simulated_board import SimulatedBoard
from bootwright.console.transcript import read_transcript
from bootwright.core.errors import InputError
from bootwright.core.report import Reporter
from bootwright.core.secret import Secret

GRACE_S = 0.3
"""Seconds from a client's opening the device to the first byte: pyserial discards what comes
earlier."""

POLL_S = 0.05
"""Seconds between checks whether a client has opened the device."""


@dataclass(frozen=True)
class SimulateOptions:
    """What to play.

    Attributes:
        transcript: a recording, asciicast or raw; ``None`` plays a generated boot.
        speed: how many times as fast as recorded.
        passphrase: the right passphrase of the generated boot.
        link: where to make a symbolic link to the device.
    """

    transcript: Path | None = None
    speed: float = 1.0
    passphrase: Secret | None = None
    link: Path | None = None


def simulate(options: SimulateOptions, announce: Callable[[str], None], reporter: Reporter) -> None:
    """Play a board until everything is printed and the client has closed it, or until Ctrl-C.

    Args:
        options: what to play.
        announce: gets the device's path as soon as it exists.
        reporter: gets a message about each event.

    Raises:
        InputError: there is neither a passphrase nor a recording that can be read, or the link
            exists.
    """
    peer = _peer(options)
    try:
        with PtyLine(options.link) as line:
            announce(str(line.device))
            where = f" at {options.link}" if options.link else ""
            reporter.note(f"waiting for a client{where}")
            _play(peer, line, reporter)
    except KeyboardInterrupt:
        # This is how the operator ends it.
        reporter.note("ended")


def _peer(options: SimulateOptions) -> Peer:
    path = options.transcript
    if path is None:
        if options.passphrase is None:
            raise InputError("give --passphrase-file, or --transcript with a recording to play")
        if options.speed != 1:
            raise InputError("--speed is for a recording; give --transcript too")
        return SimulatedBoard(sample_boot(options.passphrase))
    if options.passphrase is not None:
        raise InputError(
            "--passphrase-file is for a boot without --transcript: a recording takes any passphrase"
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot read it: {error.strerror}") from error
    if data.startswith(b"{"):
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: not UTF-8 text (at byte {error.start})") from None
        return Player(list(transcript_steps(read_transcript(text, str(path)))), options.speed)
    return Player(list(log_steps(data)), options.speed)


def _play(peer: Peer, line: PtyLine, reporter: Reporter) -> None:
    begin: float | None = None
    connected, waiting, over_reported = False, "", False
    while True:
        if line.has_client() != connected:
            connected = not connected
            reporter.note("client connected" if connected else "client disconnected")
            if connected and begin is None:
                begin = time.monotonic() + GRACE_S
            if not connected and not peer.over and line.free():
                reporter.note(f"the device is now {line.device}")
        if begin is None:
            line.wait(POLL_S)
            continue
        now = max(time.monotonic() - begin, 0.0)
        # What the client typed before it disconnected counts too.
        if typed := line.read():
            peer.type(typed, now)
        line.write(peer.due(now) if time.monotonic() >= begin else b"")
        if peer.over and not over_reported:
            over_reported = True
            reporter.note("the board has printed everything; waiting for the client to disconnect")
        if peer.over and not connected:
            return
        if peer.waiting != waiting:
            waiting = peer.waiting
            if waiting:
                reporter.note(f"waiting for {waiting}")
        line.wait(min(max(peer.next_at() - now, 0.001), POLL_S))
