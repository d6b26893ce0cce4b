"""A valid tarball."""

import hashlib
from pathlib import Path

import pytest

from bootwright.core.units import MIB
from tests.support.ext4images import (
    archive,
    member,
)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    noise = hashlib.shake_256(b"seed").digest(3 * MIB + 17)
    path = tmp_path_factory.mktemp("plain") / "a.tar"
    return archive(path, (member("a"), noise), (member("b"), noise[:5]))
