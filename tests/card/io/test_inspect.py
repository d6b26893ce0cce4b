"""The guard with real devices: loop devices of the tests, and this machine's disk, only read."""

import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootwright.card.block_device import UNFINISHED_MARK, DeviceKind
from bootwright.card.guard import GuardRequest, check, describe, refusals
from bootwright.card.io import holders
from bootwright.card.io.card import open_card
from bootwright.card.io.inspect import identify, inspect
from bootwright.core.errors import FailedError, InputError, RefusedError
from bootwright.core.units import MIB
from tests.support.loopdevice import command, loop, mounted, partition_nodes

pytestmark = pytest.mark.integration

SIZE = 64 * MIB
REQUEST = GuardRequest(needed=16 * MIB)


def refused(path: str, request: GuardRequest = REQUEST) -> str:
    """Return why the guard refuses ``path``."""
    with pytest.raises(RefusedError) as caught:
        check(inspect(path), request)
    return str(caught.value)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image with a boot partition labelled ROOT and an empty one."""
    path = tmp_path / "card.img"
    path.touch()
    os.truncate(path, SIZE)
    table = b"label: dos\nstart=8192, size=65536\nstart=73728\n"
    subprocess.run(["sfdisk", "-q", path], input=table, check=True)
    at = f"offset={8192 * 512}"
    command("mke2fs", "-q", "-F", "-t", "ext4", "-L", "ROOT", "-E", at, path, "32M")
    return path


@pytest.fixture
def device(image: Path) -> Iterator[str]:
    with loop(image) as device:
        yield device


@pytest.mark.blockdev
def test_a_loop_device_is_allowed(device: str) -> None:
    facts = inspect(device)
    assert (facts.kind, facts.size, facts.sector_size) == (DeviceKind.BLOCK, SIZE, 512)
    assert facts.device_type == "loop"
    assert facts.removable
    assert identify(device) == facts.identity
    assert refusals(facts, REQUEST) == []


@pytest.mark.blockdev
def test_labels_are_found_without_udev(device: str) -> None:
    first, second = inspect(device).partitions
    assert (first.start, first.size, first.fstype, first.label) == (
        8192 * 512,
        32 * MIB,
        "ext4",
        "ROOT",
    )
    assert (second.number, second.fstype) == (2, "")
    text = "\n".join(describe(inspect(device)))
    assert "contents: a dos table" in text
    assert "1: 32.0 MiB, ext4 labelled 'ROOT'" in text


@pytest.mark.blockdev
def test_a_mounted_partition_is_refused(device: str, tmp_path: Path) -> None:
    with partition_nodes(device), mounted(f"{device}p1", tmp_path / "my mount"):
        message = refused(device)
        assert f"{device}p1 is mounted at {tmp_path}/my mount" in message
        with pytest.raises(RefusedError, match="it is in use"):
            open_card(inspect(device), SIZE)
    assert refusals(inspect(device), REQUEST) == []


@pytest.mark.blockdev
def test_a_mounted_disk_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    os.truncate(tmp_path / "plain", SIZE)
    with loop(tmp_path / "plain") as device:
        command("mke2fs", "-q", "-t", "ext4", "-L", "whole disk", device)
        assert "ext4 labelled 'whole disk' without a partition" in describe(inspect(device))[-1]
        with mounted(device, tmp_path / "mnt"):
            assert f"{device} is mounted at {tmp_path}/mnt" in refused(device)


@pytest.mark.blockdev
def test_a_program_that_has_the_disk_open_for_moments_does_not_count(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([{holders.node_of(device): ["open in process 7 (losetup)"]}])
    monkeypatch.setattr(holders, "openers", lambda *_, **__: next(found, {}))
    assert refusals(inspect(device), REQUEST) == []


@pytest.mark.blockdev
def test_a_partition_is_refused(device: str) -> None:
    with partition_nodes(device):
        assert f"it is a partition; name the disk, {device}" in refused(f"{device}p1")


@pytest.mark.blockdev
def test_a_swap_signature_that_is_not_in_use_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "swap.img").touch(mode=0o600)
    os.truncate(tmp_path / "swap.img", SIZE)
    with loop(tmp_path / "swap.img") as device:
        command("mkswap", device)
        facts = inspect(device)
        assert facts.fstype == "swap"
        assert refusals(facts, REQUEST) == []


@pytest.mark.blockdev
def test_a_read_only_device_is_refused(image: Path) -> None:
    with loop(image, "--read-only") as device:
        assert "it is read-only" in refused(device)


@pytest.mark.blockdev
def test_a_device_that_is_too_small_is_refused(device: str) -> None:
    assert "it has 64.0 MiB (67108864 bytes), but 65.0 MiB" in refused(
        device, GuardRequest(needed=65 * MIB)
    )


@pytest.mark.blockdev
def test_a_symlink_is_followed_and_shown(device: str, tmp_path: Path) -> None:
    link = tmp_path / "card"
    link.symlink_to(device)
    facts = inspect(str(link))
    assert (facts.path, facts.resolved) == (str(link), device)
    assert describe(facts)[0].startswith(f"{link} ({device}): a block device")
    assert f"{link} ({device}): it has" in refused(str(link), GuardRequest(needed=65 * MIB))


@pytest.mark.blockdev
def test_an_image_that_a_loop_device_uses_is_refused(device: str, image: Path) -> None:
    assert f"{image} is attached as {device}" in refused(str(image))


@pytest.mark.blockdev
def test_a_use_is_found_under_every_name_of_the_file(image: Path, tmp_path: Path) -> None:
    """A hard link, a bind mount and a symbolic link to a file that a loop device uses."""
    link, bound, symlink = tmp_path / "link.img", tmp_path / "bound.img", tmp_path / "sym.img"
    os.link(image, link)
    symlink.symlink_to(link)
    bound.touch()
    with loop(image) as device:
        command("mount", "--bind", image, bound)
        try:
            for name in (link, bound, symlink):
                assert f"is attached as {device}" in refused(str(name))
        finally:
            command("umount", bound)
        image.unlink()  # the device still knows the file, its path in sysfs names none
        assert f"is attached as {device}" in refused(str(link))
    assert refusals(inspect(str(link)), REQUEST) == []


@pytest.mark.blockdev
def test_a_disk_under_a_loop_device_is_refused_by_any_name(device: str, tmp_path: Path) -> None:
    alias = tmp_path / "alias"
    os.mknod(alias, stat.S_IFBLK | 0o600, Path(device).stat().st_rdev)
    with loop(alias) as second:
        assert f"{device} is attached as {second}" in refused(device)
        assert f"{device} is attached as {second}" in refused(str(alias))


@pytest.mark.blockdev
def test_without_root_the_path_of_a_backing_file_is_used(
    device: str, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(*_: object) -> bytes:
        raise PermissionError

    monkeypatch.setattr("fcntl.ioctl", deny)
    assert f"{image} is attached as {device}" in refused(str(image))


@pytest.mark.blockdev
def test_sectors_of_4096_bytes_are_refused(image: Path) -> None:
    with loop(image, "--sector-size", "4096") as device:
        assert "its sectors have 4096 bytes" in refused(device)


@pytest.mark.blockdev
def test_an_ordinary_user_may_not_write_to_a_device(device: str) -> None:
    assert "you may not write to it; install sudo" in as_nobody(device)


def as_nobody(path: str) -> str:
    """Return why the guard refuses ``path`` for an ordinary user."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            os.write(writer, "\n".join(map(str, refusals(inspect(path), REQUEST))).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as message:
        os.waitpid(child, 0)
        return message.read()


