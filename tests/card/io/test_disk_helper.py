"""The helper that opens a disk as root: what it accepts, and what it refuses by itself."""

import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bootwright.card.guard import GuardRequest
from bootwright.card.io import holders
from bootwright.card.io.card import open_card
from bootwright.card.io.disk_by_sudo import HELPER, DiskHelper, needs_helper, start_helper
from bootwright.card.io.inspect import inspect
from bootwright.core import paths
from bootwright.core.errors import InputError, RefusedError
from tests.support.cards import SIZE, expected, run_steps
from tests.support.loopdevice import command, loop, mounted, partition_nodes

pytestmark = [pytest.mark.integration, pytest.mark.blockdev]

ROOT: tuple[str, ...] = ()
"""No command is needed to start the helper as root, since the tests are."""


@pytest.fixture(autouse=True)
def without_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests can themselves be run by sudo, whose user has not made the files."""
    monkeypatch.delenv("SUDO_UID", raising=False)


@pytest.fixture
def helper() -> Iterator[DiskHelper]:
    with start_helper(ROOT) as helper:
        yield helper


def ask(helper: DiskHelper, **message: Any) -> dict[str, Any]:
    """Send any message, as somebody could who does not use :class:`DiskHelper`."""
    answer, passed = helper._ask(**message)
    assert not passed
    return answer


def test_a_card_is_written_through_the_passed_descriptor(
    helper: DiskHelper, device: str, backing: Path, sources: dict[str, Path]
) -> None:
    facts = helper.inspect(inspect(device), GuardRequest())
    assert facts == inspect(device)
    with open_card(facts, 0, helper) as card:
        run_steps(card, sources, discard=False)
        with pytest.raises(RefusedError, match="it is in use"):
            open_card(facts, 0)
    assert backing.read_bytes() == expected(sources, b"\xa5")


def test_the_helper_rereads_the_partition_table(backing: Path, helper: DiskHelper) -> None:
    with loop(backing, "--partscan") as device, partition_nodes(device):
        facts = helper.inspect(inspect(device), GuardRequest())
        with open_card(facts, 0, helper):
            assert helper.reread_table()


def test_the_disk_is_free_when_the_helper_has_ended(device: str) -> None:
    facts = inspect(device)
    with start_helper(ROOT) as helper:
        helper.inspect(facts, GuardRequest())
        open_card(facts, 0, helper).close()
    open_card(facts, 0).close()


_RUN = """
import sys
from bootwright.card.guard import GuardRequest
from bootwright.card.io.card import open_card
from bootwright.card.io.disk_by_sudo import start_helper
from bootwright.card.io.inspect import inspect
with start_helper(()) as helper:
    facts = helper.inspect(inspect(sys.argv[1]), GuardRequest())
    with open_card(facts, 0, helper):
        print(helper._child.pid, flush=True)
        sys.stdin.read()
"""


def test_the_helper_of_a_killed_run_ends(device: str) -> None:
    argv = [sys.executable, "-c", _RUN, device]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        helper = os.pidfd_open(int(run.stdout.readline()))
        run.kill()
        try:
            assert select.select([helper], [], [], 120)[0]
        finally:
            os.close(helper)
    open_card(inspect(device), 0).close()


def test_the_helper_checks_the_disk_itself(helper: DiskHelper, device: str, tmp_path: Path) -> None:
    command("mke2fs", "-q", "-t", "ext4", device)
    node = holders.node_of(device)
    with mounted(device, tmp_path / "mnt"), pytest.raises(RefusedError, match="is mounted at"):
        ask(helper, do="inspect", node=node)
    with pytest.raises(InputError, match="not expected now"):  # what was refused is not opened
        ask(helper, do="open")


@pytest.mark.parametrize(
    "node", ["254:0/131", "/dev/sda", "../1:0", "1048575:77", "7:1\n", 7, None, ""]
)
def test_only_a_block_device_by_its_numbers_is_accepted(helper: DiskHelper, node: object) -> None:
    with pytest.raises(InputError, match=r"(named by its numbers|no such block device)"):
        ask(helper, do="inspect", node=node)


@pytest.mark.parametrize(
    "message", [b"{", b"[]", b"7", b"\xff", b'{"do": ["open"]}', b"[" * 60_000, b"x" * 130_000]
)
def test_a_wrong_message_is_answered(helper: DiskHelper, device: str, message: bytes) -> None:
    helper._link.send(message)
    assert json.loads(helper._link.recv(4096))["error"] == "InputError"
    assert helper.inspect(inspect(device), GuardRequest()).resolved == device


def test_the_helper_is_silent_when_the_other_side_has_ended(device: str) -> None:
    """Ctrl-C while it inspects the disk: its answer finds nobody."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.send(json.dumps({"do": "inspect", "node": holders.node_of(device)}).encode())
    with subprocess.Popen(HELPER, stdin=theirs.fileno(), stderr=subprocess.PIPE) as child:
        theirs.close()
        ours.close()
        assert child.stderr is not None
        assert (child.stderr.read(), child.wait()) == (b"", 0)


