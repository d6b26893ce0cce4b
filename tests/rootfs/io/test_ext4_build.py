"""Images built from tarballs, judged by e2fsprogs and by the kernel."""

import hashlib
import io
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bootwright.core.errors import FailedError, InputError, RefusedError
from bootwright.core.io import process
from bootwright.core.report import TextReporter
from bootwright.core.units import KIB, MIB
from bootwright.rootfs.io import ext4_build
from bootwright.rootfs.io.ext4_build import (
    DEFAULT_FEATURES,
    BuildResult,
    ImageFaultError,
    build_ext4,
)
from tests.support.loopdevice import command, loop

pytestmark = pytest.mark.integration

UUID = "6f1c35d8-4f6b-4c7e-9a55-0d7d1b0c9f10"
NOW = 1_700_000_000
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
"""``cap_net_raw=ep`` as the kernel stores it (linux/capability.h, revision 2)."""


def build(tarball: Path, image: Path, size: int = 64 * MIB, **other: object) -> BuildResult:
    arguments = {
        "size": size,
        "features": DEFAULT_FEATURES,
        "uuid": UUID,
        "label": "root",
        "timestamp": NOW,
        "journal_mib": 4,
        "reporter": TextReporter(io.StringIO()),
    } | other
    return build_ext4(tarball, image, **arguments)  # type: ignore[arg-type]


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mtime, info.mode = kind, 1_600_000_000, 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def archive(path: Path, *members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for item in members:
            info, content = item if isinstance(item, tuple) else (item, b"")
            if content:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def xattrs(**values: bytes) -> dict[str, str]:
    return {
        "SCHILY.xattr." + name.replace("_", ".", 1): value.decode("utf-8", "surrogateescape")
        for name, value in values.items()
    }


def debugfs(image: Path, *requests: str) -> str:
    out = ""
    for request in requests:
        out += process.run(["debugfs", "-R", request, str(image)]).text
    return out


def content(image: Path, name: str, scratch: Path) -> bytes:
    target = scratch / "dumped"
    debugfs(image, f'dump "{name}" {target}')
    data = target.read_bytes()
    target.unlink()
    return data


def number(name: str, text: str) -> int:
    match = re.search(rf"{name}:\s*(\d+)", text)
    assert match, f"no {name} in {text}"
    return int(match[1])


LONG = "target/" * 9
LONGEST = "x/" * 2047 + "x"


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, BuildResult]:
    """A tarball with one of each, and its image."""
    base = tmp_path_factory.mktemp("everything")
    capability = xattrs(security_capability=CAPABILITY)
    big_attributes = xattrs(user_big=b"v" * 3000, user_a=b"1", trusted_b=b"2")
    tarball = archive(
        base / "root.tar",
        member("./", tarfile.DIRTYPE, mode=0o750, uid=1, gid=2),
        member("./dev", tarfile.DIRTYPE, mode=0o755),
        member("./dev/null", tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3),
        member("./dev/big", tarfile.BLKTYPE, mode=0o660, devmajor=259, devminor=300),
        (member("./bin/su", mode=0o4755), b"#!" * 3000),
        (member("./bin/ping", mode=0o755, pax_headers=capability), b"p"),
        (member("./attributes", pax_headers=big_attributes), b"a"),
        (member("./owned", uid=65534, gid=2_000_000_000), b"nobody"),
        (member("./far", uid=100_000, gid=70_000, mtime=5_000_000_000.25), b"2128"),
        (member("./one"), b"one file\n"),
        member("./two", tarfile.LNKTYPE, linkname="./one"),
        member("./etc/three", tarfile.LNKTYPE, linkname="one"),
        member("./empty"),
        member("./tmp", tarfile.DIRTYPE, mode=0o1777),
        member("./short", tarfile.SYMTYPE, linkname="s" * 59, mode=0o777),
        member("./long", tarfile.SYMTYPE, linkname="l" * 60, mode=0o777),
        member("./longest", tarfile.SYMTYPE, linkname=LONGEST, mode=0o777),
        member("./absolute", tarfile.SYMTYPE, linkname="/usr/bin", mode=0o777),
        member("./run/fifo", tarfile.FIFOTYPE, mode=0o600),
        (member("./caf\udce9"), b"latin 1"),
        (member("./exact"), b"e" * 8192),
        member("./lost+found", tarfile.DIRTYPE, mode=0o700),
        (member("./lost+found/#12"), b"found"),
    )  # fmt: skip
    image = base / "root.img"
    return tarball, image, build(tarball, image)


