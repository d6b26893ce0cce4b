"""Images built from tarballs, as e2fsprogs and the kernel see them."""

import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from bootwright.core.io import process
from bootwright.core.units import MIB
from bootwright.rootfs.ext4.layout import FEATURES
from bootwright.rootfs.io import ext4_build
from bootwright.rootfs.io.ext4_build import (
    BuildResult,
)
from tests.support.ext4images import (
    CAPABILITY,
    CHILD,
    NOW,
    UUID,
    archive,
    build,
    content,
    debugfs,
    member,
    number,
    xattrs,
)
from tests.support.loopdevice import command, loop

pytestmark = pytest.mark.integration

LONG = "target/" * 9

LONGEST = "x/" * 2047 + "x"


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, BuildResult]:
    """A tarball with one entry of each kind, and its image."""
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
    assert result.warnings == ()
    assert result.sha256 == hashlib.sha256(tarball.read_bytes()).hexdigest()


def test_e2fsck_accepts_the_image(everything: tuple[Path, Path, BuildResult]) -> None:
    process.run(["e2fsck", "-fn", str(everything[1])])


def test_file_system(everything: tuple[Path, Path, BuildResult]) -> None:
    text = process.run(["dumpe2fs", "-h", str(everything[1])]).text
    features = re.search(r"features: *(.*)", text)
    assert features
    assert set(features[1].split()) == set(FEATURES)
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
    """Compare everything in an archive with the mounted file system."""
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


def test_replacing_one_name_of_a_hard_link(tmp_path: Path) -> None:
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
    """Replaced files leave free blocks, which the last file has to use."""
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


def test_the_content_of_a_replaced_file_is_not_in_the_image(tmp_path: Path) -> None:
    """Freed blocks are used again when the image is nearly full."""
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


def test_an_ordinary_user_gets_the_same_image(
    everything: tuple[Path, Path, BuildResult], tmp_path: Path
) -> None:
    """Device nodes and owners are in the image too."""
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
