"""Boards as data: what the loader proves before anything is written."""

import hashlib
import shutil
from pathlib import Path

import pytest

from bootwright.core import paths
from bootwright.core.board import Board, available_boards, load_board, place_blob
from bootwright.core.errors import InputError, RefusedError

BOARDS = paths.checkout() / "board"


def edited(tmp_path: Path, old: str, new: str) -> Path:
    """Return a boards folder whose odroid-xu3 has ``old`` replaced once by ``new``."""
    folder = tmp_path / "odroid-xu3"
    folder.mkdir()
    text = (BOARDS / "odroid-xu3" / "board.toml").read_text()
    assert old in text
    (folder / "board.toml").write_text(text.replace(old, new, 1))
    return tmp_path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cores = 8", "cores = 0", ["cores", "greater than 0"]),
        ("cores = 8", 'cores = "8"', ["cores", "integer"]),
        ("cores = 8", "cores = 8\ncolour = 1", ["colour", "unknown key"]),
        ("ram_mib = 2048\n", "", ["ram_mib", "required"]),
        ('default_layout = "1m"', 'default_layout = "2m"', ["'2m' is none of", "328k", "720k"]),
        ("first_partition_sector = 8192", "first_partition_sector = 4096", ["6303", "4096"]),
        ("sector = 2111\n", "sector = 2110\n", ["u-boot", "overlaps", "tzsw", "2110"]),
        ("sector = 1\nsectors = 30", "sector = 0\nsectors = 30", ["bl1", "sector 0"]),
        ("sector = 6272", "sector = 2600", ["tzsw", "overlaps", "environment"]),
        ("memory_kib = 65536", "memory_kib = 1048576", ["memory_kib", "quarter", "2048 MiB"]),
        ("iterations = 4", "iterations = 3", ["iterations", "greater than or equal to 4"]),
        ("bytes = 277508", "bytes = 377508", ["u-boot", "377508", "335872"]),
        (
            '"31325cac7f0c99657d81220fccc167b874ab12079fda1d239e67a42239627ecb"',
            '"2e8a8c401658626d32caba6ac09a1582671cedc4ca6ba1a056d5e323d8b99be8"',
            ["u-boot", "2e8a8c40", "both in known and in bad"],
        ),
        ('boot_script = "boot.scr"', 'boot_script = "uEnv"', ["boot_script", "'boot.ini'"]),
        ('\nlayout = "1m"', '\nlayout = "4m"', ["rootfs.archlinuxarm.layout", "'4m'"]),
    ],
)
def test_the_error_for_an_impossible_board_names_the_key(
    tmp_path: Path, old: str, new: str, message: list[str]
) -> None:
    boards = edited(tmp_path, old, new)
    with pytest.raises(InputError) as caught:
        load_board(boards, "odroid-xu3")
    assert "board.toml" in str(caught.value)
    for part in message:
        assert part in str(caught.value)


def test_an_unknown_board_lists_those_that_exist() -> None:
    with pytest.raises(InputError, match="odroid-xu3, odroid-xu4"):
        load_board(BOARDS, "pdp11")


def test_a_new_board_needs_only_a_file(tmp_path: Path) -> None:
    shutil.copytree(BOARDS, tmp_path, dirs_exist_ok=True)
    (tmp_path / "hc1").mkdir()
    (tmp_path / "hc1" / "board.toml").write_text('extends = "odroid-xu4"\nram_mib = 4096\n')
    board = load_board(tmp_path, "hc1")
    assert "hc1" in available_boards(tmp_path)
    assert (board.name, board.ram_mib, board.ethernet_driver) == ("hc1", 4096, "r8152")
    assert board.layout_for("debian") == "720k"


def test_boards_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    for name, base in (("a", "b"), ("b", "a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "board.toml").write_text(f'extends = "{base}"\n')
    with pytest.raises(InputError, match="extends"):
        load_board(tmp_path, "a")


@pytest.fixture
def xu3() -> Board:
    return load_board(BOARDS, "odroid-xu3")


def test_the_sectors_are_those_of_the_vendors_script(xu3: Board) -> None:
    # hardkernel/u-boot, sd_fusing.1M.sh: 1, 31, 63, 2111.
    places = {blob.name: blob.sector for blob in xu3.layouts["1m"].blobs}
    assert places == {"bl1": 1, "bl2": 31, "u-boot": 63, "tzsw": 2111}


def test_a_blob_that_does_not_fit_is_refused_with_both_sizes(xu3: Board) -> None:
    blob = xu3.layouts["1m"].blobs[0]
    with pytest.raises(InputError, match=r"15617 bytes.*room for 15616"):
        place_blob(xu3, "1m", blob, bytes(15617), "bl1.bin")


def test_an_empty_blob_is_refused(xu3: Board) -> None:
    with pytest.raises(InputError, match="empty"):
        place_blob(xu3, "1m", xu3.layouts["1m"].blobs[0], b"", "bl1.bin")


def test_a_bl2_of_another_layout_is_refused(xu3: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    # The real blob is the vendor's; what counts is its recorded digest.
    content = b"a bl2 for the 720k layout"
    digest = hashlib.sha256(content).hexdigest()
    blobs = xu3.layouts["720k"].blobs
    known = blobs[1].known[0].model_copy(update={"sha256": digest})
    other = xu3.layouts["720k"].model_copy(
        update={"blobs": (blobs[0], blobs[1].model_copy(update={"known": (known,)}), *blobs[2:])}
    )
    board = xu3.model_copy(update={"layouts": {**xu3.layouts, "720k": other}})
    with pytest.raises(InputError, match=r"layout 720k.*would not start"):
        place_blob(board, "1m", board.layouts["1m"].blobs[1], content, "bl2.bin")


def test_a_blob_with_an_unknown_digest_is_accepted_and_marked(xu3: Board) -> None:
    placed = place_blob(xu3, "1m", xu3.layouts["1m"].blobs[0], b"mine", "bl1.bin")
    assert not placed.known


@pytest.mark.parametrize("layout", ["1m", "720k"])
@pytest.mark.parametrize("name", ["odroid-xu3", "odroid-xu4"])
def test_a_blob_that_is_known_not_to_boot_is_refused_with_the_reason(
    name: str, layout: str
) -> None:
    # The real one is 538224 bytes of Debian's; what counts is its digest.
    content = b"a u-boot that resets for ever"
    board = load_board(BOARDS, name)
    blobs = board.layouts["1m"].blobs
    bad = blobs[2].bad[0].model_copy(update={"sha256": hashlib.sha256(content).hexdigest()})
    changed = board.layouts["1m"].model_copy(
        update={"blobs": (*blobs[:2], blobs[2].model_copy(update={"bad": (bad,)}), blobs[3])}
    )
    board = board.model_copy(update={"layouts": {**board.layouts, "1m": changed}})
    with pytest.raises(RefusedError, match=r"u\.bin: .*cros-ec.*--blobs") as caught:
        place_blob(board, layout, board.layouts[layout].blobs[2], content, "u.bin")
    assert caught.value.exit_code == 3


def test_the_u_boot_of_debian_12_is_bad_and_those_seen_to_start_a_kernel_are_known() -> None:
    for name in available_boards(BOARDS):
        u_boot = load_board(BOARDS, name).layouts["1m"].blobs[2]
        assert [bad.sha256[:8] for bad in u_boot.bad] == ["2e8a8c40"]
        assert {known.sha256[:8] for known in u_boot.known} == {"31325cac", "145a21db"}
