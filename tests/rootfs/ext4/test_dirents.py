"""Directories: encoded names can be decoded, and no entry crosses a block."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from bootwright.rootfs.ext4.dirents import encode_directory

BLOCK = 4096


def listed(content: bytes) -> list[tuple[bytes, int, int]]:
    """Walk the blocks as a kernel would."""
    assert content
    assert len(content) % BLOCK == 0
    found = []
    for start in range(0, len(content), BLOCK):
        at = start
        while at < start + BLOCK:
            inode, size, length, kind = struct.unpack_from("<IHBB", content, at)
            assert size >= 8 + length
            assert size % 4 == 0
            if inode:
                found.append((content[at + 8 : at + 8 + length], inode, kind))
            at += size
        assert at == start + BLOCK, "the last entry reaches to the end of its block"
    return found


names = st.binary(min_size=1, max_size=255)
entries = st.lists(st.tuples(names, st.integers(1, 2**32 - 1), st.integers(1, 7)), max_size=100)


@given(entries, st.integers(1, 5))
def test_encoded_names_can_be_decoded(wanted: list[tuple[bytes, int, int]], least: int) -> None:
    content = encode_directory(7, 2, wanted, least)
    assert listed(content) == [(b".", 7, 2), (b"..", 2, 2), *wanted]
    assert len(content) >= least * BLOCK


def test_exactly_full_block() -> None:
    # 12 bytes each for "." and "..", then 4072 bytes in entries of 12 and one of 16.
    wanted = [(b"%04d" % n, n + 1, 1) for n in range(338)] + [(b"sixteen8", 1000, 1)]
    assert len(encode_directory(2, 2, wanted)) == BLOCK
    more = [*wanted, (b"x", 1001, 1)]
    content = encode_directory(2, 2, more)
    assert len(content) == 2 * BLOCK
    assert listed(content)[2:] == more
