"""Collects facts about this machine: tools, versions, Python, binfmt_misc, free disk space."""

import grp
import os
import platform
import pwd
import shutil
import sys
from pathlib import Path

from bootwright.core.doctor_report import DiskSpace, FoundTool, Machine, OperatorFacts
from bootwright.core.io.process import environment, run
from bootwright.core.io.tool_list import listed_tools
from bootwright.core.paths import home
from bootwright.core.tools import Binfmt, Family, Tool, parse_binfmt, parse_version

_BINFMT = Path("/proc/sys/fs/binfmt_misc/qemu-arm")
_VERSION_TIMEOUT_S = 20.0


def collect_machine(cache_dir: Path, build_dir: Path) -> Machine:
    """Return the facts about this machine.

    Args:
        cache_dir: the folder for downloads; it need not exist.
        build_dir: the folder for images; it need not exist.

    Raises:
        InputError: the operator's home directory is not known.
    """
    return Machine(
        tools=tuple(find_tool(tool) for tool in listed_tools()),
        python=sys.version_info[:3],
        architecture=platform.machine(),
        binfmt=_binfmt(),
        disks=(_disk("cache", cache_dir), _disk("build", build_dir)),
        family=_family(),
        operator=_operator(),
    )


def find_tool(tool: Tool) -> FoundTool:
    """Return the path of ``tool``, and its version if the tool can print it."""
    if tool.is_file:
        return FoundTool(tool, tool.command if Path(tool.command).exists() else None)
    path = shutil.which(tool.command, path=environment()["PATH"])
    if path is None or not tool.version:
        return FoundTool(tool, path)
    printed = run([path, *tool.version], check=False, timeout=_VERSION_TIMEOUT_S)
    # Some tools print it on standard error.
    text = printed.text + printed.stderr.decode("utf-8", "replace")
    return FoundTool(tool, path, parse_version(text))


def _binfmt() -> Binfmt | None:
    try:
        return parse_binfmt(_BINFMT.read_text(encoding="utf-8"))
    except OSError:
        return None


def _disk(name: str, path: Path) -> DiskSpace:
    existing = next(one for one in (path, *path.parents) if one.exists())
    return DiskSpace(name, str(path), shutil.disk_usage(existing).free)


def _operator() -> OperatorFacts:
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        # A user without an entry in /etc/passwd, as containers have it.
        name = str(os.geteuid())
    groups = {group.gr_name: group for group in grp.getgrall()}
    # Debian has both groups, and its serial ports belong to dialout.
    serial = groups.get("dialout") or groups.get("uucp")
    active = {os.getegid(), *os.getgroups()}
    return OperatorFacts(
        name=name,
        root=os.geteuid() == 0,
        keys=tuple(path.name for path in sorted((home() / ".ssh").glob("id_*.pub"))),
        serial_group=serial.gr_name if serial else None,
        in_group=serial is not None and serial.gr_gid in active,
        joined=serial is not None and name in serial.gr_mem,
    )


def _family() -> Family | None:
    if shutil.which("apt-get"):
        return "debian"
    return "arch" if shutil.which("pacman") else None
