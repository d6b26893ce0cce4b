"""A real board is audited: without Docker, and with Docker as the distribution installs it.

The board is that of test_provision.py, which comes next: it is left as it was. It comes after the
tests that boot the card itself, which nobody else may have open then.
"""

from collections.abc import Iterator

import pytest

from tests.support.hostboard import Board
from tests.support.recorded_bench import recorded

pytestmark = [pytest.mark.emulator, pytest.mark.timeout(1800)]

# As the board was on which docker-bench-security was recorded.
STOCK = """
apt-get -qq update >/dev/null 2>&1
set -e
apt-get -qq install -y --no-install-recommends docker.io apparmor busybox-static >/dev/null 2>&1
mkdir -p /tmp/root/bin && cp /bin/busybox /tmp/root/bin/ && ln -sf busybox /tmp/root/bin/sh
tar -C /tmp/root -c . | docker import - bb:1 >/dev/null
docker run -d --name my_container -p 8080:80 bb:1 /bin/busybox sleep 1000000
"""

BARE = """
docker rm -f my_container; docker rmi bb:1
systemctl stop docker.socket docker containerd
apt-get -qq purge -y docker.io containerd runc apparmor >/dev/null 2>&1
rm -rf /var/lib/docker/* /var/lib/containerd/* /etc/docker /etc/containerd
rm -rf /run/docker* /run/containerd
groupdel docker; ip link delete docker0; iptables -t nat -F; iptables -F; true
"""

DIFFERENT: dict[str, str] = {
    # Nobody is in the group docker.
    "1.1.2": "pass",
    # A board cannot know what the newest version is.
    "1.2.2": "manual",
    # It is told by the engine.
    "2.18": "pass",
}
"""Where we say something else about the same board, and why."""


@pytest.fixture
def stock(board: Board) -> Iterator[Board]:
    board.sh(STOCK)
    yield board
    board.sh(BARE)


def test_a_board_without_docker_is_told_so(board: Board) -> None:
    done = board.audit()
    results = {one.check.id: one.judgement for one in done.checks}
    assert len(results) == 117
    assert results["2.2"].result == "skipped"
    assert "not installed" in results["2.2"].evidence
    assert "pass" not in {results[check].result for check in results if check[0] in "24567"}
    assert done.host is not None
    assert done.host.engine == ""


def test_a_stock_board_is_judged_as_docker_bench_judged_it(stock: Board) -> None:
    done = stock.audit()
    found = {one.check.id: one.judgement.result for one in done.checks}
    expected = recorded("stock")
    assert list(found) == list(expected)
    assert found == expected | DIFFERENT
