"""Settings of the real Docker daemon that keep a board's containers from it."""

import pytest

from bootwright.core.errors import RefusedError
from tests.support.nativeboard import NativeBoard

pytestmark = pytest.mark.integration


def test_what_cannot_start_is_refused_before_anything_changes(native_board: NativeBoard) -> None:
    with pytest.raises(RefusedError, match="v1 registry"):
        native_board.provision({"daemon": {"disable-legacy-registry": True}})
    with pytest.raises(RefusedError, match="image busybox:local") as error:
        native_board.provision({"daemon": {"userns-remap": ""}})
    assert "container old" in str(error.value)
    assert "--migrate-userns" in str(error.value)
    assert native_board.provision().changed == ()


def test_user_namespaces_can_be_switched_off(native_board: NativeBoard) -> None:
    done = native_board.provision({"daemon": {"userns-remap": ""}}, migrate_userns=True)
    assert done.error is None, done.error
    assert native_board.sh("docker ps -aq; docker images -q").strip() == ""
    # Nothing is lost: the data is where Docker finds it if they are switched on again.
    assert "old" in native_board.sh("cat /var/lib/docker/*.*/containers/*/config.v2.json")
