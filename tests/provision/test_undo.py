"""A change with which the real Docker or a container does not run is undone."""

import pytest

from tests.support.nativeboard import NativeBoard

pytestmark = pytest.mark.integration


def test_a_broken_profile_is_undone_and_the_old_container_runs(native_board: NativeBoard) -> None:
    before, pid = native_board.daemon_json(), native_board.pid_of_old()
    done = native_board.provision({"daemon": {"dns": ("not-an-address",)}})
    assert done.error is not None
    assert done.rolled_back
    assert "step daemon failed. Everything was put back" in str(done.error)
    assert "not-an-address is not an ip address" in str(done.error)
    assert native_board.daemon_json() == before
    assert native_board.pid_of_old() == pid
    native_board.sh("docker exec old /bin/busybox true; systemctl is-active docker")
    assert native_board.provision().changed == ()


def test_a_setting_with_which_no_container_starts_is_undone(native_board: NativeBoard) -> None:
    before, pid = native_board.daemon_json(), native_board.pid_of_old()
    # The daemon starts with it, but every container waits for a server that does not exist.
    options = {"syslog-address": "tcp://127.0.0.1:9"}
    done = native_board.provision({"daemon": {"log-driver": "syslog", "log-opts": options}})
    assert done.error is not None
    assert done.rolled_back
    assert "step smoke failed" in str(done.error)
    assert native_board.daemon_json() == before
    assert native_board.pid_of_old() == pid
