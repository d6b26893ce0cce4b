"""`inv emulate` as a command: what it prints about a running emulator and about saves."""

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import FailedError
from bootwright.core.program import Program
from bootwright.core.report import TextReporter
from bootwright.core.units import GIB
from bootwright.emulator import emulate as emulating
from bootwright.emulator.io import qemu, saves
from tests.emulator.io.test_card_image import debian_tree, make_card
from tests.emulator.io.test_qemu import FAKE_QEMU
from tests.support.schemas import check_broken_documents, check_document

pytestmark = pytest.mark.integration


def reporter() -> TextReporter:
    return TextReporter(io.StringIO())


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A card image; at the end, an emulator that runs it is stopped."""
    monkeypatch.setenv("BOOTWRIGHT_BUILD", str(tmp_path / "build"))
    debian_tree(tmp_path / "tree")
    yield make_card(tmp_path / "tree", tmp_path / "card.img")
    qemu.stop(reporter(), power_down_s=0)


def test_a_card_is_booted_and_stopped(
    card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "qemu-system-arm"
    program.parent.mkdir()
    program.write_text(FAKE_QEMU)
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


def test_saves_are_listed_with_what_prevents_resuming(card: Path) -> None:
    none = emulating.listed_saves()
    assert check_document("emulator-saves", none.document())["saves"] == []
    assert none.lines() == [
        "there are no saves; inv emulate --save NAME saves the running emulator"
    ]
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


def run_inv(*words: str) -> int:
    """Run the command line; return its exit code."""
    return Program().run_line(["inv", "emulate", *words])


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--resume", "nope"), 2, "there is no save 'nope'; there are: none"),
        (("--resume", "../x"), 2, "'../x' cannot be the name of a save"),
        (("--save", "one"), 2, "no emulator runs; start one with `inv emulate --snapshot`"),
        (("--remove", "nope"), 2, "there is no save 'nope'"),
        (("--list", "--snapshot"), 2, "--snapshot cannot be given with --list"),
        (("--save", "one", "--ssh-port", "22"), 2, "--ssh-port cannot be given with --save"),
        (("--resume", "one", "--snapshot"), 2, "--snapshot cannot be given with --resume"),
        (("--stop", "--timeout", "600"), 2, "--timeout cannot be given with --stop"),
        (("--timeout", "600"), 2, "--device is missing"),
    ],
)
def test_wrong_command_lines(
    words: tuple[str, ...],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BOOTWRIGHT_BUILD", str(tmp_path / "build"))
    assert run_inv(*words) == code
    out, err = capsys.readouterr()
    assert message in err and out == ""


def test_the_command_prints_one_document(
    card: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    qemu.start(card, ram=64 << 20, cpus=1, reporter=reporter(), snapshot=True)
    for words in (("--save", "one"), ("--list",)):
        capsys.readouterr()
        assert run_inv(*words, "--json") == 0
        document = check_document("emulator-saves", json.loads(capsys.readouterr().out))
        assert [saved["name"] for saved in document["saves"]] == ["one"]
    assert run_inv("--list") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("one  ") and line.endswith("card.img")
    assert run_inv("--resume", "one") == 3
    assert "an emulator runs already" in capsys.readouterr().err
    monkeypatch.setattr(saves, "qemu_version", lambda: "99.0.0")
    assert run_inv("--list") == 0
    assert "  cannot be resumed: it was saved by QEMU " in capsys.readouterr().out
    assert run_inv("--remove", "one", "--json") == 0
    document = check_document("emulator-saves", json.loads(capsys.readouterr().out))
    assert document["saves"] == []


def test_a_clock_that_cannot_be_set_is_a_warning() -> None:
    out = io.StringIO()

    def find_endpoint() -> Endpoint:
        raise FailedError("no emulator runs")

    emulating.set_clock_or_warn(find_endpoint, TextReporter(out))
    assert "shows the time of saving; it could not be set: no emulator runs" in out.getvalue()
    assert 'inv ssh emulator --command "date -u -s @$(date +%s)"' in out.getvalue()