def test_result(everything: tuple[Path, Path, BuildResult]) -> None:
    tarball, _, result = everything
    assert result.entries == 23
    assert result.bytes == 6000 + 1 + 1 + 6 + 4 + 9 + 7 + 8192 + 5
    assert result.warnings == ()
    assert result.sha256 == hashlib.sha256(tarball.read_bytes()).hexdigest()


def test_e2fsck_accepts_it(everything: tuple[Path, Path, BuildResult]) -> None:
    process.run(["e2fsck", "-fn", str(everything[1])])


def test_file_system(everything: tuple[Path, Path, BuildResult]) -> None:
    text = process.run(["dumpe2fs", "-h", str(everything[1])]).text
    features = re.search(r"features: *(.*)", text)
    assert features
    assert set(features[1].split()) == set(DEFAULT_FEATURES)
    assert re.search(rf"UUID: *{UUID}\n", text)
    assert f"crtime: 0x{NOW:08x}:" in debugfs(everything[1], "stat <8>"), "also of the journal"
    assert re.search(r"volume name: *root\n", text)
    assert number("Reserved block count", text) == 64 * MIB // 4096 // 100
    assert re.search(r"Total journal size: *4(M|096k)\n", text)


@pytest.mark.parametrize(
    ("name", "mode", "owner", "links"),
    [
        ("/", 0o40750, (1, 2), 8),
        ("/dev", 0o40755, (0, 0), 2),
        ("/bin", 0o40755, (0, 0), 2),
        ("/bin/su", 0o104755, (0, 0), 1),
        ("/owned", 0o100644, (65534, 2_000_000_000), 1),
        ("/far", 0o100644, (100_000, 70_000), 1),
        ("/one", 0o100644, (0, 0), 3),
        ("/tmp", 0o41777, (0, 0), 2),
        ("/run/fifo", 0o10600, (0, 0), 1),
        ("/longest", 0o120777, (0, 0), 1),
    ],
)
def test_attributes_of_files(
    everything: tuple[Path, Path, BuildResult],
    name: str,
    mode: int,
    owner: tuple[int, int],
    links: int,
) -> None:
    text = debugfs(everything[1], f"stat {name}")
    assert number("Mode", text) == int(f"{stat.S_IMODE(mode):o}")
    kinds = {0o4: "directory", 0o10: "regular", 0o1: "FIFO", 0o12: "symlink"}
    assert f"Type: {kinds[mode >> 12]}" in text
    assert (number("User", text), number("Group", text)) == owner
    assert number("Links", text) == links


def test_times(everything: tuple[Path, Path, BuildResult]) -> None:
    text = debugfs(everything[1], "stat far")
    seconds, extra = 5_000_000_000 & 0xFFFFFFFF, 250_000_000 << 2 | 1
    assert f"mtime: 0x{seconds:08x}:{extra:08x}" in text
    assert f"crtime: 0x{NOW:08x}:00000000" in text
    assert "mtime: 0x5f5e1000:00000000" in debugfs(everything[1], "stat tmp")


def test_devices(everything: tuple[Path, Path, BuildResult]) -> None:
    assert "Device major/minor number: 01:03" in debugfs(everything[1], "stat dev/null")
    assert "Device major/minor number: 259:300" in debugfs(everything[1], "stat dev/big")


def test_hard_links_share_an_inode(everything: tuple[Path, Path, BuildResult]) -> None:
    found = {number("Inode", debugfs(everything[1], f"stat {n}")) for n in ("one", "etc/three")}
    assert len(found) == 1


def test_symlinks(everything: tuple[Path, Path, BuildResult], tmp_path: Path) -> None:
    image = everything[1]
    assert f'Fast link dest: "{"s" * 59}"' in debugfs(image, "stat short")
    assert 'Fast link dest: "/usr/bin"' in debugfs(image, "stat absolute")
    assert content(image, "long", tmp_path) == b"l" * 60
    assert content(image, "longest", tmp_path) == LONGEST.encode()
    assert number("Size", debugfs(image, "stat longest")) == 4095


