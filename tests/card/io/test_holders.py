"""Destinations that somebody else uses in a way that their name does not show."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bootwright.card.guard import GuardRequest, check, describe, refusals
from bootwright.card.io import holders, medium
from bootwright.card.io.card import open_card
from bootwright.card.io.inspect import identify, inspect
from bootwright.core.errors import FailedError, RefusedError
from bootwright.core.units import MIB, SECTOR
from tests.support.loopdevice import command, loop, mounted, partition_nodes

pytestmark = [pytest.mark.integration, pytest.mark.blockdev]

SIZE = 64 * MIB


def refused(path: object) -> str:
    """Return why the guard refuses ``path``."""
    with pytest.raises(RefusedError) as caught:
        check(inspect(str(path)), GuardRequest())
    return str(caught.value)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A disk image with one partition."""
    path = tmp_path / "disk.img"
    path.touch()
    os.truncate(path, SIZE)
    subprocess.run(["sfdisk", "-q", path], input=b"label: dos\nstart=8192\n", check=True)
    return path


@contextmanager
def another(code: str, path: object) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has run ``code`` with ``sys.argv[1]`` = path, and then waits."""
    program = f"import fcntl, os, sys\n{code}\nprint(flush=True)\nsys.stdin.read()"
    argv = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == b"\n"
            yield process
        finally:
            process.kill()


READER = "f = os.open(sys.argv[1], os.O_RDONLY)"
WRITER = "f = os.open(sys.argv[1], os.O_RDWR)"
FLOCK = f"{READER}; fcntl.flock(f, fcntl.LOCK_EX)"
SHARED = f"{READER}; fcntl.flock(f, fcntl.LOCK_SH)"
RECORD = f"{WRITER}; fcntl.lockf(f, fcntl.LOCK_EX)"
QEMU = f"{READER}; import struct; fcntl.fcntl(f, fcntl.F_OFD_SETLK, " + (
    "struct.pack('hhqqi4x', fcntl.F_RDLCK, os.SEEK_SET, 100, 1, 0))"
)


def test_a_loop_device_on_a_disk_with_a_mounted_partition(image: Path, tmp_path: Path) -> None:
    with loop(image, "--partscan") as disk, partition_nodes(disk):
        command("mke2fs", "-q", f"{disk}p1")
        with mounted(f"{disk}p1", tmp_path / "mnt"), loop(Path(disk)) as top:
            reason = f"{disk}p1 is mounted at {tmp_path}/mnt"
            assert f"{top}: it is attached to {disk}, and {reason}" in refused(top)
        with loop(Path(disk)) as top:
            assert refusals(inspect(top), GuardRequest()) == []
            assert describe(inspect(top))[1:3] == [
                f"attached to: {disk} (a block device)",
                f"attached to: {image} (a regular file on {stored_on(image)})",
            ]


def stored_on(path: Path) -> str:
    return command("findmnt", "--noheadings", "--output", "SOURCE", "--target", path).strip()


def test_a_loop_device_whose_file_has_another_loop_device(image: Path) -> None:
    with loop(image) as first, loop(image) as second, loop(image) as third:
        message = refused(second)
    assert f"{second}: it is attached to {image}, and {image} is attached as {first}" in message
    assert f"{image} is attached as {third}" in message
    assert f"{image} is attached as {second}" not in message


def test_a_loop_device_on_a_partition(image: Path) -> None:
    with loop(image, "--partscan") as disk, partition_nodes(disk), loop(Path(f"{disk}p1")) as top:
        assert f"it is attached to {disk}p1, and it is a partition" in refused(top)


def test_a_layer_that_came_into_use_after_inspection(image: Path) -> None:
    with loop(image) as device:
        facts = inspect(device)
        by_now = f"{image} is now attached as /dev/loop.*; nothing was changed"
        with loop(image), pytest.raises(RefusedError, match=by_now):
            open_card(facts, SIZE)
        open_card(facts, SIZE).close()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (QEMU, "in use by another process"),
        (FLOCK, "locked by process {pid} (flock)"),
        (WRITER, "open in process {pid} (python"),
    ],
)
def test_a_disk_that_another_process_uses(image: Path, code: str, reason: str) -> None:
    with loop(image, "--partscan") as device, partition_nodes(device):
        for path in (device, f"{device}p1"):
            with another(code, path) as process:
                assert f"{path} is {reason.format(pid=process.pid)}" in refused(device)
        assert refusals(inspect(device), GuardRequest()) == []


def test_a_disk_that_is_used_by_another_name(image: Path, tmp_path: Path) -> None:
    """A writer in a chroot has another node of it; a FUSE program was given a link in /dev."""
    node, point = tmp_path / "chroot" / "sdb", tmp_path / "mnt"
    node.parent.mkdir()
    point.mkdir()
    link = Path(f"/dev/bootwright-test-{os.getpid()}")
    with loop(image) as device:
        os.mknod(node, 0o060600, Path(device).stat().st_rdev)
        with another(WRITER, node) as process:
            assert f"{device} is open in process {process.pid} (python" in refused(device)
        link.symlink_to(device)
        try:
            command("mount", "-t", "tmpfs", link, point)
            try:
                assert f"{device} is mounted at {point} (tmpfs)" in refused(device)
            finally:
                command("umount", point)
        finally:
            link.unlink()


def test_a_link_that_names_another_disk_since_it_was_inspected(image: Path, tmp_path: Path) -> None:
    """What was inspected is opened, and the uses of that disk count."""
    other, link = tmp_path / "other.img", tmp_path / "by-id"
    shutil.copy(image, other)
    with loop(image) as device, loop(other) as unused:
        link.symlink_to(device)
        facts = inspect(str(link))
        link.unlink()
        link.symlink_to(unused)
        open_card(facts, SIZE).close()
        by_now = "it is now attached as /dev/loop.*; nothing was changed"
        with loop(Path(device)), pytest.raises(RefusedError, match=by_now):
            open_card(facts, SIZE)


@pytest.mark.parametrize("code", [READER, SHARED])
def test_who_only_reads_a_disk_or_locks_it_shared_does_not_matter(image: Path, code: str) -> None:
    """A monitor of disks, or udev."""
    with loop(image) as device, another(code, device):
        assert refusals(inspect(device), GuardRequest()) == []


def test_a_disk_that_is_locked_after_inspection(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(medium, "LOCK_WAIT_S", 0.2)
    with loop(image) as device:
        facts = inspect(device)
        todo = "wait until that process ends, or remove the card and insert it"
        with another(FLOCK, device) as process:
            reason = rf"it is locked by process {process.pid} \(flock\); nothing .*{todo}"
            with pytest.raises(RefusedError, match=reason):
                open_card(facts, SIZE)
        reason = f"it is in use by another process; nothing was changed; {todo}"
        with another(QEMU, device), pytest.raises(RefusedError, match=reason):
            open_card(facts, SIZE)
        with another(RECORD, device) as process:
            reason = f"it is in use by process {process.pid}; nothing was changed; {todo}"
            with pytest.raises(RefusedError, match=reason):
                open_card(facts, SIZE)


def test_a_disk_is_locked_while_it_is_written(image: Path) -> None:
    """Under its usual name, even if it was named by another one."""
    alias = image.with_name("alias")
    with loop(image) as device:
        os.mknod(alias, 0o060600, Path(device).stat().st_rdev)
        with open_card(inspect(str(alias)), SIZE):
            assert subprocess.run(["flock", "-n", device, "true"]).returncode == 1
        assert subprocess.run(["flock", "-n", device, "true"]).returncode == 0


def test_the_wait_for_a_lock_ends_when_it_is_released(image: Path) -> None:
    with loop(image) as device:
        facts = inspect(device)
        with another(FLOCK, device) as process:
            done = f"sleep 0.3; kill {process.pid}"
            with subprocess.Popen(["sh", "-c", done]):
                open_card(facts, SIZE).close()


def test_the_journal_of_a_mounted_file_system_on_another_disk(tmp_path: Path) -> None:
    """Only the exclusive open knows that; it is found when the disk is inspected."""
    for name in ("data.img", "journal.img"):
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, SIZE)
    with loop(tmp_path / "data.img") as data, loop(tmp_path / "journal.img") as journal:
        command("mke2fs", "-q", "-O", "journal_dev", journal)
        command("mke2fs", "-q", "-t", "ext4", "-J", f"device={journal}", data)
        with mounted(data, tmp_path / "mnt"):
            assert f"{journal} is held by another program" in refused(journal)
        # The kernel lets go of it some time after the umount.
        end = time.monotonic() + 60
        while refusals(inspect(journal), GuardRequest()):
            assert time.monotonic() < end
            time.sleep(0.1)


def test_an_image_that_is_mounted_without_a_loop_device(tmp_path: Path) -> None:
    """FUSE programs name the file as the source of the mount; here a tmpfs does."""
    image, point = tmp_path / "my card.img", tmp_path / "mnt"
    image.write_bytes(bytes(SECTOR))
    point.mkdir()
    os.link(image, tmp_path / "link.img")
    command("mount", "-t", "tmpfs", image, point)
    try:
        assert f"is mounted at {point} (tmpfs)" in refused(tmp_path / "link.img")
        with loop(image) as device:
            assert f"{image} is mounted at {point} (tmpfs)" in refused(device)
    finally:
        command("umount", point)


@pytest.mark.parametrize("code", [READER, WRITER])
def test_an_image_that_another_process_has_open(tmp_path: Path, code: str) -> None:
    """Who has it open could read the new card's keys, whatever its mode is then."""
    image = tmp_path / "card.img"
    image.write_bytes(bytes(SECTOR))
    image.chmod(0o644)
    facts = inspect(str(image))
    with another(code, image) as process:
        assert f"{image} is open in process {process.pid} (python" in refused(image)
        with pytest.raises(RefusedError, match="it is now open in process"):
            open_card(facts, SIZE)
    assert image.stat().st_mode & 0o777 == 0o644
    assert image.read_bytes() == bytes(SECTOR)
    open_card(inspect(str(image)), SIZE).close()


