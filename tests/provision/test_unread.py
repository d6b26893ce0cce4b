"""Whether a service has read its files since they were changed, whatever happened to the clock."""

import subprocess
from pathlib import Path

import pytest

from bootwright.core.shell import render
from bootwright.provision.unread import changed_since_read

SINCE_READ = 900
"""Seconds since the service has read its files."""


@pytest.mark.parametrize("step", [0, -30, -59, 40, 3600, 1_700_000_000])
@pytest.mark.parametrize(
    ("before", "after", "unread"),
    [
        # Seconds from the change of the file to the reading; the clock was set after both.
        (1, None, False),
        (86400, None, False),
        # Seconds from the reading to the change: before the clock was set, and after that.
        (None, 100, True),
        (None, 700, True),
    ],
)
def test_a_clock_that_was_set_after_the_reading(
    step: int, before: int | None, after: int | None, unread: bool
) -> None:
    read_at = 1_000_000
    stepped_after = 400
    now = read_at + SINCE_READ + step
    if before is not None:
        changed = read_at - before
    else:
        assert after is not None
        changed = read_at + after + (step if after > stepped_after else 0)
    assert changed_since_read([changed], read_at, SINCE_READ, now) is unread


def test_a_board_that_started_in_1970_has_read_what_is_newer_than_its_start() -> None:
    now = 1_796_060_551
    # A file of the card, written a day ago, by a right clock.
    assert not changed_since_read([now - 86400], 30, SINCE_READ, now)
    assert not changed_since_read([], 30, SINCE_READ, now)


@pytest.mark.parametrize(("sshd", "well"), [("reads", True), ("hangs", False), ("dies", False)])
def test_a_reload_of_sshd_is_over_when_it_has_read_its_files(
    tmp_path: Path, sshd: str, well: bool
) -> None:
    pid_file, mark = tmp_path / "sshd.pid", tmp_path / "mark"
    pid_file.write_text("417\n")
    mark.write_text("of an earlier reload\n")
    # The signal is sent, and the board goes on; a look at it takes no time here.
    programs = f"""
    systemctl() {{
        case $1 in is-active) [ -z "$slept" ] ;; *) [ "$2" = ssh.service ] ;; esac
    }}
    sleep() {{
        slept=$((slept + 1))
        case $slept-{sshd} in
        2-reads | 2-dies) rm {pid_file} ;;
        4-reads) echo 417 >{pid_file} ;;
        esac
    }}
    """
    script = render(
        "provision/shell/sshd_read.sh",
        "provision/shell/actions.sh",
        sshd_pid_file=str(pid_file),
        sshd_read_file=str(mark),
    )
    look = 'reload_sshd && [ "$(sshd_state)" = "$(cat "$sshd_read_file")" ] && echo "$slept"'
    done = subprocess.run(
        ["dash", "-c", f"{programs}{script}{look}"], capture_output=True, text=True
    )
    assert (done.returncode == 0) is well, done.stderr
    assert done.stdout == ("4\n" if well else "sshd does not read its files again\n")
    assert mark.exists() is well


def test_an_sshd_that_is_started_for_each_connection_needs_no_reload(tmp_path: Path) -> None:
    programs = """
    systemctl() { echo "$*" >&2; case $* in "is-active "*ssh.socket*) ;; *) return 1 ;; esac; }
    """
    script = render(
        "provision/shell/sshd_read.sh",
        "provision/shell/actions.sh",
        sshd_pid_file=str(tmp_path / "sshd.pid"),
        sshd_read_file=str(tmp_path / "mark"),
    )
    done = subprocess.run(
        ["dash", "-c", f"{programs}{script}reload_sshd"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert "reload" not in done.stderr
