"""Who uses a file or a device now, as far as this user may see it; nothing here writes.

A *node* is as in :class:`bootwright.card.block_device.DeviceIdentity`: by it, a file or device is
recognised under each of its names, such as a hard link, a bind mount or a second device node.
"""

import errno
import fcntl
import os
import signal
import stat
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from bootwright.card.block_device import parse_exclusive_flocks, parse_mountinfo, unescape

_Use = TypeVar("_Use")

_LOOP_GET_STATUS64 = 0x4C05
_LOOP_INFO64_BYTES = 232
"""Size of ``struct loop_info64`` (linux/loop.h), which starts with three numbers of 64 bits."""

_FLOCK = "hhqqi4x"
"""``struct flock`` (fcntl.h): type, origin, start and length of a lock, and its process."""

WHOLE_FILE = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
"""``struct flock`` for an exclusive lock on a whole file."""

HELD_WAIT_S = 1.0
"""Seconds after which a disk that is held, or a file that is open, counts as in use: udev and
programs that index files have it open for moments."""

OPEN_ELSEWHERE = "open in another process"

_NO_FILES = ("pipe:[", "socket:[", "anon_inode:")
"""How /proc shows descriptors that are neither files nor devices; most are of these kinds."""

_LEASES_ON_SERVER = ("cifs", "nfs4", "smb3")
"""Network file systems that ask the server for a lease. It may refuse for reasons of its own, with
the same error number as for a file that is open elsewhere."""

_WITH_SERVER = ("9p", "afs", "ceph", "cifs", "nfs", "nfs4", "smb3", "virtiofs")
"""File systems that ask a server or another machine, beside FUSE."""


def node_of_status(status: os.stat_result) -> str:
    """Return the node of a file or device."""
    if stat.S_ISBLK(status.st_mode):
        return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    return f"{_number(status.st_dev)}/{status.st_ino}"


def node_of(path: str) -> str:
    """Return the node of the file or device ``path``; empty if it does not exist."""
    status = status_of(path)
    return node_of_status(status) if status else ""


def status_of(path: str) -> os.stat_result | None:
    """Return the status of the file or device ``path``; ``None`` if it does not exist (now)."""
    try:
        return Path(path).stat()
    except OSError:
        return None


def device_path(number: int | str) -> str:
    """Return the usual path of a block device, such as ``/dev/sdb``.

    Args:
        number: as in ``st_rdev``, or ``major:minor``.
    """
    name = number if isinstance(number, str) else _number(number)
    events = read_text(f"/sys/dev/block/{name}/uevent").splitlines()
    found = [line.removeprefix("DEVNAME=") for line in events if line.startswith("DEVNAME=")]
    return f"/dev/{found[0]}" if found else ""


