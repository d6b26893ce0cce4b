"""A real board is audited: without Docker, and with Docker as the distribution installs it."""

import pytest

from tests.support.hostboard import Board
from tests.support.recorded_bench import recorded

pytestmark = pytest.mark.emulator

# The same state as when the output of docker-bench-security was recorded.
CONTAINER = """
set -e
tar -C /tmp/root -c . | docker import - bb:1 >/dev/null
docker run -d --name my_container -p 8080:80 bb:1 /bin/busybox sleep 1000000
"""

DIFFERENT: dict[str, str] = {
    # Nobody is in the group docker.
    "1.1.2": "pass",
    # A board cannot know what the newest version is.
    "1.2.2": "manual",
    # The engine reports it.
    "2.18": "pass",
}
"""The checks with another result than docker-bench on the same board, and why."""


def test_a_board_without_docker_is_reported(unlocked: Board) -> None:
    done = unlocked.audit()
    results = {one.check.id: one.evaluation for one in done.checks}
    assert len(results) == 117
    assert results["2.2"].result == "skipped"
    assert "not installed" in results["2.2"].evidence
    assert "pass" not in {results[check].result for check in results if check[0] in "24567"}
    assert done.host is not None
    assert done.host.engine == ""


def test_a_stock_board_is_evaluated_as_by_docker_bench(with_docker: Board) -> None:
    with_docker.sh(CONTAINER)
    done = with_docker.audit()
    found = {one.check.id: one.evaluation.result for one in done.checks}
    expected = recorded("stock")
    assert list(found) == list(expected)
    assert found == expected | DIFFERENT
