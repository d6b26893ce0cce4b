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
