"""Writing files into an ext4 image with the real debugfs, checked by e2fsck."""

import os
import tempfile
from pathlib import Path

import pytest

from bootwright.core.errors import FailedError, InputError
from bootwright.core.file_changes import Change, DirectoryChange, FileChange, Removal, SymlinkChange
from bootwright.core.io.process import run
from bootwright.core.secret import Secret
from bootwright.rootfs.io.ext4_edit import apply_changes, check, set_identity
from bootwright.rootfs.io.ext4_read import Ext4Reader

pytestmark = pytest.mark.integration


@pytest.fixture
def image(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "usr" / "lib").mkdir(parents=True)
    (tree / "lib").symlink_to("usr/lib")
    (tree / "etc" / "hostname").write_text("old\n")
    (tree / "etc" / "localtime").symlink_to("/usr/share/zoneinfo/UTC")
    path = tmp_path / "root.ext4"
    with path.open("xb") as file:
        file.truncate(32 << 20)
    run(["mke2fs", "-q", "-t", "ext4", "-O", "^metadata_csum,^64bit", "-d", str(tree), str(path)])
    return path


def test_files_links_folders_and_removals(image: Path) -> None:
    odd = r"/etc/systemd/system/systemd-cryptsetup@docker\x2ddata.service.d/with blank.conf"
    apply_changes(
        image,
        [
            FileChange("/etc/hostname", b"new\n", 0o640, 70000, 42),
            FileChange(odd, b"[Service]\n"),
            FileChange("/lib/firmware/x.bin", bytes(range(256)) * 40),
            FileChange("/etc/empty", b""),
            FileChange("/etc/ssh/key", Secret(b"private"), 0o600),
            SymlinkChange("/etc/localtime", "/usr/share/zoneinfo/Europe/Zurich"),
            DirectoryChange("/root/.ssh", 0o700, 7, 8),
            Removal("/etc/not-there"),
        ],
    )
    check(image)
    reader = Ext4Reader(image)
    hostname = reader.lookup("/etc/hostname")
    assert hostname is not None
    assert (hostname.mode & 0o7777, hostname.uid, hostname.gid) == (0o640, 70000, 42)
    assert reader.read_file("/etc/hostname") == b"new\n"
    assert reader.read_file(odd) == b"[Service]\n"
    # Through the link, as merged /usr has it: no second /lib appears.
    assert reader.read_file("/usr/lib/firmware/x.bin") == bytes(range(256)) * 40
    assert reader.read_file("/etc/empty") == b""
    assert reader.readlink("/etc/localtime") == "/usr/share/zoneinfo/Europe/Zurich"
    folder = reader.lookup("/root/.ssh")
    assert folder is not None
    assert (folder.mode & 0o7777, folder.uid, folder.gid) == (0o700, 7, 8)


def test_a_link_to_a_folder_is_followed(image: Path) -> None:
    changes: list[Change] = [
        SymlinkChange("/var/docker", "../srv/docker"),
        DirectoryChange("/srv/docker", 0o700),
    ]
    apply_changes(image, changes)
    apply_changes(
        image,
        [DirectoryChange("/var/docker", 0o711, 5, 6), FileChange("/var/docker/new/x", b"x")],
    )
    check(image)
    reader = Ext4Reader(image)
    folder = reader.lookup("/srv/docker")
    assert folder is not None
    assert folder.is_dir
    assert (folder.mode & 0o7777, folder.uid, folder.gid) == (0o711, 5, 6)
    assert reader.readlink("/var/docker") == "../srv/docker"
    assert reader.read_file("/srv/docker/new/x") == b"x"


@pytest.mark.parametrize(
    "change",
    [
        DirectoryChange("/var/docker"),
        FileChange("/var/docker/x", b""),
        SymlinkChange("/var/docker/a/b", "c"),
    ],
)
def test_a_link_to_nothing_cannot_be_used_as_a_folder(image: Path, change: Change) -> None:
    apply_changes(image, [SymlinkChange("/var/docker", "/srv/docker")])
    before = image.read_bytes()
    why = "/var/docker is a link to /srv/docker, which is not in the root file system; add"
    with pytest.raises(InputError, match=why):
        apply_changes(image, [change])
    assert image.read_bytes() == before
    apply_changes(image, [Removal("/var/docker"), change])
    check(image)


def test_a_link_to_a_file_cannot_be_used_as_a_folder(image: Path) -> None:
    apply_changes(image, [SymlinkChange("/var/docker", "/etc/hostname")])
    with pytest.raises(InputError, match="/var/docker is a link to a file"):
        apply_changes(image, [DirectoryChange("/var/docker")])
    with pytest.raises(InputError, match="/new is written as a file or a link"):
        apply_changes(image, [SymlinkChange("/new", "/etc"), FileChange("/new/x", b"")])


def test_names_that_are_not_utf_8(image: Path) -> None:
    odd = os.fsdecode(b"/etc/ssh/ssh_host_\xff")
    apply_changes(image, [FileChange(odd, b"x", uid=3_000_000_000)])
    reader = Ext4Reader(image)
    written = reader.lookup(odd)
    assert written is not None
    assert written.uid == 3_000_000_000
    assert reader.read_file(odd) == b"x"
    apply_changes(image, [Removal(odd)])
    check(image)
    assert not Ext4Reader(image).exists(odd)


def test_secrets_are_not_copied_to_the_systems_temporary_folder(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = image.parent / "system"
    system.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(system))
    system.chmod(0o500)
    made: list[str] = []
    real = tempfile.mkdtemp

    def mkdtemp(suffix: str | None, prefix: str | None, dir: str | Path | None) -> str:
        made.append(str(dir))
        return real(suffix, prefix, dir)

    monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp)
    apply_changes(image, [FileChange("/etc/ssh/key", Secret(b"private"), 0o600)])
    assert made[0] == str(image.parent)
    assert len(made) == 2
    assert made[1].startswith(f"{image.parent}/edit-")
    assert not list(image.parent.glob("edit-*"))


def test_writing_twice_gives_the_second_content(image: Path) -> None:
    for content in (b"one", b"two"):
        apply_changes(
            image, [FileChange("/etc/new/file", content), SymlinkChange("/etc/l", "file")]
        )
    check(image)
    assert Ext4Reader(image).read_file("/etc/new/file") == b"two"


def test_a_file_cannot_replace_a_folder_nor_a_folder_a_file(image: Path) -> None:
    before = image.read_bytes()
    with pytest.raises(InputError, match="/etc is a folder"):
        apply_changes(image, [FileChange("/etc", b"x")])
    with pytest.raises(InputError, match="/etc/hostname is a file"):
        apply_changes(image, [FileChange("/etc/hostname/x", b"x")])
    assert image.read_bytes() == before


def test_a_full_file_system_is_an_error_and_not_a_short_file(image: Path) -> None:
    with pytest.raises(
        FailedError, match=r"root\.ext4: not every change was made; discard this image"
    ):
        apply_changes(image, [FileChange("/etc/large", os.urandom(40 << 20))])


def test_the_uuid_is_set(image: Path) -> None:
    own = "3f7a1c52-1111-4222-8333-000000000001"
    set_identity(image, own, "3f7a1c52-1111-4222-8333-000000000002")
    assert Ext4Reader(image).superblock().uuid == own
    check(image)


def test_a_damaged_file_system_fails_the_check(image: Path) -> None:
    run(["debugfs", "-w", "-R", "clri /etc/hostname", str(image)])
    with pytest.raises(FailedError, match="e2fsck"):
        check(image)
