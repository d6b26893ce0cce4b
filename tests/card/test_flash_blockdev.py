"""`inv flash` on a real block device: a loop device that the test makes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bootwright.card.block_device import is_unfinished
from bootwright.core.io.process import run
from tests.support.bench import Bench
from tests.support.loopdevice import command, loop, mounted, partition_nodes
from tests.support.schemas import check_document

pytestmark = [pytest.mark.integration, pytest.mark.blockdev]

SIZE = 5 << 30


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Bench, Path, str]]:
    """A loop device of 5 GiB that was once a GPT disk, full of old bytes at both ends."""
    bench = Bench(tmp_path)
    backing = tmp_path / "backing.img"
    old = b"\xa5" * (8 << 20)
    with backing.open("xb") as file:
        file.write(old)
        file.truncate(SIZE)
        file.seek(SIZE - len(old))
        file.write(old)
    run(["sfdisk", "--quiet", str(backing)], stdin=b"label: gpt\n,,L\n")
    with loop(backing) as device:
        bench.image = Path(device)
        yield bench, backing, device


def flash(bench: Bench, *more: str) -> dict[str, Any]:
    # A disk has its own size.
    done = bench.inv("--json", "--yes", *more, without=("size",))
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_a_disk_becomes_a_card_and_old_signatures_are_gone(
    disk: tuple[Bench, Path, str], tmp_path: Path
) -> None:
    bench, backing, device = disk
    document = check_document("flash", flash(bench))
    assert document["device"]["path"] == device
    assert document["device"]["kind"] == "block"
    assert document["device"]["size_bytes"] == SIZE
    counted = document["bytes"]
    assert counted["written"] == counted["mapped"] == counted["verified"]
    table = json.loads(command("sfdisk", "--json", device))["partitiontable"]
    assert table["label"] == "dos"
    # The backup GPT, which would win over the DOS table in some tools, is gone.
    with backing.open("rb") as file:
        file.seek(SIZE - (1 << 20))
        assert not any(file.read())
    root, volume = document["partitions"]
    with partition_nodes(device), mounted(f"{device}p1", tmp_path / "root") as folder:
        assert (folder / "etc" / "crypttab").read_text().count(volume["uuid"]) == 1
        assert (folder / "etc" / "fstab").read_text().count(root["uuid"]) == 1
        refused = bench.inv("--yes", without=("size",))
        assert refused.returncode == 3
        assert "mounted at" in refused.stderr
    assert flash(bench)["verified"] is True


def test_overwriting_a_disk_is_confirmed_and_a_partition_is_refused(
    disk: tuple[Bench, Path, str],
) -> None:
    bench, _, device = disk
    asked = bench.inv(without=("size",))
    assert asked.returncode == 3
    assert "--yes" in asked.stderr
    flash(bench)
    with partition_nodes(device):
        bench.image = Path(f"{device}p1")
        done = bench.inv("--yes", without=("size",))
    assert done.returncode == 3
    assert f"name the disk, {device}" in done.stderr


_COUNTERFEIT = """
from bootwright.card.io.medium import BlockDevice
read, write = BlockDevice.read, BlockDevice.write
BlockDevice.read = lambda self, buffer, offset: read(self, buffer, offset % (1 << 30))
BlockDevice.write = lambda self, buffer, offset: write(self, buffer, offset % (1 << 30))
from invoke.main import program
program.run()
"""


def test_a_counterfeit_card_is_refused_before_it_is_written(disk: tuple[Bench, Path, str]) -> None:
    """Its addresses wrap around at 1 GiB."""
    bench, backing, device = disk
    argv = bench.argv("--yes", without=("size",))[1:]
    done = subprocess.run(
        [sys.executable, "-c", _COUNTERFEIT, *argv],
        cwd=bench.checkout,
        env=bench.env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3, done.stderr
    assert f"{device}: it claims to have 5.0 GiB ({SIZE} bytes)" in done.stderr
    assert "it stores at most 1.0 GiB (1073741824 bytes)" in done.stderr
    assert "Check the size of the card" in done.stderr
    with backing.open("rb") as file:
        assert is_unfinished(file.read(512))
        # Between the marks nothing was written.
        file.seek(1 << 20)
        assert file.read(1 << 20)[512:] == b"\xa5" * ((1 << 20) - 512)


def test_the_last_step_needs_no_file_as_large_as_the_card(disk: tuple[Bench, Path, str]) -> None:
    """The largest file allowed has room for the root file system (4 GiB), not for the card."""
    bench, _, _ = disk
    argv = ["prlimit", f"--fsize={SIZE - (512 << 20)}", *bench.argv("--yes", without=("size",))]
    done = subprocess.run(argv, cwd=bench.checkout, env=bench.env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_question_shows_what_a_loop_device_is_attached_to(
    disk: tuple[Bench, Path, str],
) -> None:
    bench, backing, _ = disk
    document = flash(bench, "--dry-run")
    assert f"attached to: {backing} (a regular file" in document["contents"][1]


def test_a_disk_that_is_too_small_is_refused_with_both_sizes(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    backing = tmp_path / "backing.img"
    with backing.open("xb") as file:
        file.truncate(2 << 30)
    with loop(backing) as device:
        bench.image = Path(device)
        done = bench.inv("--yes", without=("size",))
    assert done.returncode == 3
    assert "2.0 GiB" in done.stderr
    assert "4.1 GiB" in done.stderr
