"""Tarballs for tests, and images of ext4 file systems built from them."""

import io
import re
import shutil
import sys
import tarfile
from pathlib import Path

import pytest

from bootwright.core.errors import InputError
from bootwright.core.io import process
from bootwright.core.report import TextReporter
from bootwright.core.units import MIB
from bootwright.rootfs.ext4.layout import FEATURES
from bootwright.rootfs.io import ext4_build
from bootwright.rootfs.io.ext4_build import (
    BuildResult,
    build_ext4,
)

UUID = "6f1c35d8-4f6b-4c7e-9a55-0d7d1b0c9f10"

NOW = 1_700_000_000

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
"""``cap_net_raw=ep`` as the kernel stores it (linux/capability.h, revision 2)."""


def build(tarball: Path, image: Path, size: int = 64 * MIB, **other: object) -> BuildResult:
    arguments = {
        "size": size,
        "features": tuple(FEATURES),
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


PACKERS = {
    "gz": ["gzip", "-c"],
    "xz": ["xz", "-c"],
    "zst": ["zstd", "-qc", "--long=31"],
    "bz2": ["bzip2", "-c"],
}


def packed(plain: Path, kind: str, folder: Path) -> Path:
    if not shutil.which(PACKERS[kind][0]):
        pytest.fail(f"{PACKERS[kind][0]} is not installed: run scripts/setup test")
    path = folder / "archive"  # the name says nothing
    path.write_bytes(process.run([*PACKERS[kind], str(plain)]).stdout)
    return path


def leaves_nothing(folder: Path, tarball: Path, why: str, **arguments: object) -> str:
    """Check that a build is refused and that nothing of it is left; return the message."""
    before = sorted(folder.iterdir())
    with pytest.raises(InputError, match=why) as caught:
        build(tarball, folder / "x.img", **arguments)  # type: ignore[arg-type]
    assert sorted(folder.iterdir()) == before
    assert str(tarball) in str(caught.value)
    return str(caught.value)


CHILD = """
import atexit, io, sys
from pathlib import Path
from bootwright.rootfs.ext4.layout import FEATURES
from bootwright.rootfs.io.ext4_build import build_ext4
from bootwright.core.report import TextReporter
def peak():
    print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
atexit.register(peak)
build_ext4(
    Path(sys.argv[1]), Path(sys.argv[2]), size=int(sys.argv[3]), features=tuple(FEATURES),
    uuid=sys.argv[4], label="", timestamp=1, reporter=TextReporter(io.StringIO()),
)
"""


def in_child(tarball: Path, size: int) -> process.Finished:
    """Build in a process of its own, which tells its peak memory in KiB if it can."""
    image = tarball.with_suffix(".img")
    return process.run(
        [sys.executable, "-c", CHILD, str(tarball), str(image), str(size), UUID],
        env={"PYTHONPATH": str(Path(ext4_build.__file__).parents[3])},
        check=False,
    )
