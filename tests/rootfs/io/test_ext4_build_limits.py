"""Images that are too small, arguments that are wrong, full disks, bounded memory."""

import io
import os
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bootwright.core.errors import FailedError, InputError
from bootwright.core.units import KIB, MIB
from bootwright.rootfs.ext4.layout import FEATURES
from bootwright.rootfs.io.ext4_build import (
    ImageFaultError,
)
from tests.support.ext4images import (
    archive,
    build,
    content,
    in_child,
    leaves_nothing,
    member,
)

pytestmark = pytest.mark.integration


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
def test_the_error_for_a_too_small_image_has_the_needed_size(
    sizes: list[int], tmp_path: Path
) -> None:
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


def test_skipped_attributes_give_a_warning(tmp_path: Path) -> None:
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
        ({"features": [*FEATURES, "metadata_csum"]}, "metadata_csum"),
        ({"features": [*FEATURES][:5]}, "extent"),
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
    features = [name for name in FEATURES if name != "has_journal"]
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


def test_an_image_that_e2fsck_rejects_is_an_error(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bootwright.rootfs.ext4.filler.LINKS_MAX", 1)  # wrong counts of directories
    with pytest.raises(ImageFaultError, match="e2fsck -fn"):
        build(plain, tmp_path / "x.img")
    assert list(tmp_path.iterdir()) == []


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


def test_memory_does_not_grow_with_the_depth_of_directories(tmp_path: Path) -> None:
    """A small tarball that implies 612,000 directories, with paths of 2 KiB each."""
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
    """300 MiB of attributes that ext4 cannot store, and 80 MiB of paths."""
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
