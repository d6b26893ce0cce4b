"""An SSH server for the tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.support.sshserver import SshServer, need_sshd


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    need_sshd()
    server = SshServer(tmp_path_factory.mktemp("sshd"))
    yield server.start()
    server.stop()