def read_text(path: str) -> str:
    """Return the text of a file in /proc or /sys; empty if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def hidden_uses() -> dict[str, list[str]]:
    """Return uses that lsblk does not show, by node: swap, loop devices, mounted image files.

    A file is mounted without a loop device by FUSE programs, and by the kernel for erofs.
    """
    found: dict[str, list[str]] = {}
    for line in read_text("/proc/swaps").splitlines()[1:]:
        found.setdefault(node_of(unescape(line.split()[0])), []).append("in use as swap")
    for file in sorted(Path("/sys/block").glob("loop*/loop/backing_file")):
        loop = f"/dev/{file.parent.parent.name}"
        found.setdefault(loop_backing(loop)[0], []).append(f"attached as {loop}")
    for mount in parse_mountinfo(read_text("/proc/self/mountinfo")):
        # A device that is named as usual is compared elsewhere; other sources are no paths.
        if mount.source.startswith("/") and not _is_usual_path(mount.source):
            use = f"mounted at {mount.point} ({mount.fstype})"
            found.setdefault(node_of(mount.source), []).append(use)
    found.pop("", None)
    return found


def loop_backing(loop: str) -> tuple[str, str]:
    """Return the node and the path of the file or device that a loop device is attached to.

    The loop device itself reports the node exactly, but only root may open it. For other users
    the path in sysfs is used, which is wrong if it belongs to another mount namespace. The path
    is empty if it does not name that node here.
    """
    path = read_text(f"/sys/block/{Path(loop).name}/loop/backing_file")
    named = node_of(path)
    try:
        with open_read_only(loop) as fd:
            answer = fcntl.ioctl(fd, _LOOP_GET_STATUS64, bytes(_LOOP_INFO64_BYTES))
    except OSError:
        return named, path if named else ""
    device, inode, special = struct.unpack_from("QQQ", answer)
    node = f"{_number(device)}/{inode}" if special in (0, device) else _number(special)
    return node, path if named == node else ""


def lock_uses(path: str) -> list[str]:
    """Return how other processes have locked a file or a device node; empty if they have not.

    Emulators take record locks (of bytes); programs that keep udev and others from a disk take an
    exclusive BSD lock (flock) on it, as systemd's "Locking Block Device Access" asks.
    """
    try:
        with open_read_only(path) as fd:
            status = os.fstat(fd)
            answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, WHOLE_FILE)
    except OSError:  # not readable, or no locks on this file system: opening it reports that
        return []
    kind, _, _, _, process = struct.unpack(_FLOCK, answer)
    if kind != fcntl.F_UNLCK:
        # The number is -1 for the kind of lock that belongs to an open file, as QEMU's does.
        name = f"process {process}" if process > 0 else "another process"
        hint = "" if stat.S_ISBLK(status.st_mode) else " (an emulator? inv emulate --stop)"
        return [f"in use by {name}{hint}"]
    inode = f"{_number(status.st_dev)}/{status.st_ino}"
    holder = parse_exclusive_flocks(read_text("/proc/locks")).get(inode)
    return [] if holder is None else [f"locked by process {holder} (flock)"]


def openers(paths: Mapping[str, str], writers_only: bool) -> dict[str, list[str]]:
    """Return which other processes have files or devices open, by node.

    An ordinary user sees only own processes. Before Linux 5.14 files are not found, devices are.

    Args:
        paths: the path of each node.
        writers_only: leave out who only reads.
    """
    inodes = {str(status.st_ino) for path in paths.values() if (status := status_of(path))}
    own = _own_process()
    found: dict[str, list[str]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == own:
            continue
        mounts: dict[str, str] = {}
        for descriptor in _list_folder(process / "fd"):
            link = f"{process}/fd/{descriptor}"
            shown = _link_text(link)
            if shown.startswith(_NO_FILES):
                continue
            info = dict(
                line.split(":", 1)
                for line in read_text(f"{process}/fdinfo/{descriptor}").splitlines()
                if ":" in line
            )
            reads = int(info.get("flags", "0"), 8) & os.O_ACCMODE == os.O_RDONLY
            if info.get("ino", "").strip() not in inodes:
                # It can still be another node of a device. Files of network file systems are left
                # out without asking for their status: one that does not answer would make that
                # wait for ever.
                mounts = mounts or _mount_types(process)
                if not _is_local(mounts.get(info.get("mnt_id", "").strip(), "")):
                    continue
            node = node_of(link)
            if node in paths and not (reads and writers_only):
                name = read_text(f"{process}/comm")
                found.setdefault(node, []).append(f"open in process {process.name} ({name})")
    return {node: list(dict.fromkeys(uses)) for node, uses in found.items()}


def is_held(device: str) -> bool:
    """Return whether something holds a disk or its partitions exclusively.

    The kernel knows this also of mounts in other namespaces, and of ZFS, bcache or the journal of
    a file system on another disk. Always ``False`` for a user who may not read the disk. Who holds
    it for less than :data:`HELD_WAIT_S`, as this function does itself, does not count.
    """

    def held() -> bool:
        try:
            os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
        except OSError as error:
            return error.errno == errno.EBUSY
        return False

    return lasting(held)


def lasting(find: Callable[[], _Use]) -> _Use:
    """Return what ``find`` returns, when it is nothing or after :data:`HELD_WAIT_S`.

    Until then ``find`` is called again and again, so that a use of moments does not count.
    """
    deadline = time.monotonic() + HELD_WAIT_S
    while (found := find()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def is_open_elsewhere(fd: int) -> bool:
    """Return whether a file is open a second time, in this process, another one or the kernel.

    It asks for a write lease, which the kernel gives only to the one who has the file open, and
    returns it at once. ``False`` where there are no leases, or where their refusal does not show
    that the file is open: FUSE, NFS, SMB, another user's file.
    """
    if _file_system(os.fstat(fd).st_dev) in _LEASES_ON_SERVER:
        return False
    try:
        # Whoever opens it meanwhile causes this signal, which is ignored, instead of SIGIO.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _file_system(device: int) -> str:
    """Return the type of the file system with this number, such as ``ext4``; empty if unknown."""
    mounts = parse_mountinfo(read_text("/proc/self/mountinfo"))
    return next((each.fstype for each in mounts if each.number == _number(device)), "")


@contextmanager
def open_read_only(path: str) -> Iterator[int]:
    """Open a file or device; the value is its descriptor."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _own_process() -> str:
    """Return the name of this process in /proc, which may show the numbers of another PID namespace
    than the one that ``os.getpid`` counts in.
    """
    return _link_text("/proc/self")


def _list_folder(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - only the names
    except OSError:  # another user's process, or one that has ended
        return []


def _link_text(link: str) -> str:
    """Return the text of a link in /proc; empty if it cannot be read."""
    try:
        return os.readlink(link)  # noqa: PTH115 - the text, not a path
    except OSError:  # another user's process, or one that has ended
        return ""


def _mount_types(process: Path) -> dict[str, str]:
    """Return the types of the file systems that a process sees, by the number of the mount."""
    text = read_text(f"{process}/mountinfo")
    return {mount.id: mount.fstype for mount in parse_mountinfo(text)}


def _is_local(fstype: str) -> bool:
    """Return whether a file system answers without a server; ``False`` for an unknown one."""
    return bool(fstype) and fstype not in _WITH_SERVER and not fstype.startswith("fuse")


def _is_usual_path(source: str) -> bool:
    """Return whether the source of a mount is the usual path of a device, not a link to one."""
    if not source.startswith("/dev/"):
        return False
    status = status_of(source)
    return status is None or device_path(status.st_rdev) == source


def _number(device: int) -> str:
    return f"{os.major(device)}:{os.minor(device)}"
