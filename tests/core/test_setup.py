"""``scripts/setup`` in a folder whose name is not ASCII, and how the program starts there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bootwright.core.paths import checkout

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of a checkout that was just set up; nothing has to be installed for it."""
    root = tmp_path_factory.mktemp("x") / "Mein Projekt äöü"
    package = root / "bootwright" / "core"
    package.mkdir(parents=True)
    (package / "program.py").write_text("def main():\n    print('started')\n")
    shutil.copytree(checkout() / "scripts", root / "scripts")
    (root / "scripts" / "tools.tsv").write_text("")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root / ".venv"], check=True)
    (root / ".venv" / "bin" / "pip").write_text("#!/bin/sh\n")
    for name in ("requirements.lock", "requirements-dev.lock"):
        shutil.copy(checkout() / name, root)
        shutil.copy(checkout() / name, root / ".venv")
    # As on an ARM machine, so that the script leaves the kernel's settings alone.
    stand_ins = root / "stand-ins"
    stand_ins.mkdir()
    (stand_ins / "uname").write_text("#!/bin/sh\necho armv7l\n")
    (stand_ins / "uname").chmod(0o755)
    path = f"{stand_ins}:{os.environ['PATH']}"
    subprocess.run([root / "scripts" / "setup"], env={**os.environ, "PATH": path}, check=True)
    return root / ".venv" / "bin" / "inv"


@pytest.mark.parametrize("locale", ["C", "xx_XX.UTF-8", "C.UTF-8", "POSIX"])
def test_it_starts_with_any_locale(program: Path, locale: str) -> None:
    done = subprocess.run([program], env={"LC_ALL": locale}, cwd="/", capture_output=True)
    assert (done.stdout, done.stderr, done.returncode) == (b"started\n", b"", 0)
