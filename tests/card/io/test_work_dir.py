"""The private folder of a run, and those that killed runs left."""

import os
import signal
from pathlib import Path

import pytest

from bootwright.card.io.work_dir import make_work_dir
from bootwright.core.io.signals import exit_on_signal


def folders(parent: Path) -> list[Path]:
    return list(parent.iterdir())


def test_it_is_private_and_is_removed(tmp_path: Path) -> None:
    with make_work_dir(tmp_path / "work") as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "key").write_text("secret")
    assert folders(tmp_path / "work") == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_removes_it(tmp_path: Path, number: signal.Signals) -> None:
    with pytest.raises(SystemExit), exit_on_signal(), make_work_dir(tmp_path / "work"):
        signal.raise_signal(number)
    assert folders(tmp_path / "work") == []


def test_folders_of_killed_runs_are_removed_and_others_are_not(tmp_path: Path) -> None:
    """A run can be killed before it has made its lock."""
    child = os.fork()
    if child == 0:
        with make_work_dir(tmp_path):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (tmp_path / "card-without-lock").mkdir()
    assert len(folders(tmp_path)) == 2
    with make_work_dir(tmp_path) as first, make_work_dir(tmp_path) as second:
        assert set(folders(tmp_path)) == {first, second}
