"""A small Debian of this machine's architecture: real apt and dpkg, and a repository of its own.

It is not booted: scripts run in it with processes of their own, and can be ended at any moment, as
by a loss of power. The system is made once by mmdebstrap and kept in the cache; what a test changes
is in a layer over it.
"""

import contextlib
import hashlib
import itertools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

import pytest

from bootwright.core import paths
from bootwright.remote.sections import Section, parse_sections
from tests.support.locks import alone
from tests.support.namespace import namespaced, need_namespaces
from tests.support.package_cache import package_cache

SUITE = "bookworm"

OLDEST_DAYS = 30
"""Days after which the system is made anew."""

_INSIDE = """
# Nothing is written through to the disk: "volatile". Such a layer leaves a mark in its folder.
rm -rf "$BOARD/work"
mkdir "$BOARD/work"
mount -t overlay -o "volatile,lowerdir=$BASE,upperdir=$BOARD/changes,workdir=$BOARD/work" \
    root "$BOARD/root"
mount -t proc proc "$BOARD/root/proc"
mount --rbind /dev "$BOARD/root/dev"
mount -t tmpfs none "$BOARD/root/run"
mkdir -p "$BOARD/root/repo" "$BOARD/root/job"
mount --bind "$BOARD/repo" "$BOARD/root/repo"
mount --bind "$BOARD/job" "$BOARD/root/job"
"""


def need_debian_roots() -> None:
    """Skip the test where no such system can be made; fail if a tool is missing."""
    need_namespaces("mmdebstrap", "dpkg-deb")
    if "overlay" not in Path("/proc/filesystems").read_text():
        pytest.skip("the kernel has no overlay file systems")


def base() -> Path:
    """Return the folder of the system without a change; make it if it is not there."""
    kept = paths.cache_dir() / "test-packages-chroot"
    made = kept / SUITE
    with alone(kept / "lock"):
        if made.exists() and time.time() - made.stat().st_mtime < OLDEST_DAYS * 86400:
            return made
        for former in (made, draft := kept / "draft"):
            shutil.rmtree(former, ignore_errors=True)
        with package_cache() as port:
            proxy = {} if port is None else {"http_proxy": f"http://127.0.0.1:{port}"}
            subprocess.run(
                ["mmdebstrap", "--variant=apt", "--format=directory", "--quiet", SUITE, draft],
                check=True,
                env=os.environ | proxy,
                stdin=subprocess.DEVNULL,
            )
        for path in (*draft.glob("etc/apt/sources.list*"), *draft.glob("etc/apt/sources.list.d/*")):
            if path.is_file():
                path.unlink()
        # mmdebstrap leaves the time of the newest package.
        os.utime(draft)
        draft.rename(made)
    return made


@dataclass(frozen=True)
class Package:
    """A package for the tests.

    Attributes:
        name: its name.
        version: its version.
        fields: other fields of its control file, such as ``Depends``.
        files: its files and their contents, by paths without the leading ``/``.
        scripts: other members of its control archive, such as ``postinst``.
    """

    name: str
    version: str
    fields: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    scripts: Mapping[str, str] = field(default_factory=dict)

    @property
    def control(self) -> str:
        """Its control file."""
        values = {
            "Package": self.name,
            "Version": self.version,
            "Architecture": "all",
            "Maintainer": "Test <test@localhost>",
            "Description": "a package of a test",
            **self.fields,
        }
        return "".join(f"{name}: {value}\n" for name, value in values.items())

    def build(self, pool: Path) -> Path:
        """Build it in a folder, and return the file."""
        tree = pool / f"{self.name}.tree"
        for path, text in {
            "DEBIAN/control": self.control,
            **{f"DEBIAN/{name}": script for name, script in self.scripts.items()},
            **self.files,
        }.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text)
            (tree / path).chmod(0o755 if path.startswith("DEBIAN/p") else 0o644)
        file = pool / f"{self.name}_{self.version}_all.deb"
        argv = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(file)]
        subprocess.run(argv, check=True, capture_output=True)
        shutil.rmtree(tree)
        return file