def test_contents(everything: tuple[Path, Path, BuildResult], tmp_path: Path) -> None:
    image = everything[1]
    assert content(image, "bin/su", tmp_path) == b"#!" * 3000
    assert content(image, "two", tmp_path) == b"one file\n"
    assert content(image, "empty", tmp_path) == b""
    assert content(image, "exact", tmp_path) == b"e" * 8192
    assert content(image, "lost+found/#12", tmp_path) == b"found"


def test_capability_survives_byte_for_byte(
    everything: tuple[Path, Path, BuildResult], tmp_path: Path
) -> None:
    image, target = everything[1], tmp_path / "capability"
    debugfs(image, f"ea_get -f {target} bin/ping security.capability")
    assert target.read_bytes() == CAPABILITY
    assert number("File ACL", debugfs(image, "stat bin/ping")) == 0, "it fits in the inode"


def test_attributes_in_a_block(everything: tuple[Path, Path, BuildResult], tmp_path: Path) -> None:
    image, target = everything[1], tmp_path / "attribute"
    assert number("File ACL", debugfs(image, "stat attributes"))
    for name, value in {"user.big": b"v" * 3000, "user.a": b"1", "trusted.b": b"2"}.items():
        debugfs(image, f"ea_get -f {target} attributes {name}")
        assert target.read_bytes() == value


def test_same_input_same_bytes(everything: tuple[Path, Path, BuildResult], tmp_path: Path) -> None:
    tarball, image, _ = everything
    packed = tmp_path / "packed"
    packed.write_bytes(tarball.read_bytes())
    process.run(["gzip", str(packed)])
    again = tmp_path / "again.img"
    build(tmp_path / "packed.gz", again)
    assert again.read_bytes() == image.read_bytes()


def test_the_image_is_sparse(everything: tuple[Path, Path, BuildResult]) -> None:
    status = everything[1].stat()
    assert status.st_size == 64 * MIB
    assert status.st_blocks * 512 < 2 * MIB + 4 * MIB, "the journal is zeroed"
    assert stat.S_IMODE(status.st_mode) == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.blockdev
def test_the_kernel_agrees(everything: tuple[Path, Path, BuildResult], tmp_path: Path) -> None:
    tarball, image, _ = everything
    at = tmp_path / "mounted"
    at.mkdir()
    with loop(image, "--read-only") as device:
        command("mount", "-o", "ro,noload", device, at)
        try:
            _compare(tarball, at)
        finally:
            command("umount", at)


def _compare(tarball: Path, root: Path) -> None:
    """Compare everything that an archive tells with a mounted file system."""
    with tarfile.open(tarball) as tar:
        for info in tar:
            path = root / info.name
            found = path.lstat()
            assert (found.st_uid, found.st_gid) == (info.uid, info.gid), info.name
            assert found.st_mtime == info.mtime, info.name
            if not info.islnk():
                assert stat.S_IMODE(found.st_mode) == info.mode, info.name
            if info.isfile() or info.islnk():
                file = tar.extractfile(info)
                assert file
                assert path.read_bytes() == file.read(), info.name
            elif info.issym():
                assert str(path.readlink()) == info.linkname
            elif info.isdev() and not info.isfifo():
                device = (os.major(found.st_rdev), os.minor(found.st_rdev))
                assert device == (info.devmajor, info.devminor), info.name
            kept = {name: os.getxattr(path, name) for name in _xattrs(path)}
            prefix = "SCHILY.xattr."
            want = {
                key.removeprefix(prefix): value.encode("utf-8", "surrogateescape")
                for key, value in info.pax_headers.items()
                if key.startswith(prefix)
            }
            assert kept == want, info.name


def _xattrs(path: Path) -> list[str]:
    return [] if path.is_symlink() else os.listxattr(path)


def test_one_of_two_names_is_replaced(tmp_path: Path) -> None:
    tarball = archive(
        tmp_path / "a.tar",
        (member("a"), b"old"),
        member("b", tarfile.LNKTYPE, linkname="a"),
        (member("b"), b"new"),
    )
    image = tmp_path / "a.img"
    build(tarball, image)
    assert number("Links", debugfs(image, "stat a")) == 1
    assert content(image, "a", tmp_path) == b"old"
    assert content(image, "b", tmp_path) == b"new"


