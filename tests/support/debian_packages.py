"""Single packages of Debian for the tests, fetched and checked by this machine's apt.

They are not installed, and stay in the cache.
"""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest

from bootwright.core import paths
from bootwright.rootfs.debian_plan import AptSource
from tests.support.locks import alone


def package_files(name: str, source: AptSource, architecture: str = "armhf") -> Path:
    """Return a folder with the unpacked files of a package.

    The test is skipped if the package is not in the cache and cannot be fetched.
    """
    folder = paths.cache_dir() / "test-packages-unpacked" / f"{source.suite}-{architecture}-{name}"
    with alone(folder / "lock"):
        if not (folder / "root").exists():
            try:
                _fetch(name, source, architecture, folder)
            except subprocess.CalledProcessError as error:
                last = error.stderr.strip().splitlines()[-1:]
                pytest.skip(f"{name} of {source.suite} cannot be fetched: {' '.join(last)}")
            except FileNotFoundError as error:
                pytest.skip(f"{name} cannot be fetched: {error.filename} is missing")
    return folder / "root"


def _fetch(name: str, source: AptSource, architecture: str, folder: Path) -> None:
    for part in ("lists/partial", "cache/archives/partial", "packages"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(f"{source.line}\n")
    settings = {
        "Dir::Etc::SourceList": folder / "sources.list",
        "Dir::Etc::SourceParts": "-",
        "Dir::State::Lists": folder / "lists",
        "Dir::State::Status": folder / "status",
        "Dir::Cache": folder / "cache",
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        # The folder is for one user only.
        "APT::Sandbox::User": pwd.getpwuid(os.geteuid()).pw_name,
    }
    apt = ["apt-get", "-q", *(f"-o{key}={value}" for key, value in settings.items())]
    _run([*apt, "update", "--error-on=any"], folder)
    _run([*apt, "download", name], folder / "packages")
    (package,) = (folder / "packages").glob("*.deb")
    shutil.rmtree(folder / "unpacked", ignore_errors=True)
    _run(["dpkg-deb", "--extract", str(package), str(folder / "unpacked")], folder)
    (folder / "unpacked").rename(folder / "root")
    for part in ("lists", "cache", "packages"):
        shutil.rmtree(folder / part)


def _run(argv: list[str], cwd: Path) -> None:
    subprocess.run(argv, capture_output=True, text=True, check=True, cwd=cwd)
