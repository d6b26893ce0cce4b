"""Several boards at once: each has its line, and one failure does not stop the rest."""

import errno
import io
import os
import signal
import threading

import pytest

from bootwright.core.errors import BootwrightError, FailedError, InputError, RefusedError
from bootwright.core.report import Reporter
from bootwright.hosts.fleet import Fleet, worst


def summary(result: str) -> tuple[str, bool]:
    return result, not result.startswith("bad")


def test_every_board_has_its_line_and_nothing_is_between_its_own() -> None:
    out = io.StringIO()
    both = threading.Barrier(2, timeout=10)

    def work(name: str, reporter: Reporter) -> str:
        # Both are at it at once, and tell in turns.
        for number in range(3):
            both.wait()
            with reporter.step(f"step {number}"):
                reporter.warn(f"{name} {number}")
        return f"did {name}"

    done = Fleet(["a", "b"], work, summary, 2, out).run()
    assert done == {"a": "did a", "b": "did b"}
    lines = out.getvalue().splitlines()
    assert len(lines) == 8
    for name in ("a", "b"):
        first = next(n for n, line in enumerate(lines) if line.startswith(f"✓ {name} "))
        assert lines[first].endswith(f"did {name}")
        assert lines[first + 1 : first + 4] == [f"    warning: {name} {n}" for n in range(3)]


def test_one_failure_does_not_stop_the_rest() -> None:
    out = io.StringIO()

    def work(name: str, _: Reporter) -> str:
        if name == "b":
            raise FailedError("b: no route")
        if name == "c":
            raise ZeroDivisionError("nobody foresaw this")
        return "bad news" if name == "d" else "fine"

    done = Fleet(["a", "b", "c", "d", "e"], work, summary, 1, out).run()
    assert list(done) == ["a", "b", "c", "d", "e"]
    assert (done["a"], done["d"], done["e"]) == ("fine", "bad news", "fine")
    assert isinstance(done["b"], FailedError)
    assert isinstance(done["c"], BootwrightError)
    assert worst(done) == 70
    text = out.getvalue()
    assert "✗ b" in text
    assert "b: no route" in text
    assert "✗ d" in text
    assert "ZeroDivisionError: nobody foresaw this" in text


def test_no_more_than_asked_for_at_a_time() -> None:
    at_work, most = 0, 0
    lock, changed = threading.Lock(), threading.Barrier(3, timeout=10)

    def work(_: str, __: Reporter) -> str:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        changed.wait()
        with lock:
            at_work -= 1
        return ""

    Fleet([str(n) for n in range(9)], work, summary, 3, io.StringIO()).run()
    assert most == 3


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("out", [io.StringIO(), Terminal()], ids=["pipe", "terminal"])
def test_ctrl_c_begins_no_other_board_and_names_those_under_way(
    out: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    release = threading.Event()
    begun: list[str] = []

    def work(name: str, _: Reporter) -> str:
        begun.append(name)
        if name == "b":
            os.kill(os.getpid(), signal.SIGINT)
            release.wait(10)
        return name

    with pytest.raises(KeyboardInterrupt):
        Fleet(["a", "b", "c"], work, summary, 1, out).run()
    release.set()
    assert begun == ["a", "b"]
    # After the last line that is erased, or nobody would see it.
    assert "boards under way: b" in out.getvalue().split("\x1b[2K")[-1]


def test_a_narrow_terminal_has_a_line_for_a_board_and_its_time_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    out = Terminal()
    drawn = threading.Event()
    write = out.write

    def written(text: str) -> int:
        if "a title" in text:
            drawn.set()
        return write(text)

    monkeypatch.setattr(out, "write", written)

    def work(name: str, reporter: Reporter) -> str:
        with reporter.step("a title that is far too long for the line " * 2):
            assert drawn.wait(10)
        return "fine"

    Fleet(["a"], work, summary, 1, out).run()
    rows = [line for line in out.getvalue().split("\n") if "a title" in line]
    assert rows
    assert all("…" in row and "0:00:0" in row for row in rows)


def test_a_failure_of_this_machine_is_no_bug_and_all_its_lines_are_under_the_name() -> None:
    out = io.StringIO()

    def work(name: str, _: Reporter) -> str:
        if name == "full":
            raise OSError(errno.ENOSPC, "No space left on device", "/x")
        raise RefusedError("not its host key\n  shown: x\n  expected: y")

    done = Fleet(["full", "other"], work, summary, 1, out).run()
    assert isinstance(done["full"], FailedError)
    assert worst(done) == 4
    assert "Traceback" not in out.getvalue()
    lines = out.getvalue().splitlines()
    assert lines[0].endswith("No space left on device: '/x'")
    assert lines[1].endswith("not its host key")
    assert [line.split() for line in lines[2:]] == [["shown:", "x"], ["expected:", "y"]]
    assert all(line.startswith("    ") for line in lines[2:])


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([None, None], 0),
        ([None, InputError("x")], 2),
        ([RefusedError("x"), InputError("x")], 3),
        ([RefusedError("x"), FailedError("x"), InputError("x")], 4),
    ],
)
def test_the_exit_code_is_that_of_the_gravest_failure(
    errors: list[BootwrightError | None], code: int
) -> None:
    assert worst({str(number): error for number, error in enumerate(errors)}) == code