def test_ten_thousand_names_in_a_directory(tmp_path: Path) -> None:
    names = [f"{number:05}-{'n' * (number % 90)}" for number in range(10_000)]
    tarball = archive(tmp_path / "a.tar", *[member(f"d/{name}") for name in names])
    image = tmp_path / "a.img"
    build(tarball, image, 96 * MIB)
    listed = re.findall(r"^/\d+/\d+/\d+/\d+/([^/]+)/", debugfs(image, "ls -p d"), re.M)
    assert listed == [".", "..", *names]


def test_many_subdirectories_are_not_counted(tmp_path: Path) -> None:
    members = [member(f"d/{number}", tarfile.DIRTYPE) for number in range(65_100)]
    tarball = archive(tmp_path / "a.tar", *members)
    image = tmp_path / "a.img"
    build(tarball, image, 510 * MIB)
    assert number("Links", debugfs(image, "stat d")) == 1


def test_large_file_in_a_fragmented_image(tmp_path: Path) -> None:
    """Files that are replaced leave holes, which the last file has to fill."""
    large = b"".join(b"%015d\n" % line for line in range(9 * MIB))  # 144 MiB
    holes = [(member(f"f{number}"), bytes([number % 251 + 1]) * 4097) for number in range(1000)]
    again = [(member(f"f{number}"), b"short") for number in range(0, 1000, 2)]
    tarball = archive(tmp_path / "a.tar", *holes, *again, (member("large"), large))
    image = tmp_path / "a.img"
    build(tarball, image, 200 * MIB)
    free = number("Free blocks", process.run(["dumpe2fs", "-h", str(image)]).text)
    # Of the 1,000 blocks in holes, most are needed in an image so much smaller.
    build(tarball, image, 200 * MIB - (free - 100) * 4096)
    text = debugfs(image, "stat large")
    assert "ETB0" in text, "the extents need a block of their own"
    assert content(image, "large", tmp_path) == large
    assert content(image, "f0", tmp_path) == b"short"
    assert content(image, "f1", tmp_path) == bytes([2]) * 4097


