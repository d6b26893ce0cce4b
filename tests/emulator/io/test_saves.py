"""Saving a running emulator and resuming it, with the real QEMU and a guest that does nothing."""

import errno
import io
import json
import os
import re
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bootwright.core.errors import FailedError, InputError, RefusedError
from bootwright.core.report import TextReporter
from bootwright.core.units import MIB
from bootwright.emulator.io import qemu, saves
from bootwright.emulator.io.qmp import monitor_command, qmp_command
from bootwright.emulator.saves import (
    Save,
    SavedFile,
)
from tests.emulator.io.test_card_image import debian_tree, make_card

pytestmark = pytest.mark.integration

RAM = 64 * MIB


def reporter() -> TextReporter:
    return TextReporter(io.StringIO())


@pytest.fixture
def card(tmp_path: Path) -> Path:
    debian_tree(tmp_path / "tree")
    return make_card(tmp_path / "tree", tmp_path / "card.img")


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "emulator"
    yield path
    qemu.stop(reporter(), path, power_down_s=0)


Start = Callable[[bool], qemu.Emulator]


@pytest.fixture
def start(card: Path, directory: Path) -> Start:
    def started(snapshot: bool) -> qemu.Emulator:
        return qemu.start(
            card, ram=RAM, cpus=1, reporter=reporter(), snapshot=snapshot, directory=directory
        )

    return started


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "saves"


def save(name: str, directory: Path, folder: Path) -> Save:
    return saves.save(name, reporter(), directory=directory, saves=folder)


def resume(name: str, directory: Path, folder: Path) -> qemu.Emulator:
    return saves.resume(name, reporter(), directory=directory, saves=folder)


def saved_and_stopped(start: Start, directory: Path, folder: Path) -> Save:
    start(True)
    (directory / qemu.CARD_RECORD).write_text('{"target": "odroid"}\n')
    (directory / "console.log").write_bytes(b"Linux\r\nboard login: ")
    made = save("one", directory, folder)
    qemu.stop(reporter(), directory)
    return made


def disk_is_full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def runs(emulator: qemu.Emulator) -> bool:
    return bool(qmp_command(emulator.directory / "qmp.sock", "query-status")["running"])


def test_the_guest_continues_after_a_save_which_can_be_resumed_many_times(
    start: Start, directory: Path, folder: Path
) -> None:
    first = start(True)
    (directory / qemu.CARD_RECORD).write_text('{"target": "odroid"}\n')
    (directory / "console.log").write_bytes(b"Linux\r\nboard login: ")
    made = save("one", directory, folder)
    assert first.alive and runs(first)
    for path in folder.iterdir():
        assert path.name == "lock" or stat.S_IMODE(path.stat().st_mode) == 0o600
    qemu.stop(reporter(), directory)
    assert not (directory / "overlay.qcow2").exists()

    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for _ in range(2):
        again = resume("one", directory, folder)
        assert runs(again) and again.snapshot and (again.ram, again.cpus) == (RAM, 1)
        assert again.console_log.read_bytes().startswith(b"Linux\r\nboard login: ")
        assert (directory / qemu.CARD_RECORD).read_text() == '{"target": "odroid"}\n'
        with pytest.raises(RefusedError, match="an emulator runs already"):
            resume("one", directory, folder)
        qemu.stop(reporter(), directory)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert saves.load("one", folder) == made


