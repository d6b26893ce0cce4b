"""A QEMU for the tests that is faster than the one of Debian 12.

QEMU 10 takes 20 to 40 % less processor time than QEMU 7.2 for what an emulated board does (a boot,
a container; docs/benchmarks.md), and the tests that boot boards take most of the time of all
tests. Debian has it for Debian 12 too, in the suite of backports of the mirror that this machine
uses. It is not installed: its programs are kept in a folder of the cache, and only these tests use
them. All other tests use the QEMU of the machine.
"""

import functools
import re
import shutil
import subprocess
import sys
from pathlib import Path

from bootwright.core import paths
from tests.support.locks import alone

ENOUGH = 8
"""The main version of QEMU from which on the machine's own is used."""

PACKAGES = ("qemu-system-arm", "qemu-utils")

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


@functools.cache
def newer_qemu() -> Path | None:
    """Return the folder with the programs of a newer QEMU; fetch it if it is not there.

    ``None`` where the machine's own is new enough, or where a newer one is not to be had: then the
    tests take longer.
    """
    machines = _main_version("qemu-system-arm")
    if machines is None or machines >= ENOUGH:
        return None
    folder = paths.cache_dir() / "test-qemu"
    programs = folder / "root" / "usr" / "bin"
    with alone(folder / "lock"):
        try:
            if not programs.exists():
                _fetch(folder)
            if (version := _main_version(str(programs / "qemu-system-arm"))) is not None:
                assert version >= ENOUGH, version
                return programs
            reason = "it does not start here"
        except subprocess.CalledProcessError as error:
            reason = f"{error.cmd[0]}: {error.stderr.strip().splitlines()[-1:]}"
        except LookupError as error:
            reason = str(error)
    print(f"no newer QEMU than version {machines}: {reason}", file=sys.stderr)
    return None


def _main_version(program: str) -> int | None:
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True)
    except OSError:
        return None
    found = re.match(r"QEMU emulator version (\d+)\.", done.stdout)
    return int(found[1]) if found else None


def _fetch(folder: Path) -> None:
    mirror, suite = _mirror()
    for name in ("lists/partial", "packages"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    backports = f"{suite}-backports"
    sources = folder / "debian.sources"
    sources.write_text(
        f"Types: deb\nURIs: {mirror}\nSuites: {backports}\nComponents: main\nSigned-By: {KEYRING}\n"
    )
    apt = (
        *("apt-get", "-q", "-o", f"Dir::Etc::SourceList={sources}"),
        *("-o", "Dir::Etc::SourceParts=-", "-o", f"Dir::State::Lists={folder / 'lists'}"),
        *("-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="),
        *("-o", f"APT::Sandbox::User={_user()}"),
    )
    _run([*apt, "update", "--error-on=any"])
    _run([*apt, "-t", backports, "download", *PACKAGES], cwd=folder / "packages")
    unpacked = folder / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    for package in (folder / "packages").glob("*.deb"):
        _run(["dpkg-deb", "--extract", str(package), str(unpacked)])
        package.unlink()
    shutil.rmtree(folder / "root", ignore_errors=True)
    unpacked.rename(folder / "root")


def _mirror() -> tuple[str, str]:
    """Return the address of this machine's mirror of Debian, and its suite."""
    release = dict(
        line.split("=", 1)
        for line in Path("/etc/os-release").read_text().splitlines()
        if "=" in line
    )
    suite = release.get("VERSION_CODENAME", "")
    if release.get("ID") != "debian":
        raise LookupError("this system is not Debian")
    found = _run(["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)"])
    for line in found.splitlines():
        codename, _, address = line.partition(" ")
        if codename == suite:
            return address, suite
    raise LookupError(f"apt has no source for {suite}")


def _user() -> str:
    """Return who apt becomes to fetch: the packages go to a folder that is for one user only."""
    return subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()


def _run(argv: list[str], cwd: Path | None = None) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True, cwd=cwd).stdout
