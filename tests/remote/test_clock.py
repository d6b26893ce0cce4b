"""A board's clock that is wrong is set, unless a time server keeps it right."""

import os
import subprocess
from pathlib import Path

import pytest

from bootwright.remote.clock import RTC, SAVED, clock_is_off, clock_text, set_clock_script
from bootwright.remote.io.clock import correct_clock
from bootwright.remote.io.connection import RemoteFinished
from tests.support.connection import AnsweringBoard
from tests.support.reporter import Notes

IN_2020 = 1577836800


@pytest.mark.parametrize(
    ("shown", "off"),
    [(1000.0, False), (941, False), (1069, False), (939, True), (1071, True), (0, True)],
)
def test_a_minute_and_the_time_of_the_answer_are_allowed(shown: float, off: bool) -> None:
    assert clock_is_off(shown, 1000.0, 1010.0) is off


def test_a_time_is_shown_as_a_date_where_it_has_one() -> None:
    assert clock_text(IN_2020) == "2020-01-01 00:00:00 UTC"
    assert clock_text(1e17) == "100000000000000000 s after 1970"


DATE = """
date() { for time; do :; done; echo "$time" >&2; case $time in %s) return 1 ;; esac; }
timedatectl() { echo %s; }
"""
"""Programs of the board: a date that refuses some times, and whether a time server is followed."""


def without_files(script: str) -> str:
    """Return the script for a board without a hardware clock, and without timesyncd."""
    return script.replace(RTC, "/nowhere").replace(SAVED, "/nowhere")


@pytest.mark.parametrize("shell", [["dash"], ["busybox", "sh"], ["bash"]])
@pytest.mark.parametrize(
    ("refused", "synchronised", "unless_right", "status", "times"),
    [
        ("none", "no", True, 0, ["@12.500"]),
        # A date that knows no fractions.
        ("*.*", "no", True, 0, ["@12"]),
        ("*", "no", True, 1, ["@12"]),
        ("none", "yes", True, 0, []),
        ("none", "yes", False, 0, ["@12.500"]),
    ],
)
def test_the_script(
    shell: list[str],
    refused: str,
    synchronised: str,
    unless_right: bool,
    status: int,
    times: list[str],
) -> None:
    script = DATE % (refused, synchronised) + without_files(
        set_clock_script(12.5, unless_right=unless_right)
    )
    # What is tried first is silent, since the second one may do.
    script = script.replace('echo "$time" >&2', 'echo "$time" >>/dev/fd/3')
    done = subprocess.run(
        [*shell, "-c", f"exec 3>&1; {{ {script}\n}} >/dev/null"], capture_output=True, text=True
    )
    assert done.returncode == status
    assert done.stdout.split()[-1:] == times


@pytest.mark.parametrize(
    ("rtc", "calls"),
    [("5000000", ["hwclock --systohc"]), ("59", []), ("1e9", []), (None, [])],
)
def test_the_next_start_of_the_board_begins_with_this_time(
    tmp_path: Path, rtc: str | None, calls: list[str]
) -> None:
    hardware, saved = tmp_path / "rtc", tmp_path / "clock"
    if rtc is not None:
        hardware.write_text(f"{rtc}\n")
    saved.write_text("")
    os.utime(saved, (0, 0))
    script = set_clock_script(12.5, unless_right=False)
    script = script.replace(RTC, str(hardware)).replace(SAVED, str(saved))
    programs = 'date() { :; }\nhwclock() { echo "hwclock $*" >&3; return 1; }\n'
    done = subprocess.run(
        ["dash", "-c", f"exec 3>&2; {{ {programs}{script}\n}}"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "\n== end\n")
    assert done.stderr.splitlines() == calls
    assert saved.stat().st_mtime > 0


@pytest.mark.parametrize("shell", [["dash"], ["busybox", "sh"], ["bash"]])
def test_a_hardware_clock_that_has_lost_its_power_is_set(tmp_path: Path, shell: list[str]) -> None:
    # Reading the time of such a clock fails (EINVAL); that of a folder does too.
    script = set_clock_script(5_000_000.5, unless_right=False)
    script = script.replace(RTC, str(tmp_path)).replace(SAVED, "/nowhere")
    programs = 'date() { :; }\nhwclock() { echo "hwclock $*"; }\n'
    script = f"{programs}{script}"
    script = script.replace("hwclock --systohc >/dev/null 2>&1", "hwclock --systohc")
    done = subprocess.run([*shell, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "hwclock --systohc\n\n== end\n")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("answer", "was_set", "message"),
    [
        ("== end\n", True, "shows 2020-01-01 00:00:00 UTC, this machine's 2"),
        ("== kept\n== end\n", False, "A time server keeps the board's right"),
        (
            RemoteFinished(1, b"", b"date: cannot set date: Operation not permitted"),
            False,
            "date: cannot set date: Operation not permitted",
        ),
    ],
)
def test_what_was_done_to_a_wrong_clock_is_reported(
    answer: str | RemoteFinished, was_set: bool, message: str
) -> None:
    board = AnsweringBoard({"setting the clock": [answer]})
    connection = board.network.connect(0)
    connection.connect()
    notes = Notes()
    assert correct_clock(connection, IN_2020, notes) is was_set
    assert message in " ".join([*notes.notes, *notes.warnings])
    assert bool(notes.warnings) is not was_set