def test_a_second_save_replaces_the_first_but_an_interrupted_one_does_not(
    start: Start, directory: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator = start(True)
    first = save("one", directory, folder)
    second = save("one", directory, folder)
    assert second.disk.name != first.disk.name and not (folder / first.disk.name).exists()

    def interrupted(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(saves, "_check_disk", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save("one", directory, folder)
    assert runs(emulator)
    kept = {"lock", "one.json", second.disk.name, second.console.name}
    assert {path.name for path in folder.iterdir()} == kept
    assert saves.load("one", folder) == second


def test_an_emulator_without_snapshot_cannot_be_saved(
    start: Start, directory: Path, folder: Path
) -> None:
    with pytest.raises(InputError, match="no emulator runs"):
        save("one", directory, folder)
    start(False)
    with pytest.raises(RefusedError, match="start it with --snapshot"):
        save("one", directory, folder)
    assert not folder.exists()


def test_an_unknown_save_is_an_error_with_the_names_of_all_saves(
    start: Start, directory: Path, folder: Path
) -> None:
    with pytest.raises(InputError, match="no save 'two'; there are: none"):
        resume("two", directory, folder)
    made = saved_and_stopped(start, directory, folder)
    with pytest.raises(InputError, match="no save 'two'; there are: one"):
        resume("two", directory, folder)
    with pytest.raises(InputError, match="no save 'two'"):
        saves.remove("two", folder)
    saves.remove("one", folder)
    assert not (folder / made.disk.name).exists() and saves.names(folder) == []


def listed_obstacle(folder: Path) -> str:
    """Return why the save ``one`` cannot be resumed, as the list of saves shows it."""
    return saves.resume_obstacle(saves.load("one", folder), saves.qemu_version(), folder)


def test_a_changed_card_is_refused_but_a_touched_one_is_not(
    start: Start, directory: Path, folder: Path, card: Path
) -> None:
    saved_and_stopped(start, directory, folder)
    os.utime(card)
    assert listed_obstacle(folder) == ""
    resume("one", directory, folder)
    qemu.stop(reporter(), directory)
    times = card.stat()
    with card.open("r+b") as file:
        file.seek(3 * MIB)
        file.write(b"!")
    os.utime(card, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(RefusedError, match=r"card image .* has changed since; save it again"):
        resume("one", directory, folder)
    assert "has changed since" in listed_obstacle(folder)
    card.unlink()
    with pytest.raises(RefusedError, match="is gone"):
        resume("one", directory, folder)
    assert "is gone" in listed_obstacle(folder)
    assert qemu.status(directory) is None


def flip_a_bit(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))


@pytest.mark.parametrize("which", ["disk", "console"])
@pytest.mark.parametrize(
    ("harm", "expected", "is_listed"),
    [
        ("cut", r"file one-\w+\.\w+ is damaged \(", True),
        ("flip", r"file one-\w+\.\w+ is damaged", False),
        ("gone", r"file one-\w+\.\w+ is gone", True),
    ],
)
def test_a_save_with_a_damaged_file_is_refused(
    which: str,
    harm: str,
    expected: str,
    is_listed: bool,
    start: Start,
    directory: Path,
    folder: Path,
) -> None:
    made = saved_and_stopped(start, directory, folder)
    file = made.disk if which == "disk" else made.console
    if harm == "cut":
        os.truncate(folder / file.name, file.size // 2)
    elif harm == "flip":
        flip_a_bit(folder / file.name)
    else:
        (folder / file.name).unlink()
    with pytest.raises(RefusedError, match=expected):
        resume("one", directory, folder)
    assert bool(listed_obstacle(folder)) is is_listed
    assert qemu.status(directory) is None
    assert not (directory / "overlay.qcow2").exists()


@pytest.mark.parametrize(
    ("harm", "expected"),
    [("machine", "starts QEMU with other options"), ("qemu", r"saved by QEMU 1\.0")],
)
def test_a_save_of_another_qemu_or_other_options_is_refused(
    harm: str, expected: str, start: Start, directory: Path, folder: Path
) -> None:
    saved_and_stopped(start, directory, folder)
    values = json.loads((folder / "one.json").read_text())
    values["machine"] += ["-device", "new"] if harm == "machine" else []
    values["qemu"] = "1.0" if harm == "qemu" else values["qemu"]
    (folder / "one.json").write_text(json.dumps(values))
    with pytest.raises(RefusedError, match=expected):
        resume("one", directory, folder)
    assert re.search(expected, listed_obstacle(folder))
    assert qemu.status(directory) is None
    assert not (directory / "overlay.qcow2").exists()


def test_a_save_with_a_damaged_description_is_refused(
    start: Start, directory: Path, folder: Path
) -> None:
    saved_and_stopped(start, directory, folder)
    description = folder / "one.json"
    description.write_text(description.read_text()[:-9])
    with pytest.raises(RefusedError, match="this save is damaged"):
        resume("one", directory, folder)


def test_the_version_of_qemu_is_that_of_the_process(
    start: Start, directory: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = saves.qemu_version()
    assert re.fullmatch(r"\d+\.\d+\.\d+", program)
    start(True)
    # As if QEMU's package was upgraded while the emulator runs.
    monkeypatch.setattr(saves, "qemu_version", lambda: "99.0.0")
    assert save("one", directory, folder).qemu == program
    qemu.stop(reporter(), directory)
    with pytest.raises(RefusedError, match=f"saved by QEMU {program}, and .* has QEMU 99.0.0"):
        resume("one", directory, folder)


def states(directory: Path) -> str:
    """Return the states in the overlay, as qemu-img lists them."""
    argv = ["qemu-img", "snapshot", "-U", "-l", str(directory / "overlay.qcow2")]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("moment", ["savevm", "copy", "delvm", "check"])
def test_a_signal_during_a_save_lets_the_guest_continue(
    number: signal.Signals,
    moment: str,
    start: Start,
    directory: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    emulator = start(True)
    first = save("one", directory, folder)
    came: list[str] = []

    def come(now: str) -> None:
        if now == moment and not came:
            came.append(now)
            signal.raise_signal(number)

    check, copy = saves._check_disk, saves._copy

    def watched_command(socket: Path, line: str, *, timeout: float) -> None:
        if line.startswith("delvm"):
            come("delvm")
        monitor_command(socket, line, timeout=timeout)
        if line.startswith("savevm"):
            assert "bootwright" in states(directory)
            come("savevm")

    def watched_copy(source: Path, target: Path) -> SavedFile:
        done = copy(source, target)
        come("copy")
        return done

    def watched_check(disk: Path) -> None:
        come("check")
        check(disk)

    monkeypatch.setattr(saves, "monitor_command", watched_command)
    monkeypatch.setattr(saves, "_copy", watched_copy)
    monkeypatch.setattr(saves, "_check_disk", watched_check)
    handler = signal.getsignal(number)
    with pytest.raises(SystemExit) as ended:
        save("one", directory, folder)
    assert ended.value.code == 128 + number and came == [moment]
    assert runs(emulator) and "bootwright" not in states(directory)
    assert signal.getsignal(number) == handler
    kept = {"lock", "one.json", first.disk.name, first.console.name}
    assert {path.name for path in folder.iterdir()} == kept


@pytest.mark.parametrize("moment", ["copying", "running"])
def test_a_failed_resume_leaves_no_emulator_and_no_disk(
    moment: str, start: Start, directory: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved_and_stopped(start, directory, folder)
    with monkeypatch.context() as patch:
        if moment == "copying":
            patch.setattr(saves, "sync_path", disk_is_full)
        else:
            patch.setattr(saves, "monitor_command", disk_is_full)
        with pytest.raises(FailedError, match=r"one cannot be resumed in .*: No space left"):
            resume("one", directory, folder)
    assert qemu.status(directory) is None
    assert not (directory / "overlay.qcow2").exists()
    assert runs(resume("one", directory, folder))


def test_the_size_of_a_save_is_that_of_its_own_files(
    start: Start, directory: Path, folder: Path
) -> None:
    start(True)
    first = save("one", directory, folder)
    save("one-two", directory, folder)
    own = [folder / name for name in ("one.json", first.disk.name, first.console.name)]
    assert saves.disk_usage("one", folder) == sum(path.stat().st_blocks * 512 for path in own)
    (folder / first.disk.name).unlink()
    assert 0 < saves.disk_usage("one", folder) < 100_000


def test_the_earlier_save_is_kept_if_the_disk_is_full(
    start: Start, directory: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator = start(True)
    first = save("one", directory, folder)

    monkeypatch.setattr(saves, "sync_path", disk_is_full)
    with pytest.raises(FailedError, match="No space left on device"):
        save("one", directory, folder)
    assert runs(emulator)
    assert saves.load("one", folder) == first
