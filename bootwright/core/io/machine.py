"""What this machine has: tools and their versions, Python, binfmt_misc, free space."""

import os
import platform
import shutil
import sys
from pathlib import Path

from bootwright.core.doctor_report import DiskSpace, FoundTool, Machine
from bootwright.core.io.process import environment, run
from bootwright.core.io.tool_list import listed_tools
from bootwright.core.tools import Binfmt, Family, Tool, parse_binfmt, parse_version

_BINFMT = Path("/proc/sys/fs/binfmt_misc/qemu-arm")
_VERSION_TIMEOUT_S = 20.0


def look_around(cache_dir: Path, build_dir: Path) -> Machine:
    """Return what this machine has.

    Args:
        cache_dir: where downloads go; it need not exist.
        build_dir: where images go; it need not exist.
    """
    return Machine(
        tools=tuple(find(tool) for tool in listed_tools()),
        python=sys.version_info[:3],
        architecture=platform.machine(),
        binfmt=_binfmt(),
        places=(_place("cache", cache_dir), _place("build", build_dir)),
        family=_family(),
        root=os.geteuid() == 0,
    )


def find(tool: Tool) -> FoundTool:
    """Return where ``tool`` is, and its version when it can say that."""
    if tool.is_file:
        return FoundTool(tool, tool.command if Path(tool.command).exists() else None)
    path = shutil.which(tool.command, path=environment()["PATH"])
    if path is None or not tool.version:
        return FoundTool(tool, path)
    said = run([path, *tool.version], check=False, timeout=_VERSION_TIMEOUT_S)
    # Some print it to standard error.
    text = said.text + said.stderr.decode("utf-8", "replace")
    return FoundTool(tool, path, parse_version(text))


def _binfmt() -> Binfmt | None:
    try:
        return parse_binfmt(_BINFMT.read_text(encoding="utf-8"))
    except OSError:
        return None


def _place(name: str, path: Path) -> DiskSpace:
    existing = next(one for one in (path, *path.parents) if one.exists())
    return DiskSpace(name, str(path), shutil.disk_usage(existing).free)


def _family() -> Family | None:
    if shutil.which("apt-get"):
        return "debian"
    return "arch" if shutil.which("pacman") else None