def test_an_image_that_an_invisible_process_has_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ordinary user does not see other users' processes; the kernel says that there is one."""
    monkeypatch.setattr("bootwright.card.io.holders.openers", lambda *_, **__: {})
    image = tmp_path / "card.img"
    image.write_bytes(bytes(SECTOR))
    image.chmod(0o644)
    facts = inspect(str(image))
    with another(READER, image):
        assert f"{image} is open in another process" in refused(image)
        with pytest.raises(RefusedError, match=r"now open in another process.*nothing was changed"):
            open_card(facts, SIZE)
    assert image.stat().st_mode & 0o777 == 0o644


def test_an_image_that_is_open_for_a_moment(tmp_path: Path) -> None:
    """An indexer of files reads it just when it is opened."""
    image = tmp_path / "card.img"
    image.write_bytes(bytes(SECTOR))
    facts = inspect(str(image))
    with another(READER, image) as process:
        done = f"sleep 0.2; kill {process.pid}"
        with subprocess.Popen(["sh", "-c", done]):
            open_card(facts, SIZE).close()


def test_an_invisible_process_that_has_an_image_open_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bootwright.card.io.holders.openers", lambda *_, **__: {})
    image = tmp_path / "card.img"
    image.write_bytes(bytes(SECTOR))
    facts = inspect(str(image))
    with another(READER, image) as process:
        done = f"sleep 0.2; kill {process.pid}"
        with subprocess.Popen(["sh", "-c", done]):
            open_card(facts, SIZE).close()


