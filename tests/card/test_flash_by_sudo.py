"""`inv flash` of an ordinary user on a disk that only root may open."""

import json
import os
import pty
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootwright.card.block_device import is_unfinished
from bootwright.card.io.disk_by_sudo import HELPER
from tests.support.bench import KEY, Bench
from tests.support.loopdevice import command, loop
from tests.support.ordinary_user import (
    NOBODY,
    as_nobody_with_sudo,
    folder_of_nobody,
    give_to_nobody,
    nobody_argv,
)

pytestmark = [pytest.mark.integration, pytest.mark.blockdev]

SIZE = 5 << 30

# "use_pty" is the default since sudo 1.9.14.
ALLOWED = f"Defaults use_pty\nnobody ALL=(root) NOPASSWD: {' '.join(HELPER)}\n"
NOT_ALLOWED = "root ALL=(ALL:ALL) ALL\n"


@pytest.fixture
def disk() -> Iterator[tuple[Bench, Path, str]]:
    """A loop device of root's, and what nobody needs to flash it."""
    with folder_of_nobody() as folder:
        home = folder / "home"
        home.mkdir()
        bench = Bench(home)
        (home / ".ssh").mkdir()
        (home / ".ssh" / "id_ed25519.pub").write_text(f"{KEY} the user\n")
        bench.env["HOME"] = str(home)
        give_to_nobody(home)
        backing = folder / "backing.img"
        with backing.open("xb") as file:
            file.write(b"\xa5" * 1024)
            file.truncate(SIZE)
        give_to_nobody(backing)
        with loop(backing) as device:
            bench.image = Path(device)
            yield bench, folder, device


def test_only_the_disk_is_opened_as_root(disk: tuple[Bench, Path, str]) -> None:
    bench, folder, device = disk
    argv = bench.argv("--json", "--yes", without=("size", "authorized-key"))
    done = as_nobody_with_sudo(argv, bench.env, ALLOWED, folder)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["verified"] is True
    assert f"{device}: you may not write to it; sudo starts a helper" in done.stderr
    assert json.loads(command("sfdisk", "--json", device))["partitiontable"]["label"] == "dos"
    bench.image = folder / "backing.img"
    assert f"{KEY} the user" in bench.debugfs("cat /root/.ssh/authorized_keys")
    made = [*(bench.root / "cache").rglob("*"), *(bench.root / "build").rglob("*")]
    assert made and {path.lstat().st_uid for path in made} == {NOBODY.pw_uid}


def test_sudo_leaves_the_operators_answers_to_us(disk: tuple[Bench, Path, str]) -> None:
    """With ``use_pty`` sudo reads the terminal for the program that it runs, but for a pipe."""
    bench, folder, device = disk
    argv = nobody_argv(bench.argv(without=("size",)), ALLOWED, folder)
    child, terminal = pty.fork()
    if child == 0:
        os.execvpe(argv[0], argv, bench.env)
    shown = b""
    try:
        while select.select([terminal], [], [], 120)[0]:
            try:
                shown += os.read(terminal, 65536)
            except OSError:  # every program has closed the terminal
                break
            if shown.endswith(b" to go on: "):
                os.write(terminal, b"another\r")  # what the key Enter sends
        else:
            pytest.fail(f"nothing happens any more after: {shown!r}")
    finally:
        os.close(terminal)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 3, shown
    assert f"'another' is not '{Path(device).name}'; nothing was changed".encode() in shown


def test_without_leave_by_sudo_nothing_is_changed(disk: tuple[Bench, Path, str]) -> None:
    bench, folder, device = disk
    argv = bench.argv("--yes", without=("size",))
    done = as_nobody_with_sudo(argv, bench.env, NOT_ALLOWED, folder)
    assert done.returncode == 3, done.stderr
    assert f"{device}: you may not write to it, and the helper" in done.stderr
    assert "sudo: exit 1" in done.stderr
    with (folder / "backing.img").open("rb") as file:
        assert file.read(1024) == b"\xa5" * 1024


def test_without_sudo_the_refusal_has_what_to_do(disk: tuple[Bench, Path, str]) -> None:
    bench, folder, _ = disk
    argv = ["/usr/bin/env", "PATH=/nonexistent", *bench.argv("--yes", without=("size",))]
    done = as_nobody_with_sudo(argv, bench.env, NOT_ALLOWED, folder)
    assert done.returncode == 3, done.stderr
    assert "you may not write to it; install sudo" in done.stderr
    with (folder / "backing.img").open("rb") as file:
        assert not is_unfinished(file.read(512))
