"""`inv emulate` as a command: what it prints of an emulator that runs, and of saves."""

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootwright.core.report import TextReporter
from bootwright.core.units import GIB
from bootwright.emulator import emulate as emulating
from bootwright.emulator.io import qemu, saves
from tests.emulator.test_card_image import debian_tree, make_card
from tests.emulator.test_qemu import STAND_IN
from tests.support.schemas import check_broken_documents, check_document

pytestmark = pytest.mark.integration


def reporter() -> TextReporter:
    return TextReporter(io.StringIO())


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A card image; what is started from it is ended."""
    monkeypatch.setenv("BOOTWRIGHT_BUILD", str(tmp_path / "build"))
    debian_tree(tmp_path / "tree")
    yield make_card(tmp_path / "tree", tmp_path / "card.img")
    qemu.stop(reporter(), power_down_s=0)


def test_a_card_is_booted_and_stopped(
    card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "qemu-system-arm"
    program.parent.mkdir()
    program.write_text(STAND_IN)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    result = emulating.emulate(emulating.EmulateOptions(str(card), snapshot=True), reporter())
    document = check_document("emulator", result.document())
    check_broken_documents("emulator", document)
    assert (document["image"], document["ram"], document["state"]) == (str(card), 2 * GIB, "login")
    first, console, ssh, _ = result.lines()
    assert first == "the emulator is up; go on with: inv ssh emulator"
    assert f"socket://127.0.0.1:{document['serial_port']} (log: " in console
    assert ssh.endswith(f"port {document['ssh_port']}")

    stopped = emulating.stop(reporter())
    document = check_document("emulator-stop", stopped.document())
    check_broken_documents("emulator-stop", document)
    assert (document["stopped"], stopped.lines()) == (True, ["the emulator has ended"])
    again = emulating.stop(reporter())
    assert check_document("emulator-stop", again.document())["stopped"] is False
    assert again.lines() == ["no emulator was running"]


def test_saves_are_listed_with_what_stands_against_resuming(card: Path) -> None:
    assert check_document("emulator-saves", emulating.listed_saves().document())["saves"] == []
    running = qemu.start(card, ram=64 << 20, cpus=1, reporter=reporter(), snapshot=True)
    (running.directory / qemu.CARD_RECORD).write_text("{}\n")
    made = emulating.save("one", reporter())
    document = check_document("emulator-saves", made.document())
    check_broken_documents("emulator-saves", document)
    (saved,) = document["saves"]
    assert (saved["name"], saved["image"], saved["obstacle"]) == ("one", str(card), "")

    description = saves.saves_dir() / "one.json"
    check_broken_documents(
        "emulator-save", check_document("emulator-save", json.loads(description.read_text()))
    )
    description.write_text("damaged")
    listed = emulating.listed_saves()
    (saved,) = check_document("emulator-saves", listed.document())["saves"]
    assert (saved["name"], saved["saved_at"], saved["image"]) == ("one", "", "")
    assert "damaged" in listed.lines()[1]
