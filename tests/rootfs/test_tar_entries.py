"""Hostile and unusual entries: which are refused, and which are accepted."""

import tarfile
import tracemalloc
from contextlib import suppress
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootwright.rootfs.io.tar_stream import (
    check_checksum,
    decode_header,
    decode_number,
    pax_records,
)
from bootwright.rootfs.tar_entries import (
    EntryKind,
    EntryRefused,
    RootTree,
    TarEntry,
    TarHeader,
    check_target,
    clean_path,
    entry_error,
    entry_of,
    quote_name,
    sparse_map,
)


def entry(
    kind: EntryKind, name: bytes, link: bytes = b"", device: tuple[int, int] = (0, 0)
) -> TarEntry:
    return TarEntry(kind, name, 0o755, 0, 0, 0, 0, link, device, {})


def file(name: bytes) -> TarEntry:
    return entry(EntryKind.FILE, name)


def directory(name: bytes) -> TarEntry:
    return entry(EntryKind.DIRECTORY, name)


def symlink(name: bytes, target: bytes) -> TarEntry:
    return entry(EntryKind.SYMLINK, name, target)


def hard_link(name: bytes, target: bytes) -> TarEntry:
    return entry(EntryKind.HARD_LINK, name, target)


def node(name: bytes, device: tuple[int, int] = (1, 3)) -> TarEntry:
    return entry(EntryKind.CHAR_DEVICE, name, device=device)


REFUSED = {
    "empty name": ([file(b"")], "no name"),
    "absolute name": ([file(b"/etc/passwd")], "absolute"),
    "absolute directory": ([directory(b"/")], "absolute"),
    "climbing name": ([file(b"../x")], "'..'"),
    "climbing inside": ([file(b"a/../../x")], "'..'"),
    "harmless dots": ([file(b"a/../x")], "'..'"),
    "NUL": ([file(b"a\0b")], "NUL"),
    "long component": ([file(b"a/" + b"x" * 256)], "longer than 255"),
    "long path": ([file(b"a/" * 2048 + b"x")], "4095 is the limit"),
    "root as a file": ([file(b".")], "name of a directory"),
    "slash after a file": ([symlink(b"x/", b"y")], "name of a directory"),
    "link to nothing": ([symlink(b"x", b"")], "to nothing"),
    "link that climbs": ([symlink(b"x", b"../x")], "leaves the root"),
    "deep link that climbs": ([symlink(b"a/b/x", b"../../../x")], "leaves the root"),
    "link that climbs and returns": ([symlink(b"a/x", b"../../a/y")], "leaves the root"),
    "absolute link that climbs": ([symlink(b"x", b"/../x")], "leaves the root"),
    "link with NUL": ([symlink(b"x", b"a\0b")], "NUL"),
    "long link": ([symlink(b"x", b"a" * 4096)], "4095 is the limit"),
    "hard link to nothing": ([hard_link(b"x", b"y")], "no earlier entry"),
    "hard link to a later file": ([hard_link(b"x", b"y"), file(b"y")], "no earlier entry"),
    "hard link to itself": ([hard_link(b"x", b"x")], "no earlier entry"),
    "hard link out": ([hard_link(b"x", b"../y")], "'..'"),
    "absolute hard link": ([hard_link(b"x", b"/etc/shadow")], "absolute"),
    "hard link to a directory": ([directory(b"d"), hard_link(b"x", b"d")], "is a directory"),
    "hard link to the root": ([hard_link(b"x", b".")], "no earlier entry"),
    "hard link through a symlink": (
        [file(b"d/f"), symlink(b"s", b"d"), hard_link(b"x", b"s/f")],
        "no earlier entry",
    ),
    "device outside dev": ([node(b"etc/null")], "outside dev/"),
    "device at the root": ([node(b"null")], "outside dev/"),
    "device named dev": ([node(b"dev")], "outside dev/"),
    "device beside dev": ([node(b"devices/null")], "outside dev/"),
    "device number": ([node(b"dev/null", (4096, 0))], "out of range"),
    "symlink in place of a directory": (
        [directory(b"lib"), symlink(b"lib", b"usr/lib")],
        "in place of a directory",
    ),
    "symlink in place of an implied directory": (
        [file(b"lib/x"), symlink(b"lib", b"usr/lib")],
        "in place of a directory",
    ),
    "directory in place of a symlink": (
        [symlink(b"lib", b"usr/lib"), directory(b"lib")],
        "through it",
    ),
    "directory in place of a file": ([file(b"x"), directory(b"x")], "not a directory"),
    "file in place of a directory": ([directory(b"x"), file(b"x")], "in place of a directory"),
    "through a symlink": ([symlink(b"lib", b"usr/lib"), file(b"lib/x")], "through it"),
    "deep through a symlink": ([symlink(b"a/b", b"/"), file(b"a/b/c/d/e")], "'a/b' is a symb"),
    "directory through a symlink": ([symlink(b"a", b"b"), directory(b"a/c")], "through it"),
    "below a file": ([file(b"a"), file(b"a/b")], "not a directory"),
}


