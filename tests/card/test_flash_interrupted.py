"""`inv flash` that is killed or interrupted, and several runs at a time."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bootwright.card.block_device import UNFINISHED_MARK
from tests.support.bench import STEPS, Bench

pytestmark = pytest.mark.integration


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


_ENDED = """
import contextlib, os, signal
from bootwright.card.execute import StepTimes
step = StepTimes.step
@contextlib.contextmanager
def dying(self, name):
    with step(self, name):
        yield
    if name == {step!r}:
        os.kill(os.getpid(), signal.{signal})
StepTimes.step = dying
from invoke.main import program
program.run()
"""


@pytest.mark.parametrize("step", STEPS)
def test_a_card_of_a_killed_run_never_looks_finished(bench: Bench, step: str) -> None:
    bench.flash()
    argv = bench.argv("--yes")[1:]
    done = subprocess.run(
        [sys.executable, "-c", _ENDED.format(step=step, signal="SIGKILL"), *argv],
        cwd=bench.checkout,
        env=bench.env,
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    first = bench.sectors(0, 1)
    untouched_yet = step in STEPS[:4]
    finished = step == STEPS[-1]
    assert first.startswith(UNFINISHED_MARK) == (not untouched_yet and not finished)
    assert first.endswith(b"\x55\xaa") == (untouched_yet or finished)
    assert bench.flash("--yes")["verified"] is True
    # The killed run's private folder, with its host keys, is gone.
    assert list((bench.root / "cache" / "work").glob("card-*")) == []


@pytest.mark.parametrize(
    ("signal_", "code"), [("SIGINT", 4), ("SIGTERM", 128 + 15), ("SIGHUP", 128 + 1)]
)
@pytest.mark.parametrize(
    ("step", "state"),
    [
        ("map", "nothing on it was changed"),
        ("open", "the card is unfinished; the next run starts clean"),
        ("table", "the card is finished"),
    ],
)
def test_an_interrupted_run_reports_the_state_of_the_card(
    bench: Bench, step: str, state: str, signal_: str, code: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ENDED.format(step=step, signal=signal_), *bench.argv()[1:]],
        cwd=bench.checkout,
        env=bench.env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert f"{bench.image}: {state}" in done.stderr
    assert bench.image.exists() == (step != "map")
    # A finished card has its records, also if the signal came before they were written.
    for folder in ("cards", "host-keys"):
        assert len(list((bench.root / "build" / folder).iterdir())) == (step == "table")
    assert list((bench.root / "cache" / "work").glob("card-*")) == []


def test_four_runs_at_once_with_an_empty_cache_wait_for_one_another(bench: Bench) -> None:
    runs = []
    for number in range(4):
        argv = bench.argv("--json", device=str(bench.root / f"{number}.img"))
        text: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        runs.append(subprocess.Popen(argv, cwd=bench.checkout, env=bench.env, **text))
    ended = [run.communicate() for run in runs]
    assert [run.returncode for run in runs] == [0] * 4, ended
    assert all(json.loads(out)["verified"] for out, _ in ended)
    assert sum("Fill an ext4 file system" in err for _, err in ended) == 1
    waited = [err for _, err in ended if "another run is building" in err]
    assert all("waiting for it to end" in err for err in waited)
