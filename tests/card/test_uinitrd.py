"""The initial RAM disk for the vendor's U-Boot: made here, and made again on the board."""

import os
import subprocess
from pathlib import Path

import pytest

from bootwright.card.boot_script import uinitrd
from bootwright.core.io.process import run
from bootwright.core.shell import render_program

pytestmark = pytest.mark.integration

# The checksum of the second one begins with two zero digits.
CONTENTS = [bytes(range(256)) * 41 + b"\n\0", b"62", b"\0" * 70_000]


@pytest.fixture
def hook(tmp_path: Path) -> Path:
    path = tmp_path / "hook"
    path.write_text(
        render_program(
            "card/shell/uinitrd.sh",
            initrd=f"{tmp_path}/initrd.img",
            image=f"{tmp_path}/uInitrd",
            maximum="100000",
        )
    )
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("content", CONTENTS, ids=len)
def test_the_header_is_the_one_that_mkimage_writes_here_and_on_the_board(
    content: bytes, hook: Path, tmp_path: Path
) -> None:
    (tmp_path / "1.img").write_bytes(content)
    (tmp_path / "initrd.img").symlink_to("1.img")
    argv = ["mkimage", "-A", "arm", "-O", "linux", "-T", "ramdisk", "-C", "none"]
    run(
        [*argv, "-n", "bootwright", "-d", f"{tmp_path}/1.img", f"{tmp_path}/expected"],
        env={"SOURCE_DATE_EPOCH": "0"},
    )
    expected = (tmp_path / "expected").read_bytes()
    assert uinitrd(content) == expected
    # As run-parts calls it.
    subprocess.run([hook, "6.1.0-1", "/boot/initrd.img-6.1.0-1"], check=True)
    assert (tmp_path / "uInitrd").read_bytes() == expected


def test_the_hook_follows_the_link_and_keeps_the_old_file_without_a_ram_disk(
    hook: Path, tmp_path: Path
) -> None:
    for name in ("1.img", "2.img"):
        (tmp_path / name).write_bytes(name.encode())
        (tmp_path / "new").symlink_to(name)
        (tmp_path / "new").replace(tmp_path / "initrd.img")
        subprocess.run([hook], check=True)
        assert (tmp_path / "uInitrd").read_bytes() == uinitrd(name.encode())
    (tmp_path / "2.img").unlink()
    subprocess.run([hook], check=True)
    assert (tmp_path / "uInitrd").read_bytes() == uinitrd(b"2.img")


def test_a_full_disk_is_an_error_and_keeps_the_old_file(hook: Path, tmp_path: Path) -> None:
    (tmp_path / "initrd.img").write_bytes(os.urandom(100_000))
    (tmp_path / "uInitrd").write_bytes(b"old")
    done = subprocess.run(["sh", "-c", 'ulimit -f 64; exec "$0"', hook], stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert b"uInitrd is not written: writing it failed (is the disk full?)" in done.stderr
    assert b"This board would not start with the new kernel" in done.stderr
    assert (tmp_path / "uInitrd").read_bytes() == b"old"
    assert not (tmp_path / "uInitrd.new").exists()


def test_a_ram_disk_that_u_boot_has_no_room_for_is_an_error(hook: Path, tmp_path: Path) -> None:
    (tmp_path / "uInitrd").write_bytes(b"old")
    (tmp_path / "initrd.img").write_bytes(bytes(100_001))
    done = subprocess.run([hook], stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert b"initrd.img has 100001 bytes, and U-Boot has room for 100000" in done.stderr
    assert b"This board would not start with the new kernel" in done.stderr
    assert (tmp_path / "uInitrd").read_bytes() == b"old"
    (tmp_path / "initrd.img").write_bytes(bytes(100_000))
    subprocess.run([hook], check=True)
    assert (tmp_path / "uInitrd").read_bytes() == uinitrd(bytes(100_000))