def test_a_loop_device_on_a_file_of_another_user_is_refused(
    monkeypatch: pytest.MonkeyPatch, device: str, backing: Path
) -> None:
    monkeypatch.setenv("SUDO_UID", "65534")
    facts = inspect(device)
    with (
        start_helper(ROOT) as helper,
        pytest.raises(RefusedError, match=f"attached to {backing}, which is no file of yours"),
    ):
        helper.inspect(facts, GuardRequest())
    os.chown(backing, 65534, -1)
    with start_helper(ROOT) as helper:
        assert helper.inspect(facts, GuardRequest()).resolved == device
    backing.unlink()
    with start_helper(ROOT) as helper, pytest.raises(RefusedError, match="no file of yours"):
        helper.inspect(inspect(device), GuardRequest())


def test_the_command_line_is_the_one_in_the_documentation() -> None:
    """A rule in sudoers names it, so it does not depend on how Python was started."""
    text = (paths.checkout() / "docs" / "flash.md").read_text()
    rule = next(line for line in text.splitlines() if line.startswith("anna ALL="))
    python, script = Path(sys.prefix, "bin", "python3"), "bootwright/card/io/disk_helper.py"
    assert rule.split()[3:-1] == [*HELPER[1:-1]]
    assert HELPER[0] == str(python)
    assert python.samefile(sys.executable)
    assert rule.split()[2].endswith("/bin/python3")
    assert rule.endswith(script)
    assert HELPER[-1].endswith(script)


def test_a_second_disk_is_not_served(helper: DiskHelper, device: str) -> None:
    helper.inspect(inspect(device), GuardRequest())
    with pytest.raises(InputError, match="not expected now"):
        ask(helper, do="inspect", node=holders.node_of(device))


def test_what_came_into_use_meanwhile_is_refused(helper: DiskHelper, device: str) -> None:
    facts = helper.inspect(inspect(device), GuardRequest())
    with loop(Path(device)), pytest.raises(RefusedError, match=r"now attached as /dev/loop"):
        open_card(facts, 0, helper)


def test_another_medium_is_refused(helper: DiskHelper, device: str, tmp_path: Path) -> None:
    other = tmp_path / "other.img"
    other.touch()
    os.truncate(other, SIZE)
    facts = helper.inspect(inspect(device), GuardRequest())
    if facts.identity.diskseq is None:
        pytest.skip("the kernel does not count media (before Linux 5.15)")
    command("losetup", "--detach", device)
    command("losetup", device, other)
    with pytest.raises(RefusedError, match="it is not what it was"):
        open_card(facts, 0, helper)
    assert other.read_bytes() == bytes(SIZE)


def test_a_helper_that_does_not_start_changes_nothing(device: str) -> None:
    with (
        start_helper(("false",)) as helper,
        pytest.raises(RefusedError, match=r"you may not write to it, .*sudo: exit 1"),
    ):
        helper.inspect(inspect(device), GuardRequest())


def test_the_helper_needs_only_the_standard_library_and_a_socket() -> None:
    done = subprocess.run(HELPER, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "inv flash starts this program; it needs a socket as its standard input\n"
    )


def test_a_file_that_takes_the_place_of_a_backing_file_is_not_opened(
    device: str, backing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a FIFO: opening one waits for a writer for ever."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    found = holders.loop_backing(device)
    monkeypatch.setattr(holders, "loop_backing", lambda _: (found[0], str(fifo)))
    layers = inspect(device).layers
    assert layers[1].resolved == str(backing)


def test_a_member_of_the_disks_group_needs_no_helper(device: str) -> None:
    status = Path(device).stat()
    os.chown(device, 0, 6)
    Path(device).chmod(0o660)
    try:
        member = _needs_helper(device, [6])
        assert (member, _needs_helper(device, [])) == (False, True)
    finally:
        os.chown(device, status.st_uid, status.st_gid)
        Path(device).chmod(status.st_mode & 0o7777)


def _needs_helper(device: str, groups: list[int]) -> bool:
    """Return what an ordinary user in these groups needs to open the disk; he does not write."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(groups)
            os.setgid(65534)
            os.setuid(65534)
            facts = inspect(device)
            if not needs_helper(facts):
                open_card(facts, 0).close()
                os._exit(0)
            os._exit(1)
        finally:
            os._exit(2)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 1)
    return status == 1