@pytest.mark.parametrize("fstype", ["nfs4", "cifs", "smb3"])
def test_a_file_system_whose_server_refuses_leases(
    tmp_path: Path, fstype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal has the error number of a file that is open elsewhere."""
    image = tmp_path / "card.img"
    image.write_bytes(bytes(SECTOR))
    device = image.stat().st_dev
    line = f"1 0 {os.major(device)}:{os.minor(device)} / /home rw - {{}} server:/home rw\n"
    shown = [line.format(fstype)]
    monkeypatch.setattr(holders, "read_text", lambda _: shown[0])
    with image.open("rb") as file, image.open("rb"):
        assert not holders.is_open_elsewhere(file.fileno())
        shown[0] = line.format("ext4")
        assert holders.is_open_elsewhere(file.fileno())


def test_the_own_process_is_no_user_where_proc_has_other_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a PID namespace with the /proc of the outer one."""
    image = tmp_path / "card.img"
    image.write_bytes(bytes(SECTOR))
    monkeypatch.setattr("os.getpid", lambda: 1)
    with image.open("r+b"):
        node = holders.node_of(str(image))
        assert holders.openers({node: str(image)}, writers_only=False) == {}


def test_what_is_gone_meanwhile(tmp_path: Path) -> None:
    """A card was pulled out."""
    gone = str(tmp_path / "gone")
    assert holders.openers({"8:16": gone}, writers_only=True) == {}
    with pytest.raises(FailedError, match="gone: the device is gone: insert the card again"):
        medium.BlockDevice(gone)
    with pytest.raises(FailedError, match="it is gone: insert the card again"):
        identify(gone)


def test_a_loop_device_on_a_disk_that_is_gone(monkeypatch: pytest.MonkeyPatch, image: Path) -> None:
    with loop(image) as device:
        monkeypatch.setattr(holders, "loop_backing", lambda _: ("259:9999", "/dev/gone"))
        with pytest.raises(
            FailedError, match=rf"{device}: the disk that it is attached to is gone"
        ):
            inspect(device)


def test_a_disk_that_a_virtual_machine_writes_to(image: Path, tmp_path: Path) -> None:
    if shutil.which("qemu-storage-daemon") is None:
        pytest.fail("qemu-storage-daemon is not installed: run scripts/setup test")
    with loop(image) as device:
        node = f"driver=host_device,node-name=f,filename={device},locking=on"
        argv = ["qemu-storage-daemon", "--blockdev", node, "--chardev", "stdio,id=c"]
        argv += ["--export", "type=nbd,id=e,node-name=f,writable=on", "--monitor", "chardev=c"]
        argv[1:1] = ["--nbd-server", f"addr.type=unix,addr.path={tmp_path}/s"]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as qemu:
            try:
                assert qemu.stdout is not None and b"QMP" in qemu.stdout.readline()
                assert f"{device} is in use by another process" in refused(device)
            finally:
                qemu.kill()
