"""Extended attributes: names, hashes, and where values are stored."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootwright.rootfs.ext4 import xattrs
from bootwright.rootfs.ext4.xattrs import (
    BODY_SIZE,
    Attribute,
    attribute,
    block_hash,
    encode_xattrs,
    entry_hash,
)
from bootwright.rootfs.tar_entries import EntryRefused


def read_back(area: bytes, first: int, base: int) -> dict[tuple[int, bytes], bytes]:
    """Read entries from ``first``; values are at offsets from ``base``."""
    found = {}
    at = first
    lowest = len(area)
    while area[at : at + 4] != bytes(4):
        length, prefix, offset, inode, size, hashed = struct.unpack_from("<BBHIII", area, at)
        name = area[at + 16 : at + 16 + length]
        value = area[base + offset : base + offset + size]
        assert len(value) == size
        assert inode == 0
        padded = value + bytes(-size % 4)
        assert hashed == entry_hash(name, padded)
        if size:
            lowest = min(lowest, base + offset)
        found[prefix, name] = value
        at += (16 + length + 3) & ~3
    assert at + 4 <= lowest, "entries and values do not overlap"
    return found


attributes = st.dictionaries(
    st.tuples(st.sampled_from([1, 4, 6]), st.binary(min_size=1, max_size=30).filter(all)),
    st.binary(max_size=200),
    min_size=1,
    max_size=12,
)


@given(attributes)
def test_encoded_attributes_can_be_decoded(wanted: dict[tuple[int, bytes], bytes]) -> None:
    items = [Attribute(p, len(name), name, value) for (p, name), value in wanted.items()]
    body, block = encode_xattrs(items)
    if block is None:
        assert len(body) == BODY_SIZE
        assert struct.unpack_from("<I", body) == (0xEA020000,)
        assert read_back(body, 4, 4) == wanted
        return
    assert body == b""
    assert len(block) == 4096
    magic, references, blocks, hashed = struct.unpack_from("<IIII", block)
    assert (magic, references, blocks) == (0xEA020000, 1, 1)
    found = read_back(block, 32, 0)
    assert found == wanted
    # The kernel looks names up in a block by this order.
    assert list(found) == sorted(found, key=lambda item: (item[0], len(item[1]), item[1]))
    assert hashed == block_hash(
        entry_hash(name, value + bytes(-len(value) % 4)) for (_, name), value in found.items()
    )


def test_a_hash_that_e2fsprogs_computed() -> None:
    # "mke2fs -d" 1.47.0, of a file with trusted.bigger set to 300 times "x".
    assert entry_hash(b"bigger", b"x" * 300) == 0x68AABADA


def test_no_attributes() -> None:
    assert encode_xattrs([]) == (b"", None)


@pytest.mark.parametrize(("size", "in_inode"), [(68, True), (69, False)])
def test_what_fits_in_the_inode(size: int, in_inode: bool) -> None:
    # 96 bytes less the magic (4), an entry of 16 + 4, and the end mark (4).
    _, block = encode_xattrs([Attribute(1, 4, b"name", bytes(size))])
    assert (block is None) is in_inode


def test_a_megabyte_of_small_ones_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xattrs, "entry_hash", lambda name, value: pytest.fail("encoded"))
    many = [Attribute(1, 8, b"%08d" % number, b"v" * 24) for number in range(30_000)]
    with pytest.raises(EntryRefused, match="960000 bytes of extended attributes do not fit"):
        encode_xattrs(many)


def test_too_large() -> None:
    room = 4096 - 32 - 20 - 4
    encode_xattrs([Attribute(1, 4, b"name", bytes(room))])
    with pytest.raises(EntryRefused, match="do not fit"):
        encode_xattrs([Attribute(1, 4, b"name", bytes(room + 1))])


def test_names() -> None:
    assert attribute(b"user.a.b", b"v") == (1, 3, b"a.b", b"v")
    assert attribute(b"trusted.x", b"") == (4, 1, b"x", b"")
    assert attribute(b"security.capability", b"v") == (6, 10, b"capability", b"v")
    for name in (b"user.", b"com.apple.provenance", b"system.nfs4_acl", b"user", b"", b"user.a\0"):
        assert attribute(name, b"v") is None
    assert attribute(b"user." + b"x" * 256, b"v") is None


def test_access_control_list() -> None:
    def acl(version: int, *items: tuple[int, int, int]) -> bytes:
        return struct.pack("<I", version) + b"".join(struct.pack("<HHI", *i) for i in items)

    value = acl(2, (1, 7, 0xFFFFFFFF), (2, 5, 1000), (4, 5, 0xFFFFFFFF), (0x20, 0, 0xFFFFFFFF))
    stored = "01000000 01000700 02000500e8030000 04000500 20000000"
    assert attribute(b"system.posix_acl_access", value) == (2, 0, b"", bytes.fromhex(stored))
    found = attribute(b"system.posix_acl_default", value)
    assert found is not None
    assert found.prefix == 3
    for broken in (b"", value[:-1], acl(1, (1, 7, 0)), acl(2, (3, 7, 0))):
        assert attribute(b"system.posix_acl_access", broken) is None
