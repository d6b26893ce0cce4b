"""``inv targets``, ``inv boards`` and ``inv config`` for all targets."""

import shutil
from pathlib import Path

import pytest

from bootwright.core.config import Target
from bootwright.core.errors import InputError
from bootwright.core.listing import check_config, list_boards, list_targets
from bootwright.core.paths import checkout
from tests.support.schemas import check_broken_documents, check_document


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with two targets, one of which is wrong, and two boards, one of which is."""
    shutil.copytree(checkout() / "board", tmp_path / "board")
    (tmp_path / "board" / "new").mkdir()
    (tmp_path / "board" / "new" / "board.toml").write_text('extends = "odroid-xu4"\ncoers = 4\n')
    (tmp_path / "bootwright.toml").write_text(
        '[targets.lab]\nboard = "odroid-xu4"\nrootfs = "debian"\nhost = "192.0.2.7"\n'
        'groups = ["bench"]\nserial_port = "/dev/ttyUSB0"\n'
    )
    (tmp_path / "bootwright.local.toml").write_text("[targets.lab]\nport = 23\n[targets.x]\n")
    return tmp_path


def refuse_debian(target: Target) -> None:
    if target.rootfs == "debian":
        raise InputError("overlays: there is none")


def test_targets(root: Path) -> None:
    found = list_targets(root)
    document = check_document("targets", found.document())
    free = ("targets.0.files", "targets.0.groups")
    check_broken_documents("targets", document, free)
    lab, odroid, x = document["targets"]
    assert lab["files"] == ["bootwright.toml", "bootwright.local.toml"]
    assert (lab["host"], lab["groups"], lab["error"]) == ("192.0.2.7", ["bench"], None)
    assert (odroid["files"], odroid["board"]) == ([], "odroid-xu3")
    assert (x["board"], x["error"]) == (
        None,
        'bootwright.local.toml: targets.x: board: missing; write it like: board = "odroid-xu3"',
    )
    assert found.lines() == [
        "TARGET  BOARD       ROOTFS        HOST       GROUPS  SERIAL PORT",
        "lab     odroid-xu4  debian        192.0.2.7  bench   /dev/ttyUSB0",
        "odroid  odroid-xu3  archlinuxarm  -          -       -",
        "x       ?           ?             -          -       -",
        f"error: {x['error']}",
    ]


def test_boards(root: Path) -> None:
    found = list_boards(root)
    document = check_document("boards", found.document())
    check_broken_documents("boards", document, ("boards.0.targets", "boards.0.rootfs"))
    new, xu3, xu4 = document["boards"]
    assert "coers: unknown key; did you mean cores?" in new["error"]
    assert (xu3["targets"], xu4["targets"]) == (["odroid"], ["lab"])
    assert (xu4["layouts"][0], xu3["ram_mib"]) == ("720k", 2048)
    assert found.lines()[0].split()[0] == "BOARD"
    assert found.lines()[-1] == f"error: {new['error']}"


def test_all_that_is_wrong_is_named_at_once(root: Path) -> None:
    found = check_config(root, refuse_debian)
    document = check_document("config-check", found.document())
    check_broken_documents("config-check", document, ("errors", "files"))
    assert [one["name"] for one in document["targets"] if one["error"]] == ["lab", "x"]
    assert found.wrong[0] == "targets.lab: overlays: there is none"
    assert "board: missing" in found.wrong[1]
    assert found.lines() == ["read: bootwright.toml, bootwright.local.toml", "ok: odroid"]


def test_a_wrong_setting_of_all_logs_is_named_once(root: Path) -> None:
    with (root / "bootwright.toml").open("a") as file:
        file.write('[logs]\ntransport = "pigeon"\n[logs.collector]\nport = 1\n')
    (root / "bootwright.local.toml").unlink()
    found = check_config(root, lambda _: None)
    assert len(found.wrong) == 1
    assert "bootwright.toml: logs: transport" in found.wrong[0]
    assert check_config(root / "board", lambda _: None).wrong == ()
    (root / "bootwright.toml").write_text("[targets")
    assert check_config(root, lambda _: None).targets == ()
    assert "not TOML" in check_config(root, lambda _: None).wrong[0]