def test_what_a_replaced_file_held_cannot_be_read(tmp_path: Path) -> None:
    """Given back blocks are used again when the image is nearly full."""
    secret = b"SECRET! " * (12 * MIB // 8)
    fill = member("fill")
    tarball = archive(
        tmp_path / "a.tar",
        (member("a"), secret),
        (member("a"), b"now harmless"),
        (fill, b"x" * (8 * MIB + 1)),
        (member("b"), b"y" * (11 * MIB + 1)),
    )
    image = tmp_path / "a.img"
    build(tarball, image, 30 * MIB)
    for name in ("a", "fill", "b"):
        text = debugfs(image, f"blocks {name}")
        last = int(text.split()[-1])
        with image.open("rb") as file:
            file.seek(last * 4096)
            assert b"SECRET" not in file.read(4096), name


PACKERS = {
    "gz": ["gzip", "-c"],
    "xz": ["xz", "-c"],
    "zst": ["zstd", "-qc", "--long=31"],
    "bz2": ["bzip2", "-c"],
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    noise = hashlib.shake_256(b"seed").digest(3 * MIB + 17)
    path = tmp_path_factory.mktemp("plain") / "a.tar"
    return archive(path, (member("a"), noise), (member("b"), noise[:5]))


def packed(plain: Path, kind: str, folder: Path) -> Path:
    if not shutil.which(PACKERS[kind][0]):
        pytest.fail(f"{PACKERS[kind][0]} is not installed: run scripts/setup test")
    path = folder / "archive"  # the name says nothing
    path.write_bytes(process.run([*PACKERS[kind], str(plain)]).stdout)
    return path


@pytest.mark.parametrize("kind", PACKERS)
def test_compressed(kind: str, plain: Path, tmp_path: Path) -> None:
    path = packed(plain, kind, tmp_path)
    result = build(path, tmp_path / "a.img")
    assert result.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(content(tmp_path / "a.img", "a", tmp_path)) == 3 * MIB + 17


def leaves_nothing(folder: Path, tarball: Path, why: str, **arguments: object) -> str:
    """Check that a build is refused and that nothing of it is left; return the message."""
    before = sorted(folder.iterdir())
    with pytest.raises(InputError, match=why) as caught:
        build(tarball, folder / "x.img", **arguments)  # type: ignore[arg-type]
    assert sorted(folder.iterdir()) == before
    assert str(tarball) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("part", [0.3, 0.999])
def test_truncated_compressed(kind: str, part: float, plain: Path, tmp_path: Path) -> None:
    path = packed(plain, kind, tmp_path)
    os.truncate(path, int(path.stat().st_size * part))
    leaves_nothing(tmp_path, path, "damaged or truncated")


def test_what_a_decompressor_ignores_is_hashed_too(plain: Path, tmp_path: Path) -> None:
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
    """Without the end mark nobody can tell whether an entry is missing."""
    path = tmp_path / "a.tar"
    path.write_bytes(plain.read_bytes()[: 512 + 3 * MIB + 512])
    leaves_nothing(tmp_path, path, "truncated")


def test_no_tarball(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(b"\x7fELF" * 5000)
    leaves_nothing(tmp_path, path, "no tarball")
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


def test_a_hostile_directory_is_named_too(tmp_path: Path) -> None:
    odd = member("d/e", tarfile.DIRTYPE, pax_headers=xattrs(user_x=b"v" * 5000))
    tarball = archive(tmp_path / "a.tar", odd)
    leaves_nothing(tmp_path, tarball, r"'d/e/': 5001 bytes of extended attributes")


def test_a_directory_with_an_odd_time_is_named_too(tmp_path: Path) -> None:
    tarball = archive(tmp_path / "a.tar", member("d/e", tarfile.DIRTYPE, mtime=1e15))
    leaves_nothing(tmp_path, tarball, r"'d/e/': time 1000000000000000 s is out of range")


def test_the_last_attributes_of_a_directory_count(tmp_path: Path) -> None:
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


def test_a_tarball_that_is_not_the_verified_one(plain: Path, tmp_path: Path) -> None:
    image = tmp_path / "x.img"
    image.write_bytes(b"old")
    right = hashlib.sha256(plain.read_bytes()).hexdigest()
    with pytest.raises(RefusedError, match=f"{plain}: it changed while it was read; nothing was"):
        build(plain, image, expected_sha256=hashlib.sha256(b"other").hexdigest())
    assert image.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [image]
    build(plain, image, expected_sha256=right)
    assert image.stat().st_size == 64 * MIB


def test_all_is_on_the_disk_before_the_image_appears(
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
    assert synced == [(image.stat().st_ino, False)]


def test_what_killed_runs_left_is_removed(plain: Path, tmp_path: Path) -> None:
    left = [tmp_path / f".x.img.{pid}.partial" for pid in (1, os.getpid(), 99999999)]
    kept = [tmp_path / name for name in (".y.img.7.partial", ".x.img.z.partial", "x.img.7.partial")]
    for path in left + kept:
        path.write_bytes(b"")
    build(plain, tmp_path / "x.img")
    assert sorted(tmp_path.iterdir()) == sorted([*kept, tmp_path / "x.img"])


def test_an_image_that_was_there_stays(tmp_path: Path) -> None:
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


def enough(message: str) -> int:
    match = re.search(r"about (\d+)MiB", message)
    assert match
    return int(match[1]) * MIB


@pytest.mark.parametrize(
    "sizes",
    [
        [70 * MIB, 200 * MIB],
        [20 * MIB] * 20,
        [1] * 30_000,
        [3] * 14_000 + [50 * MIB],
    ],
    ids=["huge", "large", "many", "mixed"],
)
def test_too_small_an_image_tells_the_size_needed(sizes: list[int], tmp_path: Path) -> None:
    files = [member(f"{number}", size=size) for number, size in enumerate(sizes)]
    tarball = tmp_path / "a.tar"
    with tarfile.open(tarball, "w") as tar:
        for info in files:
            tar.addfile(info, io.BytesIO(bytes(info.size)))
    size = max(64 * MIB, max(sizes))
    message = leaves_nothing(tmp_path, tarball, "does not fit into an image", size=size)
    needed = enough(message)
    build(tarball, tmp_path / "a.img", needed)
    assert needed < 2.5 * max(sum(sizes), 4096 * len(sizes)) + 64 * MIB, "not far too much"


def test_too_many_directories_for_the_image(tmp_path: Path) -> None:
    members = [member(f"{number}", tarfile.DIRTYPE) for number in range(9_000)]
    tarball = archive(tmp_path / "a.tar", *members)
    message = leaves_nothing(tmp_path, tarball, "does not fit", size=40 * MIB)
    build(tarball, tmp_path / "a.img", enough(message))


def test_too_many_implied_directories_for_the_image(tmp_path: Path) -> None:
    members = [member(f"{number}/f") for number in range(9_000)]
    tarball = archive(tmp_path / "a.tar", *members)
    message = leaves_nothing(tmp_path, tarball, "does not fit", size=96 * MIB)
    build(tarball, tmp_path / "a.img", enough(message))


def test_too_many_hard_links_for_the_image(tmp_path: Path) -> None:
    links = [member(f"b{number}", tarfile.LNKTYPE, linkname="a") for number in range(9_000)]
    tarball = archive(tmp_path / "a.tar", member("a"), *links)
    message = leaves_nothing(tmp_path, tarball, "does not fit", size=64 * MIB)
    build(tarball, tmp_path / "a.img", enough(message))


def test_skipped_attributes_are_told(tmp_path: Path) -> None:
    odd = {"SCHILY.xattr.com.apple.provenance": "x", "SCHILY.acl.access": "user::rwx"}
    tarball = archive(
        tmp_path / "a.tar",
        member("one", pax_headers=odd),
        member("two", tarfile.DIRTYPE, pax_headers=odd),
    )
    (warning,) = build(tarball, tmp_path / "a.img").warnings
    assert warning.startswith("4 extended attributes were left out")
    assert warning.endswith("'com.apple.provenance' of 'one'")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"features": [*DEFAULT_FEATURES, "metadata_csum"]}, "metadata_csum"),
        ({"features": DEFAULT_FEATURES[:5]}, "extent"),
        ({"uuid": "1234"}, "'1234' is not a UUID"),
        ({"label": "a label of seventeen"}, "16 bytes"),
        ({"size": 64 * MIB + 512}, "multiple of 4096"),
        ({"size": 1 << 50}, "multiple of 4096 up to"),
        ({"timestamp": -1}, "timestamp -1"),
    ],
)
def test_wrong_arguments(arguments: dict[str, object], why: str, tmp_path: Path) -> None:
    tarball = archive(tmp_path / "a.tar", member("x"))
    with pytest.raises(InputError, match=why):
        build(tarball, tmp_path / "a.img", **arguments)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == [tarball]


