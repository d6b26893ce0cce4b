"""Used ranges from the output of dumpe2fs; with the real tool on small images."""

import subprocess
from pathlib import Path

import pytest

from bootwright.card.io.medium import file_data_spans
from bootwright.core.errors import FailedError
from bootwright.rootfs.byte_ranges import Extent, Span, intersect, merge, subtract, total
from bootwright.rootfs.ext4 import usage

TEXT = """\
dumpe2fs 1.47.0 (5-Feb-2023)
Filesystem volume name:   <none>
Block count:              20
Free blocks:              7
Block size:               1024


Group 0: (Blocks 1-10) csum 0x8798 [ITABLE_ZEROED]
  Primary superblock at 1, Group descriptors at 2-3
  4 free blocks, 2037 free inodes, 2 directories, 2037 unused inodes
  Free blocks: 4, 8-10
  Free inodes: 12-2048
Group 1: (Blocks 11-19) csum 0xde83 [INODE_UNINIT, ITABLE_ZEROED]
  3 free blocks, 2048 free inodes, 0 directories, 2048 unused inodes
  Free blocks: 11-13
  Free inodes: 2049-4096
Group 2: (Blocks 20-20) csum 0xde83 [INODE_UNINIT, ITABLE_ZEROED]
  Free blocks: 
  Free inodes: 
"""  # noqa: W291


def test_used_is_what_no_group_lists_as_free() -> None:
    ext4 = usage.parse(TEXT, "root.img")
    assert (ext4.block_size, ext4.block_count, ext4.size) == (1024, 20, 20480)
    blocks = [(span.start // 1024, span.end // 1024) for span in ext4.used]
    assert blocks == [(0, 4), (5, 8), (14, 20)]


def test_used_data_is_content_and_used_holes_are_zeros() -> None:
    ext4 = usage.parse(TEXT, "root.img")
    data = [Span(0, 2048), Span(4096, 6144), Span(18432, 20480)]
    assert usage.extents(ext4, data, "root", 4096) == (
        Extent(4096, 2048, "root", 0),
        Extent(6144, 2048, None),
        # Block 4 is free, so its data need not be written.
        Extent(4096 + 5120, 1024, "root", 5120),
        Extent(4096 + 6144, 2048, None),
        Extent(4096 + 14336, 4096, None),
        Extent(4096 + 18432, 2048, "root", 18432),
    )


def test_counts_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(FailedError, match=r"root\.img: 7 blocks.*says 8; run 'e2fsck -f"):
        usage.parse(TEXT.replace("Free blocks:              7", "Free blocks:   8"), "root.img")


def test_output_without_geometry_is_refused() -> None:
    with pytest.raises(FailedError, match="is it an ext4 image"):
        usage.parse("dumpe2fs: Bad magic number in super-block\n", "root.img")


def test_malformed_ranges_are_refused() -> None:
    with pytest.raises(FailedError, match="lists free blocks as '8-x'"):
        usage.parse(TEXT.replace("8-10", "8-x"), "root.img")


@pytest.mark.parametrize("options", [[], ["-b", "1024"], ["-O", "^64bit,^metadata_csum,^flex_bg"]])
def test_an_image_copied_by_its_extents_is_complete(tmp_path: Path, options: list[str]) -> None:
    """Only the used blocks, written over 0xA5 bytes, make a file system that e2fsck accepts."""
    tree, image, rebuilt = tmp_path / "tree", tmp_path / "root.img", tmp_path / "rebuilt.img"
    tree.mkdir()
    for number in range(50):
        (tree / f"file{number}").write_bytes(bytes([number]) * 5000 * number)
    subprocess.run(
        ["mke2fs", "-q", "-t", "ext4", "-d", tree, *options, image, "64M"],
        check=True,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )
    text = subprocess.run(usage.command(str(image)), capture_output=True, text=True, check=True)
    ext4 = usage.parse(text.stdout, str(image))
    data = file_data_spans(image)
    extents = usage.extents(ext4, data, "root", 0)
    assert total(extents) == total(ext4.used) < ext4.size
    assert merge(each.span for each in extents if each.source) == intersect(ext4.used, data)
    assert merge(each.span for each in extents if not each.source) == subtract(ext4.used, data)

    content = bytearray(b"\xa5" * ext4.size)
    original = image.read_bytes()
    for each in extents:
        content[each.offset : each.end] = (
            original[each.source_offset : each.source_offset + each.length]
            if each.source
            else bytes(each.length)
        )
    rebuilt.write_bytes(content)
    checked = subprocess.run(["e2fsck", "-fn", rebuilt], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    dumped = tmp_path / "dumped"
    subprocess.run(
        ["debugfs", "-R", f"dump /file49 {dumped}", rebuilt], check=True, capture_output=True
    )
    assert dumped.read_bytes() == (tree / "file49").read_bytes()
