"""Which tests may run at once: files, each by itself, but for those that share a board."""

import hypothesis
import pytest

SHARED = {"test_provision.py": "board", "test_provision_logs.py": "board"}
"""Files whose tests build on each other."""

# How long an example takes says nothing on a machine that boots boards meanwhile.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each file to one process; see pytest-xdist's ``--dist loadgroup``."""
    for item in items:
        group = SHARED.get(item.path.name, str(item.path))
        item.add_marker(pytest.mark.xdist_group(group))
