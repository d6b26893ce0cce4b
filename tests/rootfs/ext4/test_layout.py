"""Superblock, group descriptors and feature names."""

import struct

import pytest

from bootwright.core.errors import InputError
from bootwright.rootfs.ext4.layout import (
    FEATURES,
    Group,
    check_features,
    encode_groups,
    parse_groups,
    parse_superblock,
)


def superblock(*patches: tuple[str, int, int]) -> bytes:
    raw = bytearray(1024)
    struct.pack_into("<II", raw, 0x00, 2048, 40000)
    struct.pack_into("<II", raw, 0x14, 0, 2)
    struct.pack_into("<I", raw, 0x20, 32768)
    struct.pack_into("<I", raw, 0x28, 1024)
    struct.pack_into("<H", raw, 0x38, 0xEF53)
    struct.pack_into("<H", raw, 0x58, 256)
    for form, offset, value in patches:
        struct.pack_into(form, raw, offset, value)
    return bytes(raw)


def test_superblock() -> None:
    found = parse_superblock(superblock())
    assert (found.blocks, found.inodes, found.inodes_per_group) == (40000, 2048, 1024)
    assert found.groups == 2
    changed = found.with_free(7, 8)
    assert struct.unpack_from("<II", changed, 0x0C) == (7, 8)
    assert changed[:12] + changed[20:] == superblock()[:12] + superblock()[20:]


@pytest.mark.parametrize(
    ("patch", "why"),
    [
        (("<H", 0x38, 0), "no ext4"),
        (("<I", 0x18, 0), "4 KiB"),
        (("<H", 0x58, 128), "128 bytes"),
        (("<I", 0x60, 0x80), "0x80 at 0x60"),  # 64bit
        (("<I", 0x64, 0x400), "0x400 at 0x64"),  # metadata_csum
    ],
)
def test_other_file_systems(patch: tuple[str, int, int], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_superblock(superblock(patch))


def test_groups_are_encoded_as_they_were_parsed() -> None:
    groups = [Group(1, 2, 3, 4, 5, 6), Group(7, 8, 9, 32768, 11, 12)]
    raw = encode_groups(groups)
    assert len(raw) == 64
    assert parse_groups(raw, 2) == groups


def test_features() -> None:
    check_features(list(FEATURES))
    with pytest.raises(InputError, match="not supported: 64bit, metadata_csum;"):
        check_features([*FEATURES, "64bit", "metadata_csum"])
    with pytest.raises(InputError, match="required: extent"):
        check_features([name for name in FEATURES if name != "extent"])
