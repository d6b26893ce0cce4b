"""Debian's packages for the tests through one apt-cacher-ng of this machine.

All processes of tests share it: the first one starts it on a free port of 127.0.0.1, and it ends
after the last one. What it has fetched stays for the next run, so that building another root file
system, or installing Docker on another board, asks the mirror for little. It has nothing to do
with an apt-cacher-ng that the machine itself runs.
"""

import contextlib
import fcntl
import http.client
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bootwright.core import paths

PROGRAM = "apt-cacher-ng"

MOST = 2 * 1024**3
"""Bytes above which the cache begins anew; Debian's packages for all tests are about 0.4 GiB."""

PORTS = range(20000, 32000)
"""apt-cacher-ng 3.7.4 takes none above 32767; the kernel gives those above 32768 to others."""

START_S = 30.0
"""Seconds that it may take to start; about 0.1."""

CONFIGURATION = """\
CacheDir: {folder}/cache
LogDir: {folder}/log
SupportDir: /usr/lib/apt-cacher-ng
BindAddress: 127.0.0.1
Port: {port}
# Without a page for its administration.
ReportPage:
"""


@contextmanager
def package_cache() -> Iterator[int | None]:
    """Give the port of 127.0.0.1 where packages are to be had, as of an HTTP proxy.

    ``None`` where apt-cacher-ng is missing: its distribution may not have it, and packages come
    from the mirror as well.
    """
    if shutil.which(PROGRAM, path=f"{os.environ['PATH']}:/usr/sbin") is None:
        print(f"{PROGRAM} is not installed: packages come from the mirror", file=sys.stderr)
        yield None
        return
    folder = paths.cache_dir() / "test-packages"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "starting").open("ab") as starting, (folder / "users").open("ab") as users:
        fcntl.flock(starting, fcntl.LOCK_EX)
        # Waits for one that is just being ended.
        fcntl.flock(users, fcntl.LOCK_SH)
        port = _running(folder) or _start(folder)
        fcntl.flock(starting, fcntl.LOCK_UN)
        yield port


def _running(folder: Path) -> int | None:
    """Return the port of the one that runs."""
    with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
        port = int((folder / "port").read_text())
        asked = http.client.HTTPConnection("127.0.0.1", port, timeout=START_S)
        asked.request("GET", "/")
        if b"Apt-Cacher NG" in asked.getresponse().read():
            return port
    return None


def _start(folder: Path) -> int:
    # All that is there, whoever wrote it: two of them must not run at once.
    if sum(path.lstat().st_blocks * 512 for path in folder.rglob("*")) > MOST:
        shutil.rmtree(folder / "cache", ignore_errors=True)
        shutil.rmtree(folder / "log", ignore_errors=True)
    port = free_port()
    text = CONFIGURATION.format(folder=folder, port=port)
    # As this machine's own apt does.
    proxy = subprocess.run(
        ["apt-config", "shell", "proxy", "Acquire::http::Proxy"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if proxy:
        text += f"Proxy: {proxy.partition('=')[2].strip().strip(chr(39))}\n"
    for name in ("cache", "log", "conf"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "conf" / "acng.conf").write_text(text)
    (folder / "port").write_text(f"{port}\n")
    # In a session of its own: Ctrl-C is for the tests, which may be others than these.
    subprocess.Popen(
        [sys.executable, __file__, str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=(folder / "output").open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    end = time.monotonic() + START_S
    while _running(folder) is None:
        assert time.monotonic() < end, (folder / "output").read_text()
        time.sleep(0.02)
    return port


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses, and that nobody is given by chance later."""
    while True:
        port = random.choice(PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def _keep(folder: Path) -> None:
    """Run it until nobody uses it any more."""
    environment = os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin"}
    cache = subprocess.Popen([PROGRAM, "-c", folder / "conf", "foreground=1"], env=environment)
    with (folder / "users").open("ab") as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        (folder / "port").unlink(missing_ok=True)
        cache.terminate()
        cache.wait()


if __name__ == "__main__":
    _keep(Path(sys.argv[1]))
