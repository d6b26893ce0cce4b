"""Tarballs that are compressed, cut, damaged or hostile: an image, or nothing."""

import hashlib
import os
import tarfile
from pathlib import Path

import pytest

from bootwright.core.errors import InputError, RefusedError
from bootwright.core.units import KIB, MIB
from tests.support.ext4images import (
    PACKERS,
    archive,
    build,
    content,
    debugfs,
    leaves_nothing,
    member,
    number,
    packed,
    xattrs,
)

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("kind", PACKERS)
def test_compressed(kind: str, plain: Path, tmp_path: Path) -> None:
    path = packed(plain, kind, tmp_path)
    result = build(path, tmp_path / "a.img")
    assert result.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(content(tmp_path / "a.img", "a", tmp_path)) == 3 * MIB + 17


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("part", [0.3, 0.999])
def test_truncated_compressed(kind: str, part: float, plain: Path, tmp_path: Path) -> None:
    path = packed(plain, kind, tmp_path)
    os.truncate(path, int(path.stat().st_size * part))
    leaves_nothing(tmp_path, path, "damaged or truncated")


def test_bytes_that_a_decompressor_ignores_are_hashed_too(plain: Path, tmp_path: Path) -> None:
    path = packed(plain, "bz2", tmp_path)
    with path.open("ab") as file:
        file.write(b"garbage!" * MIB)
    result = build(path, tmp_path / "a.img")
    assert result.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("kind", PACKERS)