@dataclass
class DebianRoot:
    """One board, in a folder of the test's own."""

    folder: Path
    base: Path

    def make(self) -> None:
        """Write what the board begins with; its only source is ``/repo``, with nothing in it."""
        for name in ("changes/etc/apt", "work", "root", "repo", "job"):
            (self.folder / name).mkdir(parents=True)
        self.source("own.list", "deb [trusted=yes] file:/repo stable main")
        self.write("usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)

    def copy(self, folder: Path) -> "DebianRoot":
        """Return a board that is as this one is."""
        subprocess.run(["cp", "-a", self.folder, folder], check=True)
        return DebianRoot(folder, self.base)

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        """Write a file of the board."""
        path = self.folder / "changes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def source(self, name: str, line: str) -> None:
        """Give the board a source of packages."""
        self.write(f"etc/apt/sources.list.d/{name}", f"{line}\n")

    def publish(self, *packages: Package) -> None:
        """Have the board's source offer these packages, and no others."""
        shutil.rmtree(self.folder / "repo/dists", ignore_errors=True)
        pool = self.folder / "repo/pool"
        pool.mkdir(exist_ok=True)
        # As Debian's lists have it; it is older than the one that is installed.
        stanzas = [f"{Package('base-files', '1').control}Filename: none\nSize: 1\n"]
        for package in packages:
            data = package.build(pool)
            stanzas.append(
                f"{package.control}Filename: pool/{data.name}\nSize: {data.stat().st_size}\n"
                f"SHA256: {hashlib.sha256(data.read_bytes()).hexdigest()}\n"
            )
        architecture = subprocess.run(
            ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
        ).stdout.strip()
        name = f"main/binary-{architecture}/Packages"
        text = "\n".join(stanzas)
        lists = self.folder / "repo/dists/stable"
        (lists / name).parent.mkdir(parents=True)
        (lists / name).write_text(text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        (lists / "Release").write_text(
            f"Origin: Debian\nSuite: stable\nCodename: stable\nDate: {formatdate(usegmt=True)}\n"
            f"Architectures: {architecture} all\nComponents: main\n"
            f"SHA256:\n {digest} {len(text)} {name}\n"
        )

    def start(self, script: str) -> subprocess.Popen[bytes]:
        """Start a script on the board, in the folder of its job."""
        (self.folder / "job/job").write_text(script)
        inside = "cd /job && exec sh ./job >log 2>&1 </dev/null"
        return subprocess.Popen(
            namespaced(
                {},
                *("chroot", str(self.folder / "root"), "/bin/sh", "-c", inside),
                prepare=_INSIDE,
                processes=True,
            ),
            env={
                "BOARD": str(self.folder),
                "BASE": str(self.base),
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            },
            stdin=subprocess.DEVNULL,
            # unshare complains when its command is killed.
            stderr=(self.folder / "stderr").open("wb"),
        )

    def run(self, script: str) -> tuple[Section, ...]:
        """Run a script on the board to its end, and return what it reports."""
        self.start(script).wait(timeout=300)
        log = (self.folder / "job/log").read_text("utf-8", "replace")
        return parse_sections(f"{log}\n== end\n")

    def run_killed(self, script: str, seconds: float) -> bool:
        """Run a script, and end it and all that it has started after some time.

        Return whether it was ended before its own end.
        """
        running = self.start(script)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(timeout=seconds)
            return False
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        # The first process of the namespace: it is not gone before all others are.
        for process in children or [str(running.pid)]:
            os.kill(int(process), signal.SIGKILL)
        running.wait()
        return True

    def say(self, command: str) -> str:
        """Return what a command that succeeds writes."""
        status = self.start(command).wait(timeout=300)
        log = (self.folder / "job/log").read_text("utf-8", "replace")
        assert status == 0, log
        return log

    def states(self) -> dict[str, str]:
        """Return the state and version of each package that is known, such as ``ii 1``."""
        lines = self.say("dpkg-query -W -f '${Package} ${db:Status-Abbrev} ${Version}\\n'")
        names = (line.split(maxsplit=1) for line in lines.splitlines())
        return {name: " ".join(rest.split()) for name, rest in names}


def numbered(folder: str, count: int, text: str) -> dict[str, str]:
    """Return many small files, so that it takes a while to unpack them."""
    return {f"{folder}/{number}": text for number in itertools.islice(itertools.count(), count)}
