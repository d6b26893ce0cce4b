"""The provisioned board is audited: no check of host and daemon warns without a reason."""

import pytest

from tests.support.hostboard import Board
from tests.support.recorded_bench import recorded

pytestmark = pytest.mark.emulator

# With all restrictions that the benchmark requires for a container, and no others.
HARDENED = """
set -e
docker ps -aq | xargs -r docker rm -f >/dev/null
docker image prune -af >/dev/null
tar -C /tmp/root -c . | docker import --change 'USER 1000' \
    --change 'HEALTHCHECK CMD ["/bin/busybox", "true"]' - hard:1 >/dev/null
docker network inspect inner >/dev/null 2>&1 || docker network create inner >/dev/null
docker run -d --name hard --network inner -p 127.0.0.1:8080:8080 --memory 64m --cpu-shares 512 \
    --pids-limit 50 --read-only --restart on-failure:5 --security-opt no-new-privileges \
    --ulimit nofile=100:200 --security-opt label=type:container_t \
    hard:1 /bin/busybox sleep 1000000 >/dev/null
docker ps --format '{{.Names}}'
"""

DIFFERENT: dict[str, str] = {
    # Nobody is in the group docker.
    "1.1.2": "pass",
    # A board cannot know what the newest version is.
    "1.2.2": "manual",
    # The engine reports it.
    "2.18": "pass",
    # The recorded board had a log driver; docker-bench checks nothing else.
    "2.13": "warn",
    # DOCKER_CONTENT_TRUST was in the environment of docker-bench.
    "4.5": "warn",
    # An option for SELinux, on a board that does not enforce it.
    "5.3": "warn",
}
"""The checks with another result than docker-bench on such a board, and why."""


def test_a_provisioned_board_has_no_warnings_for_host_and_daemon(
    provisioned: Board,
) -> None:
    board = provisioned
    assert board.sh(HARDENED).split() == ["hard"]
    audited = board.audit()
    shown = {one.check.id: audited.result(one) for one in audited.checks}
    unexplained = [
        (one.check.id, one.evaluation)
        for one in audited.checks
        if one.check.section in "123"
        and shown[one.check.id] in ("warn", "skipped")
        # No server for logs was named.
        and one.check.id != "2.13"
    ]
    assert unexplained == []
    assert shown["2.12"] == "waived"
    found = {one.check.id: one.evaluation.result for one in audited.checks}
    assert found == recorded("hardened") | DIFFERENT