def test_corrupt_compressed(kind: str, plain: Path, tmp_path: Path) -> None:
    path = packed(plain, kind, tmp_path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    leaves_nothing(tmp_path, path, "damaged")


@pytest.mark.parametrize("size", [0, 100, 512, 3 * KIB, MIB, 3 * MIB + 2 * KIB])
def test_truncated_plain(size: int, plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(plain.read_bytes()[:size])
    leaves_nothing(tmp_path, path, "truncated")


def test_truncated_between_entries(plain: Path, tmp_path: Path) -> None:
    """Without the end mark, entries could be missing."""
    path = tmp_path / "a.tar"
    path.write_bytes(plain.read_bytes()[: 512 + 3 * MIB + 512])
    leaves_nothing(tmp_path, path, "truncated")


def test_a_file_that_is_not_a_tarball(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(b"\x7fELF" * 5000)
    leaves_nothing(tmp_path, path, "not a tarball")
    path.write_bytes(bytes(10240))
    leaves_nothing(tmp_path, path, "empty")
    path.unlink()
    leaves_nothing(tmp_path, path, "cannot read it: No such file")
    path.mkdir()
    leaves_nothing(tmp_path, path, "cannot read it|not a file")


HOSTILE = {
    "absolute": [member("/etc/passwd")],
    "climbing": [member("a/../../etc/passwd")],
    "device": [member("etc/sda", tarfile.BLKTYPE, devmajor=8)],
    "through a link": [member("x", tarfile.SYMTYPE, linkname="/"), member("x/y")],
    "hard link out": [member("x", tarfile.LNKTYPE, linkname="/etc/shadow")],
    "NUL": [member("long" * 40 + "\0.txt")],
    "time": [member("x", mtime=1e15)],
    "attributes": [member("x", pax_headers=xattrs(user_x=b"v" * 5000))],
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE)
def test_hostile_archives_leave_nothing(members: list[tarfile.TarInfo], tmp_path: Path) -> None:
    noise = (member("first"), b"content" * 100_000)
    tarball = archive(tmp_path / "a.tar", noise, *members)
    message = leaves_nothing(tmp_path, tarball, r"a\.tar: ")
    assert repr(members[-1].name) in message


def test_the_error_for_a_hostile_directory_has_its_name(tmp_path: Path) -> None:
    odd = member("d/e", tarfile.DIRTYPE, pax_headers=xattrs(user_x=b"v" * 5000))
    tarball = archive(tmp_path / "a.tar", odd)
    leaves_nothing(tmp_path, tarball, r"'d/e/': 5001 bytes of extended attributes")


def test_the_error_for_a_directory_with_a_wrong_time_has_its_name(tmp_path: Path) -> None:
    tarball = archive(tmp_path / "a.tar", member("d/e", tarfile.DIRTYPE, mtime=1e15))
    leaves_nothing(tmp_path, tarball, r"'d/e/': time 1000000000000000 s is out of range")


def test_a_directory_gets_the_attributes_of_its_last_entry(tmp_path: Path) -> None:
    def directory(**values: bytes) -> tarfile.TarInfo:
        return member("d", tarfile.DIRTYPE, pax_headers=xattrs(**values))

    tarball = archive(
        tmp_path / "a.tar",
        directory(user_a=b"1" * 3000),
        directory(user_b=b"2" * 3000),
        member("e", tarfile.DIRTYPE, pax_headers=xattrs(user_c=b"3")),
        member("f", tarfile.DIRTYPE, pax_headers=xattrs(user_c=b"3" * 3000)),
        member("f", tarfile.DIRTYPE, mode=0o700),
    )
    image = tmp_path / "a.img"
    build(tarball, image)  # e2fsck finds a block that was not given back
    assert "user.a" not in debugfs(image, "ea_list d")
    assert "user.b (3000)" in debugfs(image, "ea_list d")
    assert "user.c (1)" in debugfs(image, "ea_list e")
    assert number("File ACL", debugfs(image, "stat f")) == 0


def test_a_tarball_that_is_not_the_verified_one_is_refused(plain: Path, tmp_path: Path) -> None:
    image = tmp_path / "x.img"
    image.write_bytes(b"old")
    right = hashlib.sha256(plain.read_bytes()).hexdigest()
    with pytest.raises(RefusedError, match=f"{plain}: it changed while it was read; nothing was"):
        build(plain, image, expected_sha256=hashlib.sha256(b"other").hexdigest())
    assert image.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [image]
    build(plain, image, expected_sha256=right)
    assert image.stat().st_size == 64 * MIB


def test_the_data_is_on_the_disk_before_the_image_has_its_name_and_the_folder_after(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "x.img"
    synced: list[tuple[int, bool]] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        real(fd)
        synced.append((os.fstat(fd).st_ino, image.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    build(plain, image)
    assert synced == [(image.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


def test_files_of_killed_runs_are_removed(plain: Path, tmp_path: Path) -> None:
    left = [tmp_path / f".x.img.{pid}.partial" for pid in (1, os.getpid(), 99999999)]
    kept = [tmp_path / name for name in (".y.img.7.partial", ".x.img.z.partial", "x.img.7.partial")]
    for path in left + kept:
        path.write_bytes(b"")
    build(plain, tmp_path / "x.img")
    assert sorted(tmp_path.iterdir()) == sorted([*kept, tmp_path / "x.img"])


def test_an_existing_image_is_kept_if_building_fails(tmp_path: Path) -> None:
    image = tmp_path / "a.img"
    image.write_bytes(b"old")
    with pytest.raises(InputError):
        build(archive(tmp_path / "a.tar", member("/x")), image)
    assert image.read_bytes() == b"old"
    build(archive(tmp_path / "a.tar", member("x")), image)
    assert image.stat().st_size == 64 * MIB


def test_a_file_that_claims_to_be_huge(tmp_path: Path) -> None:
    tarball = tmp_path / "a.tar"
    huge = member("huge", size=1 << 60)
    tarball.write_bytes(huge.tobuf(tarfile.GNU_FORMAT) + bytes(10240))
    leaves_nothing(tmp_path, tarball, "'huge': 1152921504606846976 bytes in an image of 67108864")
    extension = member("x", tarfile.XHDTYPE, size=1 << 40)
    tarball.write_bytes(extension.tobuf(tarfile.GNU_FORMAT) + bytes(10240))
    leaves_nothing(tmp_path, tarball, "an extended header of 1099511627776 bytes")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_endless_extended_headers(kind: bytes, tmp_path: Path) -> None:
    tarball = tmp_path / "a.tar"
    with tarball.open("wb") as file:
        for line in range(3):
            value = b"%d=" % line + b"x" * (500 * KIB)
            record = b"%d %s\n" % (len(value) + 8, value)
            file.write(member("x", kind, size=len(record)).tobuf() + record)
            file.write(bytes(-len(record) % 512))
        file.write(member("x").tobuf() + bytes(1024))
    leaves_nothing(tmp_path, tarball, "or too many")


def test_a_second_archive_behind_the_first_is_refused(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(plain.read_bytes() + plain.read_bytes())
    leaves_nothing(tmp_path, path, "behind the end of the archive")


def test_a_skippable_frame_before_zstd(plain: Path, tmp_path: Path) -> None:
    path = packed(plain, "zst", tmp_path)
    frame = (0x184D2A50).to_bytes(4, "little") + (4).to_bytes(4, "little") + b"size"
    path.write_bytes(frame + path.read_bytes())
    build(path, tmp_path / "a.img")
    assert len(content(tmp_path / "a.img", "a", tmp_path)) == 3 * MIB + 17


def test_zeros_behind_a_compressed_archive_are_named(plain: Path, tmp_path: Path) -> None:
    path = packed(plain, "zst", tmp_path)
    with path.open("ab") as file:
        file.write(bytes(1024))
    leaves_nothing(tmp_path, path, "something behind the end of the compressed archive")


@pytest.mark.parametrize("ranges", [((0, 3), (MIB, 4096), (5 * MIB, 1)), ((7 * MIB, 0),), ()])
def test_a_sparse_file_as_bsdtar_writes_it(
    ranges: tuple[tuple[int, int], ...], tmp_path: Path
) -> None:
    numbers = [len(ranges), *(value for pair in ranges for value in pair)]
    map_ = "".join(f"{value}\n" for value in numbers).encode()
    map_ += bytes(-len(map_) % 512)
    size = 7 * MIB
    info = member("GNUSparseFile.0/lastlog")
    info.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "var/lastlog",
        "GNU.sparse.realsize": str(size),
    }
    data = b"".join(bytes([65 + index]) * length for index, (_, length) in enumerate(ranges))
    tarball = archive(tmp_path / "a.tar", (info, map_ + data), (member("after"), b"after"))
    build(tarball, tmp_path / "a.img")
    expected = bytearray(size)
    for index, (offset, length) in enumerate(ranges):
        expected[offset : offset + length] = bytes([65 + index]) * length
    assert content(tmp_path / "a.img", "var/lastlog", tmp_path) == bytes(expected)
    assert content(tmp_path / "a.img", "after", tmp_path) == b"after"


def test_links_that_come_again(tmp_path: Path) -> None:
    def link(name: str, to: str) -> tarfile.TarInfo:
        return member(name, tarfile.SYMTYPE, linkname=to)

    def hard(name: str, to: str) -> tarfile.TarInfo:
        return member(name, tarfile.LNKTYPE, linkname=to)

    long = "x" * 200
    tarball = archive(
        tmp_path / "a.tar",
        link("bin", long),
        link("bin", "usr/bin"),
        (member("su"), b"su"),
        hard("su", "su"),
        link("sh", "bash"),
        hard("rsh", "sh"),
        hard("su", "sh"),
    )
    build(tarball, tmp_path / "a.img")
    for name, to in (("bin", "usr/bin"), ("sh", "bash"), ("rsh", "bash"), ("su", "bash")):
        assert f'Fast link dest: "{to}"' in debugfs(tmp_path / "a.img", f"stat /{name}")
