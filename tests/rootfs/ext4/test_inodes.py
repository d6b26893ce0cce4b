"""Inodes: times, device numbers, owners, and the offsets of all fields."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootwright.rootfs.ext4.inodes import (
    encode_device,
    encode_inode,
    encode_time,
    extents_root,
    set_links,
)
from bootwright.rootfs.tar_entries import EntryRefused


@given(st.integers(-(2**31) * 10**9, (2**34 - 2**31) * 10**9 - 1))
def test_times_are_read_back_as_a_kernel_does(time_ns: int) -> None:
    seconds, extra = encode_time(time_ns)
    signed = seconds - (1 << 32) if seconds >> 31 else seconds
    assert (signed + ((extra & 3) << 32)) * 10**9 + (extra >> 2) == time_ns


@pytest.mark.parametrize("seconds", [-(2**31) - 1, 2**34 - 2**31, 10**30])
def test_times_out_of_range(seconds: int) -> None:
    with pytest.raises(EntryRefused, match="out of range"):
        encode_time(seconds * 10**9)


@given(st.integers(0, 4095), st.integers(0, 0xFFFFF))
def test_devices(major: int, minor: int) -> None:
    raw = encode_device(major, minor)
    assert len(raw) == 60
    old, new = struct.unpack_from("<II", raw)
    if old:
        assert (old >> 8, old & 0xFF) == (major, minor)
    else:
        assert (new >> 8 & 0xFFF, new & 0xFF | new >> 12 & 0xFFF00) == (major, minor)


def test_fields() -> None:
    raw = encode_inode(
        mode=0o104755,
        uid=70000,
        gid=80001,
        mtime_ns=1700000000123456789,
        changed_ns=1800000000000000000,
        size=5 << 32 | 6,
        links=3,
        blocks=7,
        flags=0x80000,
        body=b"body",
        xattr_body=b"tail" * 24,
        xattr_block=99,
    )
    assert len(raw) == 256

    def at(form: str, offset: int) -> int:
        (value,) = struct.unpack_from("<" + form, raw, offset)
        return int(value)

    assert at("H", 0x00) == 0o104755
    assert at("H", 0x02) | at("H", 0x78) << 16 == 70000
    assert at("H", 0x18) | at("H", 0x7A) << 16 == 80001
    assert at("I", 0x04) | at("I", 0x6C) << 32 == 5 << 32 | 6
    assert at("I", 0x08) == at("I", 0x10) == 1700000000
    assert at("I", 0x88) >> 2 == at("I", 0x8C) >> 2 == 123456789
    assert at("I", 0x0C) == at("I", 0x90) == 1800000000
    assert at("I", 0x14) == 0
    assert at("H", 0x1A) == 3
    assert at("I", 0x1C) == 56
    assert at("I", 0x20) == 0x80000
    assert raw[0x28:0x64] == b"body".ljust(60, b"\0")
    assert at("I", 0x68) == 99
    assert at("H", 0x80) == 32
    assert raw[160:] == b"tail" * 24


def test_changes_in_a_table() -> None:
    inode = encode_inode(mode=0o100644, uid=0, gid=0, mtime_ns=0, changed_ns=0, body=b"x" * 60)
    table = bytearray(bytes(256) + inode)
    assert extents_root(table, 256) == b"x" * 60
    set_links(table, 256, 9)
    assert table[:256] == bytes(256)
    assert struct.unpack_from("<H", table, 256 + 0x1A) == (9,)
    assert len(table) == 512
