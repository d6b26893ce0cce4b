"""What all tests share."""

from collections.abc import Iterator

import hypothesis
import pytest

from bootwright.core.secret import MASKER

# How long an example takes says nothing on a machine that boots boards meanwhile.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests() -> Iterator[None]:
    """What a test masks does not depend on the tests before it."""
    yield
    MASKER.forget()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests without a board in one process, where pytest-xdist runs several.

    Some use the same device of this machine, or measure time and memory. Each test of a board has
    a board of its own. pytest-xdist reads these marks in a hook of the same name, which must come
    after this one.
    """
    for item in items:
        if item.get_closest_marker("emulator") is None:
            item.add_marker(pytest.mark.xdist_group("without a board"))
