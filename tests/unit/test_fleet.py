"""Several boards at once: each has its line, and one failure does not stop the rest."""

import io
import os
import signal
import threading

import pytest

from bootwright.errors import BootwrightError, FailedError, InputError, RefusedError
from bootwright.fleet import Fleet, worst
from bootwright.report import Reporter


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


def test_ctrl_c_begins_no_other_board_and_names_those_under_way() -> None:
    out = io.StringIO()
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
    assert "boards under way: b" in out.getvalue()


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
