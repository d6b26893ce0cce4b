"""Saving a running emulator and resuming it, with the real QEMU and a guest that does nothing."""

import io
import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bootwright.core.errors import FailedError, InputError, RefusedError
from bootwright.core.report import TextReporter
from bootwright.core.units import MIB
from bootwright.emulator.emulate import check_one_action
from bootwright.emulator.io import qemu, saves
from bootwright.emulator.io.qmp import qmp_command
from bootwright.emulator.saves import Here, Save, check_name, obstacle, parse_save
from tests.emulator.test_card_image import debian_tree, make_card

SAVED = {
    "schema": "bootwright.emulator-save/1",
    "name": "one",
    "saved_at": "2026-11-30T05:38:32+00:00",
    "qemu": "7.2.22",
    "machine": ["-machine", "virt"],
    "ram": 2**31,
    "cpus": 2,
    "image": {
        "path": "/images/card.img",
        "size": 5 * 2**30,
        "mtime_ns": 1,
        "ctime_ns": 2,
        "inode": 3,
        "sha256": "a" * 64,
    },
    "disk": "one-0a1b2c3d.qcow2",
    "disk_size": 181600256,
    "disk_sha256": "b" * 64,
    "console": "one-0a1b2c3d.log",
    "record": "{}\n",
}
FILE = Path("/saves/one.json")


def parsed(**different: object) -> Save:
    return parse_save(json.dumps(SAVED | different), FILE)


@pytest.mark.parametrize("name", ["", "-x", ".one", "One", "a/b", "..", "a b", "a" * 65, "one\n"])
def test_what_cannot_be_a_name(name: str) -> None:
    with pytest.raises(InputError, match="cannot be the name of a save"):
        check_name(name)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", '"one"', "{}"),
        json.dumps({**SAVED, "schema": "bootwright.emulator-save/2"}),
        json.dumps({**SAVED, "disk": "../../etc/passwd.qcow2"}),
        json.dumps({**SAVED, "ram": "2 GiB"}),
        json.dumps({**SAVED, "more": 1}),
        json.dumps({**SAVED, "image": {**SAVED["image"], "sha256": "short"}}),  # type: ignore[dict-item]
    ],
)
def test_a_damaged_description_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match="damaged, or from another version"):
        parse_save(text, FILE)


def test_a_description_under_another_name_is_refused() -> None:
    with pytest.raises(RefusedError, match="this is the save 'one'"):
        parse_save(json.dumps(SAVED), Path("/saves/two.json"))


def test_what_stands_against_resuming() -> None:
    save = parsed()
    here = Here(save.qemu, save.image, save.disk_size)
    assert obstacle(save, here) == ""
    for different, why in (
        (replace(here, disk_size=None), "is gone"),
        (replace(here, disk_size=1000), "is damaged (1000 bytes instead of 181600256)"),
        (replace(here, qemu="8.2.0"), "saved by QEMU 7.2.22, and this machine has QEMU 8.2.0"),
        (replace(here, image=None), "card image /images/card.img is gone"),
        (replace(here, image=save.image.model_copy(update={"size": 1})), "is another one now"),
    ):
        assert why in obstacle(save, different)


def test_an_image_is_unchanged_while_all_numbers_are_the_same() -> None:
    image = parsed().image
    assert image.unchanged(image.model_copy(update={"sha256": "0" * 64}))
    for key in ("mtime_ns", "ctime_ns", "inode", "size"):
        assert not image.unchanged(image.model_copy(update={key: 77}))


def test_actions_that_contradict() -> None:
    check_one_action({"--device": "", "--save": "one", "--list": False})
    with pytest.raises(InputError, match="--save and --list cannot be given together"):
        check_one_action({"--device": "", "--save": "one", "--list": True})


# With the real QEMU, a kernel of six bytes and 64 MiB.

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


def runs(emulator: qemu.Emulator) -> bool:
    return bool(qmp_command(emulator.directory / "qmp.sock", "query-status")["running"])


@pytest.mark.integration
def test_it_goes_on_after_a_save_and_can_be_resumed_many_times(
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


@pytest.mark.integration
def test_a_second_save_replaces_the_first_and_an_interrupted_one_does_not(
    start: Start, directory: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator = start(True)
    first = save("one", directory, folder)
    second = save("one", directory, folder)
    assert second.disk != first.disk and not (folder / first.disk).exists()

    def interrupted(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(saves, "_check_disk", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save("one", directory, folder)
    assert runs(emulator)
    kept = {"lock", "one.json", second.disk, second.console}
    assert {path.name for path in folder.iterdir()} == kept
    assert saves.load("one", folder) == second


@pytest.mark.integration
def test_what_writes_to_the_image_itself_is_not_saved(
    start: Start, directory: Path, folder: Path
) -> None:
    with pytest.raises(InputError, match="no emulator runs"):
        save("one", directory, folder)
    start(False)
    with pytest.raises(RefusedError, match="start it with --snapshot"):
        save("one", directory, folder)
    assert not folder.exists()


@pytest.mark.integration
def test_a_save_that_is_not_there_names_those_that_are(
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
    assert not (folder / made.disk).exists() and saves.names(folder) == []


@pytest.mark.integration
def test_a_changed_card_is_refused_and_a_touched_one_is_not(
    start: Start, directory: Path, folder: Path, card: Path
) -> None:
    saved_and_stopped(start, directory, folder)
    os.utime(card)
    resume("one", directory, folder)
    qemu.stop(reporter(), directory)
    times = card.stat()
    with card.open("r+b") as file:
        file.seek(3 * MIB)
        file.write(b"!")
    os.utime(card, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(RefusedError, match=r"card image .* has changed since; save it again"):
        resume("one", directory, folder)
    card.unlink()
    with pytest.raises(RefusedError, match="is gone"):
        resume("one", directory, folder)
    assert qemu.status(directory) is None


@pytest.mark.integration
@pytest.mark.parametrize("harm", ["cut", "flip", "gone", "machine", "qemu", "json"])
def test_a_damaged_or_foreign_save_is_refused(
    harm: str, start: Start, directory: Path, folder: Path
) -> None:
    made = saved_and_stopped(start, directory, folder)
    disk, description = folder / made.disk, folder / "one.json"
    if harm == "cut":
        os.truncate(disk, made.disk_size // 2)
    elif harm == "flip":
        with disk.open("r+b") as file:
            file.seek(made.disk_size // 2)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1]))
    elif harm == "gone":
        disk.unlink()
    else:
        values = json.loads(description.read_text())
        if harm == "machine":
            values["machine"] += ["-device", "new"]
        elif harm == "qemu":
            values["qemu"] = "1.0"
        text = json.dumps(values)
        description.write_text(text[:-9] if harm == "json" else text)
    expected = {
        "cut": r"disk one-\w+\.qcow2 is damaged \(",
        "flip": r"disk one-\w+\.qcow2 is damaged",
        "gone": r"disk one-\w+\.qcow2 is gone",
        "machine": "starts QEMU with other options",
        "qemu": r"saved by QEMU 1\.0",
        "json": "this save is damaged",
    }
    with pytest.raises(RefusedError, match=expected[harm]):
        resume("one", directory, folder)
    assert qemu.status(directory) is None
    assert not (directory / "overlay.qcow2").exists()


@pytest.mark.integration
def test_a_full_disk_leaves_the_former_save(
    start: Start, directory: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator = start(True)
    first = save("one", directory, folder)

    def full(_: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saves, "sync_path", full)
    with pytest.raises(FailedError, match="No space left on device"):
        save("one", directory, folder)
    assert runs(emulator)
    assert saves.load("one", folder) == first
