"""Time an audit of a board against docker-bench-security, and with 500 containers.

    .venv/bin/python benchmarks/audit.py --peer DIR [--runs N] [--containers N] [--identity FILE]

The board is the running emulator, provisioned (scripts/demo leaves a card for it):

    inv emulate --device build/demo/card.img --snapshot; inv unlock emulator …

DIR is a checkout of docker/docker-bench-security at v1.6.1, which is copied to the board.

1. With one container, alternately: the whole of ``inv audit emulator``, and docker-bench-security
   on the board itself, without the time of copying it there.
2. ``inv audit`` with more containers. They are created and not started, because the board could not
   run so many; each audit inspects all of them.
"""

import argparse
import io
import json
import statistics
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from bootwright.hosts import resolve
from bootwright.remote.io.connection import Remote

INV = str(Path(sys.executable).parent / "inv")

# The image is made from the board's own shell, so that nothing has to be downloaded.
IMAGE = r"""
set -e
docker image inspect bench:local >/dev/null 2>&1 || tar -C / -ch bin/sh $(ldd /bin/sh |
    sed -n 's,^[^/]*/\([^ ]*\) (0x.*,\1,p') | docker import - bench:local >/dev/null
docker ps -aq --filter name=bench | xargs -r docker rm -f >/dev/null
docker run -dt --name bench-0 --log-driver none bench:local /bin/sh -c 'read line' >/dev/null
"""

MANY = """
seq {count} | xargs -P 4 -I % docker create --name bench-% --log-driver none bench:local /bin/sh \
    >/dev/null
docker ps -aq | wc -l
"""


def on_board(board: Remote, script: str, stdin: bytes | None = None) -> tuple[str, float]:
    """Run a script, which may take an hour; return its output, and how many seconds it took."""
    begin = time.monotonic()
    done = board.run(script, title="benchmark", stdin=stdin, timeout=3600)
    if done.returncode != 0:
        sys.exit(done.failure(script))
    return done.text, time.monotonic() - begin


def time_audit(identity: str) -> float:
    """Audit the board as an operator does; return how many seconds it took."""
    begin = time.monotonic()
    argv = [INV, "audit", "emulator", "--json", "--identity", identity]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    took = time.monotonic() - begin
    document = json.loads(done.stdout)
    assert document["summary"]["skipped"] == 0, document["summary"]
    return took


def peer_archive(folder: Path) -> bytes:
    """Return docker-bench-security as a tar archive."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for name in ("docker-bench-security.sh", "functions", "tests"):
            tar.add(folder / name, arcname=f"peer/{name}")
    return data.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peer", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--containers", type=int, default=500)
    parser.add_argument("--identity", default="build/demo/id")
    options = parser.parse_args()
    endpoint = resolve.endpoint_of("emulator", options.identity)
    with Remote(endpoint) as board:
        on_board(board, IMAGE)
        on_board(board, "rm -rf /tmp/peer; tar -C /tmp -xzf -", peer_archive(options.peer))
        run_peer = "cd /tmp/peer && sh docker-bench-security.sh -b >out 2>&1; tail -n 3 out"
        ours: list[float] = []
        theirs: list[float] = []
        for _ in range(options.runs):
            ours.append(time_audit(options.identity))
            theirs.append(on_board(board, run_peer)[1])
        one, peer = statistics.median(ours), statistics.median(theirs)
        print(f"inv audit              median {one:.2f} s, best {min(ours):.2f} s")
        print(f"docker-bench-security  median {peer:.2f} s, best {min(theirs):.2f} s")
        print(f"inv audit takes 1/{peer / one:.1f} of docker-bench-security's time")
        there, took = on_board(board, MANY.format(count=options.containers))
        print(f"{there.strip()} containers were made in {took:.0f} s")
        many = [time_audit(options.identity) for _ in range(options.runs)]
        median = statistics.median(many)
        print(f"with them              median {median:.2f} s, best {min(many):.2f} s")
        print(f"which is {median / one:.2f} × that with one")
        on_board(board, "docker ps -aq --filter name=bench | xargs docker rm -f >/dev/null")


if __name__ == "__main__":
    main()