def test_without_a_journal(tmp_path: Path) -> None:
    features = [name for name in DEFAULT_FEATURES if name != "has_journal"]
    tarball = archive(tmp_path / "a.tar", (member("x"), b"y"))
    build(tarball, tmp_path / "a.img", features=features)


def test_a_full_disk_leaves_nothing(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., int] = os.pwrite

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        if offset > MIB:
            raise OSError(28, "No space left on device")
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(FailedError, match=r"x\.img: cannot write it: No space left on device"):
        build(plain, tmp_path / "x.img")
    assert list(tmp_path.iterdir()) == []


def test_a_short_write_is_continued(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., int] = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real(fd, bytes(data[:1000]), at))
    build(plain, tmp_path / "x.img")
    assert len(content(tmp_path / "x.img", "a", tmp_path)) == 3 * MIB + 17


def test_an_image_that_e2fsck_faults_is_no_result(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bootwright.rootfs.ext4.filler.LINKS_MAX", 1)  # wrong counts of directories
    with pytest.raises(ImageFaultError, match="e2fsck -fn"):
        build(plain, tmp_path / "x.img")
    assert list(tmp_path.iterdir()) == []


CHILD = """
import atexit, io, sys
from pathlib import Path
from bootwright.rootfs.io.ext4_build import DEFAULT_FEATURES, build_ext4
from bootwright.core.report import TextReporter
def peak():
    print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
atexit.register(peak)
build_ext4(
    Path(sys.argv[1]), Path(sys.argv[2]), size=int(sys.argv[3]), features=DEFAULT_FEATURES,
    uuid=sys.argv[4], label="", timestamp=1, reporter=TextReporter(io.StringIO()),
)
"""


def test_without_root(everything: tuple[Path, Path, BuildResult], tmp_path: Path) -> None:
    """An ordinary user gets the same image, device nodes and owners included."""
    if os.geteuid() != 0:
        pytest.skip("the other tests run without root already")
    if not shutil.which("setpriv"):
        pytest.skip("no setpriv")
    folder = Path(command("mktemp", "-d").strip())
    try:
        tarball = shutil.copy(everything[0], folder / "a.tar")
        shutil.copytree(Path(ext4_build.__file__).parents[2], folder / "bootwright")
        shutil.chown(folder, 65534, 65534)
        folder.chmod(0o755)
        done = subprocess.run(
            [
                *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
                *(sys.executable, "-c", CHILD, str(tarball), str(folder / "a.img")),
                *(str(64 * MIB), UUID),
            ],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        if "Permission denied" in done.stderr and sys.executable in done.stderr:
            pytest.skip("this Python is not readable by others")
        assert done.returncode == 0, done.stderr
        assert (folder / "a.img").stat().st_uid == 65534
        text = debugfs(folder / "a.img", "stat owned", "stat dev/null")
        assert number("Group", text) == 2_000_000_000
        assert "Device major/minor number: 01:03" in text
    finally:
        shutil.rmtree(folder)


def test_memory_does_not_grow_with_sizes(tmp_path: Path) -> None:
    """60,000 entries and a file of 1 GiB in less than 150 MiB."""
    tarball = tmp_path / "a.tar"
    with tarball.open("wb") as file:
        for number in range(60_000):
            name = f"usr/share/directory-{number // 100}/file-{number}"
            file.write(member(name).tobuf())
        file.write(member("large", size=1024 * MIB).tobuf())
        file.seek(1024 * MIB, os.SEEK_CUR)
        file.write(bytes(1024))
    done = in_child(tarball, 3 << 30)
    assert int(done.stdout) < 150 * KIB


def in_child(tarball: Path, size: int) -> process.Finished:
    """Build in a process of its own, which tells its peak memory in KiB if it can."""
    image = tarball.with_suffix(".img")
    return process.run(
        [sys.executable, "-c", CHILD, str(tarball), str(image), str(size), UUID],
        env={"PYTHONPATH": str(Path(ext4_build.__file__).parents[3])},
        check=False,
    )


def test_memory_does_not_grow_with_the_depth_of_directories(tmp_path: Path) -> None:
    """A little tarball that implies 612,000 directories, of paths of 2 KiB each."""
    tarball = tmp_path / "a.tar"
    with tarball.open("wb") as file:
        for number in range(300):
            deep = member(f"{number:03}/" + "d/" * 2040 + "f")
            file.write(deep.tobuf(tarfile.GNU_FORMAT))
        file.write(bytes(1024))
    done = in_child(tarball, 1 << 30)
    assert "does not fit into an image of 1.0 GiB" in done.stderr.decode()
    assert int(done.stdout) < 150 * KIB


def test_memory_does_not_grow_with_attributes_and_paths_of_directories(tmp_path: Path) -> None:
    """300 MiB of attributes that no file system holds, and 80 MiB of paths."""
    tarball = tmp_path / "a.tar"
    with tarball.open("wb") as file:
        for line in range(300):
            record = b"1000030 SCHILY.xattr.no.such=%s\n" % (b"x" * 1_000_000)
            assert len(record) == 1_000_030
            file.write(member("x", tarfile.XHDTYPE, size=len(record)).tobuf() + record)
            file.write(bytes(-len(record) % 512))
            file.write(member(f"d{line}", tarfile.DIRTYPE).tobuf())
        for line in range(20_000):
            long = member("d/" * 2000 + f"{line}", tarfile.DIRTYPE)
            file.write(long.tobuf(tarfile.GNU_FORMAT))
        file.write(bytes(1024))
    done = in_child(tarball, 1 << 30)
    assert not done.returncode, done.stderr.decode()
    assert int(done.stdout) < 110 * KIB
