"""A root of an Arch-like board with a real `pacman`, and a repository that the test makes.

`/usr` and `/etc` are this machine's below a layer of the test's own, everything else is the
test's; scripts run there with processes of their own, and this machine stays as it is.
"""

import io
import os
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

from bootwright.remote.sections import Section, parse_sections
from tests.support.gpgkeys import KeyRing
from tests.support.namespace import namespaced, need_namespaces

KEYRING = "testlinux-keyring"

_INSIDE = r"""
new=$BOARD/new
mount -t tmpfs -o "size=$SIZE" root "$new"
cd "$new"
mkdir usr etc var run repo proc dev sys root tmp boot
for name in bin sbin lib lib64; do ln -s "usr/$name" "$name"; done
for name in usr etc; do
    mount -t overlay -o "lowerdir=/$name,upperdir=$BOARD/$name,workdir=$BOARD/work-$name" \
        "$name" "$name"
done
for name in var run repo; do mount --bind "$BOARD/$name" "$name"; done
mount --bind "$BOARD/keyrings" usr/share/keyrings
# This machine is Debian, and the board is not.
for name in dpkg-query apt-get; do
    if [ -e "usr/bin/$name" ]; then mount --bind /dev/null "usr/bin/$name"; fi
done
mount -t proc proc proc
mount --rbind /dev dev
"""

_ON_INSTALL = """
post_install() { :; }
post_upgrade() { usr/bin/pacman-key --populate testlinux; }
"""


def need_pacman() -> None:
    """Skip the test where there is no pacman, or no place for it."""
    need_namespaces("pacman", "pacman-key", "repo-add", "bsdtar", "gpg")
    if "overlay" not in Path("/proc/filesystems").read_text():
        pytest.skip("the kernel has no overlay file systems")


@dataclass
class ArchRoot:
    """One board; ``keys`` signs its packages."""

    root: Path
    keys: KeyRing
    size: str = "1g"

    def make(self) -> None:
        """Lay everything that the board begins with; no package is installed."""
        for name in ("usr", "etc", "var", "run/work", "repo", "new", "keyrings"):
            (self.root / name).mkdir(parents=True)
        for name in ("work-usr", "work-etc"):
            (self.root / name).mkdir()
        for name in ("lib/pacman", "cache/pacman/pkg", "log", "tmp"):
            (self.root / "var" / name).mkdir(parents=True)
        (self.root / "etc/pacman.d").mkdir()
        self.write("etc/os-release", 'ID=archarm\nID_LIKE=arch\nPRETTY_NAME="Arch Linux ARM"\n')
        self.server("file:///repo")

    def copy(self, root: Path) -> "ArchRoot":
        """Return a board that is as this one is."""
        subprocess.run(["cp", "-a", self.root, root], check=True)
        return ArchRoot(root, self.keys, self.size)

    def write(self, name: str, text: str) -> None:
        """Write a file of the board."""
        (self.root / name).write_text(text)

    def server(self, url: str, signatures: str = "Required DatabaseOptional") -> None:
        """Have packages come from there."""
        self.write(
            "etc/pacman.conf",
            f"[options]\nArchitecture = auto\nCheckSpace\nSigLevel = {signatures}\n"
            f"[test]\nServer = {url}\n",
        )

    def publish(
        self,
        name: str,
        version: str,
        files: Mapping[str, bytes],
        key: str,
        *,
        forged: bool = False,
    ) -> None:
        """Put a package into the repository, in place of an older version."""
        file = self.root / "repo" / f"{name}-{version}-any.pkg.tar.gz"
        info = (
            f"pkgname = {name}\npkgbase = {name}\npkgver = {version}\npkgdesc = a test\n"
            "url = http://localhost\nbuilddate = 1\npackager = a test\n"
            f"size = {sum(map(len, files.values()))}\narch = any\nlicense = none\n"
        )
        content = {".PKGINFO": info.encode(), **files}
        if name == KEYRING:
            content[".INSTALL"] = _ON_INSTALL.encode()
        with tarfile.open(file, "w:gz") as tar:
            # A folder goes with the last package that has it.
            folders = {str(parent) for path in files for parent in PurePosixPath(path).parents}
            for folder in sorted(folders - {"."}):
                entry = tarfile.TarInfo(folder)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
            for path, data in content.items():
                entry = tarfile.TarInfo(path)
                entry.size, entry.mode = len(data), 0o644
                tar.addfile(entry, io.BytesIO(data))
        signed = file.read_bytes()
        signature = self.keys.sign(key, b"another" if forged else signed)
        Path(f"{file}.sig").write_bytes(signature)
        database = self.root / "repo/test.db.tar.gz"
        before = database.stat().st_mtime if database.exists() else 0
        subprocess.run(["repo-add", "--quiet", database, file], check=True, capture_output=True)
        # pacman fetches a database again only if it is newer, by whole seconds.
        newer = max(int(before) + 1, int(database.stat().st_mtime))
        os.utime(database, (newer, newer))

    def publish_keyring(self, version: str, trusted: tuple[str, ...], signer: str) -> None:
        """Put the package with the keys into the repository."""
        files = {
            "usr/share/keyrings/testlinux.gpg": b"".join(map(self.keys.public, trusted)),
            "usr/share/keyrings/testlinux-trusted": "".join(
                f"{key}:4:\n" for key in trusted
            ).encode(),
            "usr/share/keyrings/testlinux-revoked": b"",
        }
        self.publish(KEYRING, version, files, signer)

    def start(self, script: str) -> subprocess.Popen[bytes]:
        """Start a script on the board, in the folder of its job."""
        self.write("run/work/job", script)
        env = {"BOARD": str(self.root), "SIZE": self.size, "PATH": os.environ["PATH"]}
        in_folder = ["sh", "-c", "cd /run/work && exec sh ./job"]
        return subprocess.Popen(
            namespaced(
                {},
                *("chroot", str(self.root / "new"), *in_folder),
                prepare=_INSIDE,
                processes=True,
            ),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, script: str) -> tuple[Section, ...]:
        """Run a script on the board to its end; return what it told."""
        out, _ = self.start(script).communicate(timeout=300)
        return parse_sections(f"{out.decode('utf-8', 'replace')}\n== end\n")

    def say(self, command: str) -> str:
        """Return what a command that succeeds writes."""
        running = self.start(command)
        out, _ = running.communicate(timeout=300)
        assert running.returncode == 0, out.decode()
        return out.decode()