@pytest.mark.parametrize(("entries", "why"), REFUSED.values(), ids=REFUSED)
def test_refused(entries: list[TarEntry], why: str) -> None:
    tree = RootTree()
    with pytest.raises(EntryRefused, match=why):
        for item in entries:
            tree.place(item)


ACCEPTED = {
    "absolute symlink": [symlink(b"etc/mtab", b"/proc/self/mounts")],
    "symlink up to the root": [symlink(b"a/b/x", b"../../c")],
    "symlink to the root": [symlink(b"x", b"/")],
    "symlink with dots": [symlink(b"a/x", b"./../b/../c")],
    "dangling symlink": [symlink(b"x", b"not/there")],
    "longest component": [file(b"x" * 255)],
    "deepest path": [file(b"a/" * 2047 + b"x")],
    "dots in names": [file(b"./a/./b//c"), file(b"..a/b..")],
    "not UTF-8": [file(b"\xff\xfe")],
    "control characters": [file(b"a\nb\x1b[31m")],
    "the root": [directory(b"./"), directory(b".")],
    "directory again": [directory(b"d"), file(b"d/x"), directory(b"d/")],
    "file again": [file(b"x"), file(b"./x")],
    "hard links": [file(b"a"), hard_link(b"b", b"./a"), hard_link(b"c", b"b")],
    "file in place of a hard link": [file(b"a"), hard_link(b"b", b"a"), file(b"b")],
    "hard link to a symlink": [symlink(b"s", b"y"), hard_link(b"x", b"s")],
    "hard link to a device": [node(b"dev/null"), hard_link(b"dev/x", b"dev/null")],
    "hard link in place of a file": [file(b"a"), file(b"b"), hard_link(b"b", b"a")],
    "file in place of a symlink": [symlink(b"x", b"y"), file(b"x")],
    "symlink in place of a file": [file(b"x"), symlink(b"x", b"y")],
    "symlink again": [symlink(b"x", b"y"), symlink(b"x", b"z")],
    "device again": [node(b"dev/x"), node(b"dev/x")],
    "device": [node(b"dev/null"), node(b"./dev/pts/x", (4095, 0xFFFFF))],
    "FIFO": [entry(EntryKind.FIFO, b"run/initctl")],
}