@pytest.mark.blockdev
def test_an_interrupted_run_is_shown(device: str) -> None:
    with open_card(inspect(device), SIZE) as card:
        card.mark_unfinished()
    facts = inspect(device)
    assert facts.unfinished
    assert describe(facts)[-1] == "contents: an unfinished card of an interrupted run of bootwright"
    assert refusals(facts, REQUEST) == []


@pytest.mark.blockdev
def test_a_loop_device_without_a_file_is_an_error(tmp_path: Path, image: Path) -> None:
    with loop(image) as device:
        pass
    # Another process may use the device at once; the test only needs that it was free.
    if not Path("/sys/block", Path(device).name, "loop").exists():
        with pytest.raises(FailedError, match="lsblk does not show it"):
            inspect(device)


def root_disk() -> str:
    """Return the disk or partition under ``/``; its facts are only read."""
    number = Path("/").stat().st_dev
    node = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    if not node.exists():
        pytest.skip("/ is on no block device of its own")
    device = node.resolve()
    if (device / "partition").exists():
        device = device.parent
    return f"/dev/{device.name}"


@pytest.mark.parametrize(
    "request_",
    [REQUEST, GuardRequest(allow_large=True), GuardRequest(fixed_disk_serial="0", needed=1)],
)
def test_the_disk_of_the_running_system_is_refused(request_: GuardRequest) -> None:
    message = refused(root_disk(), request_)
    assert "the running system is on this disk (/" in message


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/dev/null", "it is a character device"),
        ("/dev/zero", "it is a character device"),
        ("/dev/sdzz", "there is no such device"),
        ("/proc", "it is a directory"),
        ("fifo", "it is a FIFO"),
        ("socket", "it is a socket"),
        ("/proc/self/mem", "it does not look like a card image"),
        ("/proc/self/environ", "it does not look like a card image"),
        ("memory.img", "it does not look like a card image"),
        ("new.txt", "a new image's name ends in .img"),
        ("no/card.img", "its directory does not exist"),
        ("dangling.img", "its directory does not exist"),
    ],
)
def test_a_mistaken_path_is_an_input_error(tmp_path: Path, path: str, reason: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dangling.img").symlink_to(tmp_path / "gone" / "card.img")
    (tmp_path / "memory.img").symlink_to("/proc/self/mem")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(InputError, match=reason):
            check(inspect(str(tmp_path / path)), REQUEST)


def test_a_path_below_a_file_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot read its status: Not a directory"):
        inspect(str(tmp_path / "file" / "card.img"))


def test_an_image_file_shows_its_partitions(image: Path) -> None:
    facts = inspect(str(image))
    assert (facts.kind, facts.size, facts.table) == (DeviceKind.FILE, SIZE, "dos")
    assert [each.label for each in facts.partitions] == ["ROOT", ""]
    assert refusals(facts, REQUEST) == []


@pytest.mark.parametrize(
    ("name", "content", "allowed"),
    [
        ("thesis.odt", b"PK\3\4" * 8192, False),
        ("card.img", b"PK\3\4" * 8192, True),
        ("card.img", b"", True),
        ("__init__.py", b"", False),
        ("empty", b"", False),
        ("interrupted", UNFINISHED_MARK.ljust(4096, b"\0"), True),
    ],
)
def test_a_file_that_does_not_look_like_an_image_is_refused(
    tmp_path: Path, name: str, content: bytes, allowed: bool
) -> None:
    (tmp_path / name).write_bytes(content)
    facts, request = inspect(str(tmp_path / name)), GuardRequest(image_size=SIZE)
    if allowed:
        assert refusals(facts, request) == []
    else:
        with pytest.raises(InputError, match="it does not look like a card image"):
            check(facts, request)


def test_a_file_with_the_table_of_a_card_is_an_image_whatever_its_name(image: Path) -> None:
    other = image.rename(image.with_name("card"))
    assert refusals(inspect(str(other)), REQUEST) == []
    table = b"label: dos\nstart=2048, type=7, bootable\n"
    subprocess.run(["sfdisk", "-q", other], input=table, check=True)
    with pytest.raises(InputError, match="it does not look like a card image"):
        check(inspect(str(other)), REQUEST)


@pytest.mark.blockdev
def test_a_loop_device_on_a_document_is_refused_until_it_holds_a_card(
    tmp_path: Path, image: Path
) -> None:
    other = image.rename(tmp_path / "thesis.docx")
    with loop(other) as device:
        assert refusals(inspect(device), REQUEST) == []  # the table of a card
        with open_card(inspect(device), SIZE) as card:
            card.mark_unfinished()
        assert refusals(inspect(device), REQUEST) == []
        other.write_bytes(b"PK\3\4" * (SIZE // 4))
        command("blockdev", "--flushbufs", device)
        assert f"attached to {other}, and it does not look like a card image" in refused(device)


@pytest.mark.parametrize("mode", [0o444, 0o400, 0o555])
def test_a_read_only_file_is_refused_for_root_too(image: Path, mode: int) -> None:
    image.chmod(mode)
    assert f"{image}: it is read-only; make it writable" in refused(str(image))


def test_an_image_or_directory_that_is_not_writable_is_refused(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_, **__: False)
    assert "you may not write to it; make it writable, or name another" in refused(str(image))
    assert "you may not create a file there" in refused(str(image.with_name("new.img")))


def test_a_new_image_is_allowed(tmp_path: Path) -> None:
    facts = inspect(str(tmp_path / "new.img"))
    assert facts.kind is DeviceKind.NEW
    assert refusals(facts, REQUEST) == []
    assert not (tmp_path / "new.img").exists()


def test_inspecting_changes_nothing(image: Path) -> None:
    before = image.read_bytes(), image.stat().st_mtime_ns
    inspect(str(image))
    assert (image.read_bytes(), image.stat().st_mtime_ns) == before
