"""Who called sudo, and whose the files are that such a run makes."""

import os
import pwd
from pathlib import Path

import pytest

from bootwright.core.io.operator import SudoOperator, give_back, sudo_operator, use_home

NOBODY = pwd.getpwnam("nobody")


@pytest.mark.parametrize(
    ("environment", "user"),
    [
        ({}, 0),
        ({"SUDO_UID": "0", "SUDO_GID": "0"}, 0),
        ({"SUDO_UID": "1000"}, 0),
        ({"SUDO_UID": "1000", "SUDO_GID": "1000"}, 1000),
        ({"SUDO_UID": "-1", "SUDO_GID": "1"}, 0),
        ({"SUDO_UID": "9" * 5000, "SUDO_GID": "1"}, 0),
        ({"SUDO_UID": "4294967295", "SUDO_GID": "1"}, 0),
    ],
)
def test_without_sudo_of_another_user_there_is_no_operator(
    environment: dict[str, str], user: int
) -> None:
    assert sudo_operator(environment, user) is None


def test_the_operators_home_is_the_one_in_passwd(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"SUDO_UID": str(NOBODY.pw_uid), "SUDO_GID": str(NOBODY.pw_gid)}
    operator = sudo_operator(environment, 0)
    assert operator == SudoOperator(NOBODY.pw_uid, NOBODY.pw_gid, NOBODY.pw_dir)
    monkeypatch.setenv("HOME", "/root")
    monkeypatch.setenv("XDG_CACHE_HOME", "/root/.cache")
    use_home(operator)
    assert (os.environ["HOME"], "XDG_CACHE_HOME" in os.environ) == (NOBODY.pw_dir, False)
    assert sudo_operator({"SUDO_UID": "54321", "SUDO_GID": "1"}, 0) == SudoOperator(54321, 1, None)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_what_root_made_in_a_folder_of_the_operators_is_given_to_him(tmp_path: Path) -> None:
    operator = SudoOperator(54321, 54322, None)
    checkout, elsewhere = tmp_path / "checkout", tmp_path / "elsewhere"
    for folder in (checkout / "new" / "build" / "ssh", elsewhere / "build"):
        folder.mkdir(parents=True)
    key, secret = checkout / "new" / "build" / "ssh" / "key", elsewhere / "secret"
    for file in (key, secret, elsewhere / "build" / "x"):
        file.write_text("")
    (key.parent / "link").symlink_to(secret)
    (key.parent / "hard").hardlink_to(secret)
    foreign = key.parent / "foreign"
    foreign.write_text("")
    os.chown(foreign, 7, 7)
    os.chown(checkout, 54321, 54322)
    give_back(operator, checkout / "new" / "build")
    give_back(operator, elsewhere / "build")
    give_back(operator, checkout / "absent")
    for path in (key, key.parent, key.parent.parent, checkout / "new"):
        assert (path.stat().st_uid, path.stat().st_gid) == (54321, 54322)
    assert (key.parent / "link").lstat().st_uid == 54321
    assert secret.stat().st_uid == 0
    assert foreign.stat().st_uid == 7
    assert (elsewhere / "build" / "x").stat().st_uid == 0