@pytest.mark.parametrize("entries", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(entries: list[TarEntry]) -> None:
    tree = RootTree()
    for item in entries:
        tree.place(item)


def test_a_replaced_file_is_returned_and_a_hard_link_shares_its_node() -> None:
    tree = RootTree()
    first = tree.place(file(b"a")).node
    assert tree.place(hard_link(b"b", b"a")) == (first, None)
    assert first.links == 2
    again = tree.place(file(b"a"))
    assert again.replaced is first
    assert again.node is not first


def test_the_same_hard_link_again_changes_nothing() -> None:
    tree = RootTree()
    first = tree.place(file(b"a")).node
    tree.place(hard_link(b"b", b"a"))
    for again in (hard_link(b"b", b"a"), hard_link(b"a", b"a")):
        assert tree.place(again) == (first, None)
    assert first.links == 2


@pytest.mark.parametrize(
    ("numbers", "size", "stored", "ranges"),
    [
        ([], 8, 0, []),
        ([0, 2, 5, 3], 8, 5, [(0, 2), (5, 3)]),
        ([0, 2, 8, 0], 8, 2, [(0, 2)]),
        ([0, 2, 1, 3], 8, 5, None),
        ([5, 3, 0, 2], 8, 5, None),
        ([6, 3], 8, 3, None),
        ([0, 2], 8, 3, None),
    ],
)
def test_the_map_of_a_sparse_file(
    numbers: list[int], size: int, stored: int, ranges: list[tuple[int, int]] | None
) -> None:
    if ranges is None:
        with pytest.raises(EntryRefused, match="map"):
            sparse_map(numbers, size, stored)
    else:
        assert sparse_map(numbers, size, stored) == ranges


def test_a_directory_keeps_its_names_and_gets_the_last_attributes() -> None:
    tree = RootTree()
    implied = tree.place(file(b"d/x")).node
    later = directory(b"d")
    placed = tree.place(later).node
    assert placed.attributes is later
    assert placed.children == {b"x": implied}
    assert tree.directories == 2


def test_the_cache_of_paths_is_bounded() -> None:
    """A path of 4095 bytes can imply 2048 directories, whose paths have 4 MiB together."""
    tree = RootTree()
    tracemalloc.start()
    for number in range(5):
        tree.place(file(b"%d/" % number + b"d/" * 2046 + b"f"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert tree.directories == 1 + 5 * 2047
    assert peak < 600 * tree.directories


def test_many_directories_are_found_again() -> None:
    tree = RootTree()
    names = [b"a/%d/b" % number for number in range(2000)]
    placed = [tree.place(file(name + b"/x")).node for name in names]
    for name, node_there in zip(names, placed, strict=True):
        assert tree.place(hard_link(name + b"/y", name + b"/x")).node is node_there
    assert tree.directories == 2 + 2 * 2000


HEADER = TarHeader(b"x", 0o644, 0, 0, 0, 0, b"0", b"", (0, 0))

REFUSED_HEADERS = {
    "GNU sparse": (HEADER._replace(flag=b"S"), {}, "sparse"),
    "pax sparse": (HEADER, {b"GNU.sparse.major": b"1"}, "sparse"),
    "continuation": (HEADER._replace(flag=b"M"), {}, "type b'M'"),
    "volume label": (HEADER._replace(flag=b"V"), {}, "type b'V'"),
    "unknown type": (HEADER._replace(flag=b"Z"), {}, "type b'Z'"),
    "negative size": (HEADER._replace(size=-1), {}, "size is -1"),
    "negative owner": (HEADER._replace(uid=-1), {}, "owner -1:0"),
    "huge owner": (HEADER, {b"gid": b"4294967296"}, "owner 0:4294967296"),
    "signed size": (HEADER, {b"size": b"-1"}, "'size' is not a number"),
    "huge number": (HEADER, {b"size": b"9" * 5000}, "'size' is not a number"),
    "time in words": (HEADER, {b"mtime": b"1e9"}, "'mtime'"),
    "contents of a hard link": (HEADER._replace(flag=b"1", size=1), {}, "with content"),
    "attribute not base64": (HEADER, {b"LIBARCHIVE.xattr.user.a": b"A"}, "not base64"),
}


@pytest.mark.parametrize(
    ("header", "extended", "why"), REFUSED_HEADERS.values(), ids=REFUSED_HEADERS
)
def test_refused_header(header: TarHeader, extended: dict[bytes, bytes], why: str) -> None:
    with pytest.raises(EntryRefused, match=why):
        entry_of(header, extended)


def test_extended_header_wins() -> None:
    extended = {
        b"path": b"long/name",
        b"linkpath": b"target",
        b"size": b"12345678901",
        b"uid": b"70000",
        b"gid": b"80000",
        b"mtime": b"1700000000.5",
    }
    found = entry_of(HEADER._replace(mode=0o104755), extended)
    assert found == TarEntry(
        EntryKind.FILE, b"long/name", 0o4755, 70000, 80000, 1700000000500000000,
        12345678901, b"target", (0, 0), {},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [(b"0", 0), (b"-1.25", -1250000000), (b"1.", 10**9), (b"2.1234567899", 2123456789)],
)
def test_mtime(text: bytes, time_ns: int) -> None:
    assert entry_of(HEADER, {b"mtime": text}).mtime_ns == time_ns


def test_only_files_have_a_size() -> None:
    assert entry_of(HEADER._replace(flag=b"2", size=7), {}).size == 0


def test_a_directory_in_the_format_before_posix() -> None:
    assert entry_of(HEADER._replace(flag=b"\0", name=b"d/"), {}).kind is EntryKind.DIRECTORY


def test_extended_attributes_of_both_archivers() -> None:
    extended = {
        b"LIBARCHIVE.xattr.user.a%25b": b"AAE",
        b"LIBARCHIVE.xattr.user.same": b"AAE=",
        b"SCHILY.xattr.user.same": b"\0\1",
        b"SCHILY.xattr.security.capability": b"\1\0\0\2",
        b"RHT.security.selinux": b"system_u",
        b"SCHILY.acl.access": b"user::rwx",
    }
    assert entry_of(HEADER, extended).xattrs == {
        b"user.a%b": b"\0\1",
        b"user.same": b"\0\1",
        b"security.capability": b"\1\0\0\2",
        b"security.selinux": b"system_u\0",
        b"SCHILY.acl.access": b"user::rwx",
    }


def test_messages_have_no_control_characters() -> None:
    error = entry_error("root.tar", b"a\x1b[2J\xff", "why")
    assert str(error) == r"root.tar: 'a\x1b[2J\udcff': why"
    assert len(quote_name(b"x" * 10**6)) < 300


@given(st.binary(max_size=40))
def test_a_clean_path_is_clean(name: bytes) -> None:
    try:
        path = clean_path(name)
    except EntryRefused:
        return
    assert not path or not {b"", b".", b".."} & set(path.split(b"/"))
    assert clean_path(path or b".") == path


@given(st.lists(st.sampled_from([b"..", b".", b"", b"a"]), min_size=1, max_size=8))
def test_an_accepted_link_target_never_leaves_the_root(parts: list[bytes]) -> None:
    target = b"/".join(parts)
    depth = 0 if target.startswith(b"/") else 2
    lowest = depth
    for part in parts:
        depth += {b"..": -1, b"a": 1}.get(part, 0)
        lowest = min(lowest, depth)
    if lowest >= 0 and target:
        check_target(target, b"x/y")
    else:
        with pytest.raises(EntryRefused):
            check_target(target, b"x/y")


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT])
def test_header_as_tarfile_writes_it(form: Literal[0, 1]) -> None:
    info = tarfile.TarInfo("usr/" * 30 + "name" if form == tarfile.USTAR_FORMAT else "name")
    info.mode, info.uid, info.gid, info.mtime = 0o4755, 12, 34, 1700000000
    info.type, info.linkname = tarfile.CHRTYPE, "target"
    info.devmajor, info.devminor = 5, 6
    block = info.tobuf(form)
    check_checksum(block)
    assert decode_header(block) == TarHeader(
        info.name.encode(), 0o4755, 12, 34, 0, 1700000000, b"3", b"target", (5, 6)
    )


@given(st.integers(0, 511), st.integers(1, 255))
def test_a_changed_header_has_a_wrong_checksum(position: int, change: int) -> None:
    block = bytearray(tarfile.TarInfo("name").tobuf())
    block[position] = (block[position] + change) % 256
    try:
        check_checksum(bytes(block))
    except EntryRefused:
        return
    # Only the format of the checksum itself may change, not its value.
    assert 148 <= position < 156


@pytest.mark.parametrize(
    ("field", "number"),
    [
        (b"0000644\0", 0o644),
        (b"   644 \0", 0o644),
        (b"\0" * 8, 0),
        (b" " * 8, 0),
        (b"\x80" + (1 << 40).to_bytes(11, "big"), 1 << 40),
        (b"\xff" * 12, -1),
    ],
)
def test_numbers(field: bytes, number: int) -> None:
    assert decode_number(field) == number


@pytest.mark.parametrize(
    "field", [b"000064x\0", b"-000644\0", b"0o00644\0", b"1_00644\0", b"9" * 8]
)
def test_damaged_numbers(field: bytes) -> None:
    with pytest.raises(EntryRefused, match="damaged number"):
        decode_number(field)


def test_pax_records() -> None:
    assert pax_records(b"") == {}
    assert pax_records(b"9 a=b\n=\n\n6 c=d\n") == {b"a": b"b\n=\n", b"c": b"d"}
    assert pax_records(b"5 a=\n") == {b"a": b""}


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"0 a=b\n",
        b"7 a=b\n",
        b"5 a=b\n",
        b"6 a=b ",
        b"6 abc\n",
        b"5 =b\n",
        b"-6 a=b\n",
        b"6a=b\n",
    ],
)
def test_malformed_pax_records(data: bytes) -> None:
    with pytest.raises(EntryRefused, match="malformed"):
        pax_records(data)


@given(st.binary(max_size=60))
def test_pax_records_end(data: bytes) -> None:
    """For any input, it returns or raises this error and no other."""
    with suppress(EntryRefused):
        pax_records(data)
