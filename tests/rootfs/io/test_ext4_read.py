"""Ext4Reader against real file systems made by mke2fs."""

import hashlib
import os
import subprocess
import tracemalloc
from pathlib import Path

import pytest

from bootwright.card.io.operator_files import find_blobs
from bootwright.core.board import BadBlob, load_board
from bootwright.core.errors import FailedError, InputError, RefusedError
from bootwright.core.io.process import run
from bootwright.rootfs.io.ext4_read import Ext4Reader
from bootwright.rootfs.io.read_facts import read_rootfs_facts

pytestmark = pytest.mark.integration

OFFSET = 8192 * 512
LONG_TARGET = "/etc/" + "q" * 100


def make_image(tree: Path, image: Path, offset: int = 0) -> None:
    with image.open("wb") as file:
        file.truncate(offset + 16 * 1024 * 1024)
    extended = ["-E", f"offset={offset}"] if offset else []
    subprocess.run(
        ["mke2fs", "-q", "-F", "-t", "ext4", "-L", "rootfs", "-d", tree, *extended, image, "16M"],
        check=True,
        env=os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    (root / "boot").mkdir()
    (root / "etc" / "a dir").mkdir(parents=True)
    (root / "boot" / "vmlinuz-6.1").write_bytes(b"\x00kernel\n" * 40000)
    (root / "etc" / "empty").touch()
    (root / "etc" / "a dir" / 'odd "name"\nhere').write_bytes(b"odd")
    (root / "etc" / os.fsdecode(b"latin-\xe9")).write_bytes(b"1")
    (root / "vmlinuz").symlink_to("boot/vmlinuz-6.1")
    (root / "etc" / "absolute").symlink_to("/boot/vmlinuz-6.1")
    (root / "etc" / "parent").symlink_to("../boot")
    (root / "etc" / "escape").symlink_to("../../../../etc/empty")
    (root / "etc" / "long").symlink_to(LONG_TARGET)
    (root / "etc" / ("q" * 100)).write_bytes(b"through a long link")
    (root / "loop").symlink_to("loop")
    (root / "dangling").symlink_to("nowhere")
    return root


@pytest.fixture(scope="module", params=[0, OFFSET], ids=["bare", "in a partition"])
def reader(
    tree: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Ext4Reader:
    image = tmp_path_factory.mktemp("image") / "card.img"
    make_image(tree, image, request.param)
    return Ext4Reader(image, request.param)


def test_superblock(reader: Ext4Reader) -> None:
    superblock = reader.superblock()
    assert len(superblock.uuid) == 36
    assert "has_journal" in superblock.features
    assert not superblock.needs_recovery


def test_files_are_read_through_links(reader: Ext4Reader, tree: Path) -> None:
    kernel = (tree / "boot" / "vmlinuz-6.1").read_bytes()
    assert reader.read_file("/vmlinuz") == kernel
    assert reader.read_file("/etc/absolute") == kernel
    assert reader.read_file("/etc/parent/vmlinuz-6.1") == kernel
    assert reader.read_file("/etc/escape") == b""
    assert reader.read_file("/etc/long") == b"through a long link"
    assert reader.resolve("/etc/absolute") == "/boot/vmlinuz-6.1"
    assert reader.readlink("/vmlinuz") == "boot/vmlinuz-6.1"
    assert reader.readlink("/etc/long") == LONG_TARGET


@pytest.mark.parametrize(
    ("name", "why"),
    [("etc/passwd", r"/etc/passwd has 900\.0 MiB, more than 4\.0 MiB"), ("boot/boot.txt", "boot")],
)
def test_a_huge_text_in_a_root_file_system_is_refused(name: str, why: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for path in ("etc/passwd", "etc/shadow", "etc/group", "usr/lib/systemd/systemd", name):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).touch()
    make_image(tree, tmp_path / "small.img")
    assert read_rootfs_facts(tmp_path / "small.img", "UTC").passwd == ""
    os.truncate(tree / name, 900 << 20)
    make_image(tree, tmp_path / "huge.img")
    tracemalloc.start()
    with pytest.raises(InputError, match=rf"huge\.img: .*{why}"):
        read_rootfs_facts(tmp_path / "huge.img", "UTC")
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_a_huge_boot_blob_in_a_root_file_system_is_refused(tmp_path: Path) -> None:
    inside = tmp_path / "tree" / "boot" / "blob"
    inside.parent.mkdir(parents=True)
    inside.touch()
    os.truncate(inside, 900 << 20)
    make_image(tmp_path / "tree", tmp_path / "huge.img")
    board = load_board(Path(__file__).parents[3] / "board", "odroid-xu3")
    layout = next(name for name, one in board.layouts.items() if one.blobs[0].rootfs_files)
    blobs = [
        blob.model_copy(update={"rootfs_files": ("/boot/blob",)})
        for blob in board.layouts[layout].blobs
    ]
    changed = board.layouts[layout].model_copy(update={"blobs": blobs})
    other = board.model_copy(update={"layouts": {**board.layouts, layout: changed}})
    with pytest.raises(InputError, match="root file system: /boot/blob: 943718400 bytes, but bl1"):
        find_blobs(other, layout, None, tmp_path / "huge.img")


def test_a_boot_blob_that_is_known_not_to_boot_is_refused_from_both_places(tmp_path: Path) -> None:
    content = b"a u-boot that resets for ever"
    for folder in ("tree/boot", "blobs"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "u-boot.bin").write_bytes(content)
    make_image(tmp_path / "tree", tmp_path / "root.img")
    board = load_board(Path(__file__).parents[3] / "board", "odroid-xu3")
    bad = BadBlob(sha256=hashlib.sha256(content).hexdigest(), reason="it resets for ever")
    u_boot = board.layouts["1m"].blobs[2].model_copy(update={"bad": (bad,)})
    changed = board.layouts["1m"].model_copy(update={"blobs": (u_boot,)})
    board = board.model_copy(update={"layouts": {**board.layouts, "1m": changed}})
    with pytest.raises(RefusedError, match=r"^root file system: /boot/u-boot\.bin: .*for ever"):
        find_blobs(board, "1m", None, tmp_path / "root.img")
    with pytest.raises(RefusedError, match=r"blobs/u-boot\.bin: .*for ever"):
        find_blobs(board, "1m", tmp_path / "blobs", tmp_path / "root.img")


def test_owner_numbers_of_2_to_the_31_and_more(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").touch()
    image = tmp_path / "owners.img"
    make_image(tmp_path / "tree", image)
    for field, value in (("uid", 2**32 - 2), ("gid", 2**31)):
        run(["debugfs", "-w", "-R", f"set_inode_field /file {field} {value}", str(image)])
    found = Ext4Reader(image).lookup("/file")
    assert found is not None
    assert (found.uid, found.gid) == (2**32 - 2, 2**31)


def test_dotdot_after_a_link_goes_up_from_its_target(reader: Ext4Reader) -> None:
    assert reader.resolve("/etc/parent/../vmlinuz") == "/boot/vmlinuz-6.1"


def test_paths_that_do_not_exist(reader: Ext4Reader) -> None:
    assert not reader.exists("/nothing")
    assert not reader.exists("/dangling")
    assert not reader.exists("/vmlinuz/below-a-file")
    assert reader.lookup("/dangling", follow=False) is not None
    assert reader.resolve("/dangling") is None
    with pytest.raises(InputError, match=r"no file /boot$"):
        reader.read_file("/boot")
    with pytest.raises(InputError, match="no file /dangling"):
        reader.dump({"/dangling": Path("unused")})
    with pytest.raises(InputError, match="too many symbolic links"):
        reader.exists("/loop")


def test_odd_names_are_listed_and_read(reader: Ext4Reader) -> None:
    names = [entry.name for entry in reader.list_dir("/etc/a dir")]
    assert names == ['odd "name"\nhere']
    assert reader.read_file('/etc/a dir/odd "name"\nhere') == b"odd"
    assert reader.read_file("/etc/" + os.fsdecode(b"latin-\xe9")) == b"1"
    with pytest.raises(InputError, match="not a directory"):
        reader.list_dir("/vmlinuz")


def test_entries_carry_owner_and_mode(reader: Ext4Reader, tree: Path) -> None:
    entry = reader.lookup("/vmlinuz")
    assert entry is not None
    assert (entry.is_file, entry.mode, entry.size) == (True, 0o100644, 320000)
    assert entry.uid == (tree / "boot").stat().st_uid
    root = reader.lookup("/")
    assert root is not None and root.is_dir


def test_several_files_are_read_by_one_debugfs(
    reader: Ext4Reader, tmp_path: Path, tree: Path
) -> None:
    kernel = tmp_path / 'a "quoted" name'
    kernel.write_bytes(b"x" * 999_999)
    reader.dump({"/vmlinuz": kernel, "/etc/empty": tmp_path / "empty"})
    assert kernel.read_bytes() == (tree / "boot" / "vmlinuz-6.1").read_bytes()
    assert (tmp_path / "empty").read_bytes() == b""
    files = reader.read_files(["/etc/long", "/etc/empty"])
    assert files == {"/etc/long": b"through a long link", "/etc/empty": b""}
    assert reader.read_files([]) == {}


def test_a_copy_that_cannot_be_written_is_an_error(reader: Ext4Reader, tmp_path: Path) -> None:
    with pytest.raises(FailedError, match="No such file or directory"):
        reader.dump({"/vmlinuz": tmp_path / "no" / "such" / "directory"})


def test_other_files_than_ext4_are_refused(tmp_path: Path) -> None:
    zeros = tmp_path / "zeros"
    zeros.write_bytes(b"\0" * 1_000_000)
    with pytest.raises(InputError, match="no ext4 file system"):
        Ext4Reader(zeros).superblock()
    with pytest.raises(InputError, match="no ext4 file system"):
        Ext4Reader(zeros, 4096).exists("/etc")
    with pytest.raises(InputError, match="No such file"):
        Ext4Reader(tmp_path / "absent").exists("/etc")
    with pytest.raises(InputError, match="question mark"):
        Ext4Reader(tmp_path / "what?.img")


def test_a_damaged_directory_is_an_error(tree: Path, tmp_path: Path) -> None:
    image = tmp_path / "damaged.img"
    make_image(tree, image)
    content = image.read_bytes()
    # The first block of a directory starts with its own inode and the name "."; overwrite all.
    damaged = content.replace(b"\x0c\0\x01\x02.\0\0\0", b"\0\0\0\0\0\0\0\0")
    assert damaged != content
    image.write_bytes(damaged)
    with pytest.raises(FailedError, match="e2fsck"):
        Ext4Reader(image).read_file("/boot/vmlinuz-6.1")
