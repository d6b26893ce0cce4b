"""`inv provision` where it cannot go on: each board and step is named, nothing is changed."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.bench import Bench
from tests.support.lab import Lab
from tests.support.schemas import check_document
from tests.support.sshserver import USER, SshServer, need_sshd

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    need_sshd()
    server = SshServer(tmp_path_factory.mktemp("board"))
    (server.etc / "os-release").unlink(missing_ok=True)
    (server.etc / "os-release").write_text('ID=debian\nPRETTY_NAME="Debian of the test"\n')
    # What this machine lacks, and a board of ours has.
    server.tool("systemctl", "exit 1")
    server.tool("systemd-run", "exit 1")
    server.start()
    try:
        yield Lab(Bench(tmp_path_factory.mktemp("lab")), server)
    finally:
        server.stop()


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return check_document("provision", json.loads(done.stdout))


def test_a_board_without_the_encrypted_volume_is_refused(lab: Lab) -> None:
    done = lab.inv("provision", "board", "--dry-run")
    assert done.returncode == 3
    assert "board (root@127.0.0.1 port" in done.stderr
    assert "/var/lib/docker is not mounted" in done.stderr
    assert "inv unlock" in done.stderr
    assert done.stdout == ""


def test_a_board_that_does_not_answer(lab: Lab) -> None:
    done = lab.inv("provision", "gone")
    assert done.returncode == 4
    assert "gone (root@127.0.0.1 port" in done.stderr
    assert "Connection refused" in done.stderr


def test_a_wrong_host_key_is_refused(lab: Lab) -> None:
    done = lab.inv("provision", "forged")
    assert done.returncode == 3
    assert "forged" in done.stderr
    assert "host key" in done.stderr


def test_a_user_whom_sudo_asks_for_a_password(lab: Lab) -> None:
    lab.server.sudoers(f"{USER} ALL=(ALL:ALL) ALL")
    done = lab.inv("provision", "mia")
    assert done.returncode == 4
    assert f"mia ({USER}@127.0.0.1 port" in done.stderr
    assert "sudo asks for a password" in done.stderr


def test_a_wrong_password_for_sudo_is_tried_once(lab: Lab, tmp_path: Path) -> None:
    lab.server.sudoers(f"{USER} ALL=(ALL:ALL) ALL")
    password = tmp_path / "password"
    password.write_text("not the one\n")
    password.chmod(0o600)
    done = lab.inv("provision", "mia", "--sudo-password-file", str(password), "--json")
    assert done.returncode == 4
    (target,) = document(done)["targets"]
    assert f"sudo refused the password of {USER}; it was tried once" in target["error"]["message"]
    assert not target["rolled_back"]
    assert "not the one" not in done.stdout + done.stderr


def test_a_system_that_is_not_known(lab: Lab) -> None:
    release = lab.server.etc / "os-release"
    before = release.read_text()
    release.write_text('ID=plan9\nPRETTY_NAME="Plan 9"\n')
    try:
        done = lab.inv("provision", "board")
    finally:
        release.write_text(before)
    assert done.returncode == 4
    assert "Plan 9 is neither Debian with apt nor Arch Linux with pacman" in done.stderr


def test_several_boards_each_have_a_line_and_the_worst_decides(lab: Lab) -> None:
    done = lab.inv("provision", "board", "gone", "forged", "--json")
    assert done.returncode == 4
    targets = document(done)["targets"]
    assert [(item["target"], item["error"]["exit_code"]) for item in targets] == [
        ("board", 3),
        ("gone", 4),
        ("forged", 3),
    ]
    lines = [line for line in done.stderr.splitlines() if line.startswith("✗ ")]
    assert sorted(line.split()[1] for line in lines) == ["board", "forged", "gone"]
    group = lab.inv("provision", "--group", "lab", "--parallel", "2", "--json")
    assert [item["target"] for item in document(group)["targets"]] == [
        "board",
        "mia",
        "gone",
        "forged",
    ]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ((), "name a target"),
        (("nosuch",), "no target 'nosuch'"),
        (("--group", "nobody"), "in the group 'nobody'"),
        (("board", "--parallel", "0"), "--parallel"),
        (("board", "--rollback-after", "soon"), "--rollback-after"),
        (("board", "--nosuch"), "has no option --nosuch"),
        (("board", "--sudo-password-file", "/nonexistent"), "/nonexistent"),
    ],
)
def test_wrong_input_ends_with_2_before_anything_is_begun(
    lab: Lab, argv: tuple[str, ...], said: str
) -> None:
    done = lab.inv("provision", *argv, "--json")
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert done.stdout == ""


def test_a_wrong_value_of_the_target_is_named(lab: Lab, tmp_path: Path) -> None:
    config = lab.bench.checkout / "bootwright.toml"
    before = config.read_text()
    try:
        config.write_text(before + "[targets.forged.docker]\napi = 'tcp://everywhere'\n")
        done = lab.inv("provision", "forged")
        assert done.returncode == 2
        assert "targets.forged: docker.api" in done.stderr
        config.write_text(before + "[targets.forged.docker]\nseccomp_profile = 'none.json'\n")
        done = lab.inv("provision", "forged")
        assert done.returncode == 2
        assert "docker.seccomp_profile" in done.stderr
    finally:
        config.write_text(before)
