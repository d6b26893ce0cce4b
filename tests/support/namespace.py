"""Programs in namespaces of their own, with a test's folders in place of some of this machine's.

What they write to these folders stays with the test, and this machine stays as it is.
"""

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest


def need_namespaces(*tools: str) -> None:
    """Skip the test where no mount namespace can be made; fail if one of the tools is missing."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for a mount namespace")
    for tool in ("unshare", *tools):
        if shutil.which(tool) is None:
            pytest.fail(f"{tool} is not installed: run scripts/setup test")
    if subprocess.run(["unshare", "--mount", "--uts", "true"], check=False).returncode != 0:
        pytest.skip("this machine allows no mount namespace")


def namespaced(
    binds: Mapping[str, Path], *argv: str, prepare: str = "", processes: bool = False
) -> list[str]:
    """Return the command line that runs ``argv`` in namespaces for mounts and the host name.

    Args:
        binds: folders of the test by the paths at which ``argv`` sees them.
        argv: the program and its arguments.
        prepare: shell that is run before it, with bash, once the folders are in place.
        processes: it sees its own processes only, which all end with the command.
    """
    options = ["--pid", "--fork", "--kill-child", "--mount-proc"] if processes else []
    mounts = [
        f"mount --bind {shlex.quote(str(folder))} {shlex.quote(path)}"
        for path, folder in binds.items()
    ]
    script = "\n".join(["set -e", *mounts, prepare, 'exec "$@"'])
    return ["unshare", "--mount", "--uts", *options, "bash", "-c", script, "bash", *argv]
