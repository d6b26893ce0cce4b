"""The guard on real devices: loop devices made here, and the machine's own disk, read only."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootwright.effects.card import open_card
from bootwright.effects.inspect import identify, inspect
from bootwright.errors import FailedError, InputError, RefusedError
from bootwright.facts.blockdevice import Kind
from bootwright.plans.guard import GuardRequest, check, describe, refusals
from bootwright.units import MIB
from tests.integration.loopdevice import command, loop, mounted, partition_nodes

SIZE = 64 * MIB
REQUEST = GuardRequest(needed=16 * MIB)


def refused(path: str, request: GuardRequest = REQUEST) -> str:
    """Return what the guard says against ``path``."""
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
def test_a_loop_device_is_a_card(device: str) -> None:
    facts = inspect(device)
    assert (facts.kind, facts.size, facts.sector_size) == (Kind.BLOCK, SIZE, 512)
    assert facts.is_loop
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
        said = refused(device)
        assert f"{device}p1 is mounted at {tmp_path}/my mount" in said
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
def test_a_partition_is_refused(device: str) -> None:
    with partition_nodes(device):
        assert f"it is a partition; name the disk, {device}" in refused(f"{device}p1")


@pytest.mark.blockdev
def test_a_swap_signature_alone_is_no_reason(tmp_path: Path) -> None:
    (tmp_path / "swap").touch(mode=0o600)
    os.truncate(tmp_path / "swap", SIZE)
    with loop(tmp_path / "swap") as device:
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
def test_an_interrupted_run_is_shown(device: str) -> None:
    with open_card(inspect(device), SIZE) as card:
        card.mark_unfinished()
    facts = inspect(device)
    assert facts.unfinished
    assert describe(facts)[-1] == "contents: what an interrupted run of bootwright left"
    assert refusals(facts, REQUEST) == []


@pytest.mark.blockdev
def test_a_loop_device_without_a_file_is_an_error(tmp_path: Path, image: Path) -> None:
    with loop(image) as device:
        pass
    # Another process may take the device at once; only its being free is of interest.
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
    said = refused(root_disk(), request_)
    assert "the running system is on this disk (/" in said


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/dev/null", "it is a character device"),
        ("/dev/zero", "it is a character device"),
        ("/dev/sdzz", "there is no such device"),
        ("/proc", "it is a directory"),
        ("fifo", "it is a FIFO"),
        ("socket", "it is a socket"),
        ("new.txt", "a new image's name ends in .img"),
        ("no/card.img", "its directory does not exist"),
        ("dangling.img", "its directory does not exist"),
    ],
)
def test_a_mistaken_path_is_an_input_error(tmp_path: Path, path: str, reason: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dangling.img").symlink_to(tmp_path / "gone" / "card.img")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(InputError, match=reason):
            check(inspect(str(tmp_path / path)), REQUEST)


def test_a_path_below_a_file_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot look at it: Not a directory"):
        inspect(str(tmp_path / "file" / "card.img"))


def test_an_image_file_shows_its_partitions(image: Path) -> None:
    facts = inspect(str(image))
    assert (facts.kind, facts.size, facts.table) == (Kind.FILE, SIZE, "dos")
    assert [each.label for each in facts.partitions] == ["ROOT", ""]
    assert refusals(facts, REQUEST) == []


def test_a_new_image_is_allowed(tmp_path: Path) -> None:
    facts = inspect(str(tmp_path / "new.img"))
    assert facts.kind is Kind.NEW
    assert refusals(facts, REQUEST) == []
    assert not (tmp_path / "new.img").exists()


def test_looking_changes_nothing(image: Path) -> None:
    before = image.read_bytes(), image.stat().st_mtime_ns
    inspect(str(image))
    assert (image.read_bytes(), image.stat().st_mtime_ns) == before
