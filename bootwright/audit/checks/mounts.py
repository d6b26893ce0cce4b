"""What a container sees of the board's files: checks 5.6, 5.20 and 5.32."""

import posixpath
from collections.abc import Callable

from bootwright.audit.checks.settings import configured
from bootwright.audit.facts import AuditFacts
from bootwright.audit.inspected import Container
from bootwright.audit.model import Evaluation, Subject

SENSITIVE = ("/boot", "/dev", "/etc", "/lib", "/proc", "/sys", "/usr", "/")
"""The benchmark's folders, check 5.6; the root comes last as it holds the others."""

_LINKS = {
    "/var/run": "/run",
    "/bin": "/usr/bin",
    "/sbin": "/usr/sbin",
    "/lib32": "/usr/lib32",
    "/lib64": "/usr/lib64",
}
"""Links of today's distributions, through which the same files have another path."""

_SOCKETS = ("/run/docker.sock", "/run/containerd/containerd.sock")

_SOCKET_NAMES = ("docker.sock", "containerd.sock")


def board_path(source: str) -> str:
    """Return a mount's source without detours; empty if it is no path of the board."""
    if not source.startswith("/"):
        return ""
    # Two slashes at the beginning would stay two.
    path = posixpath.normpath("/" + source.lstrip("/"))
    for link, folder in _LINKS.items():
        if within(path, link):
            return folder + path.removeprefix(link)
    return path


def within(path: str, folder: str) -> bool:
    """Tell whether a path is a folder or lies in it; both are without detours."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def sensitive_mounts(_: Subject, container: Container) -> Evaluation:
    """Evaluate 5.6: what is writable of the benchmark's folders, or anything in them.

    Read-only is enough but for the root, which holds every secret of the board, for /proc,
    through whose links (``/proc/1/root``) the same can be reached, and for /sys: a kernel before
    5.12 or an engine before 25.0 leaves what is mounted below it, as cgroups are, writable.
    """
    bad, readable = [], []
    for mount in container.mounts:
        path = board_path(mount.source)
        # All paths lie in the root: it counts only as itself.
        folder = next((one for one in SENSITIVE[:-1] if within(path, one)), path)
        if folder not in SENSITIVE:
            continue
        if mount.writable:
            bad.append(f"{path} is writable")
        elif folder in ("/", "/proc", "/sys"):
            bad.append(f"{path} is readable")
        else:
            readable.append(path)
    if bad:
        return Evaluation("warn", "; ".join(bad))
    return Evaluation("pass", f"read-only: {', '.join(readable)}" if readable else "none mounted")


def shared_mounts(_: Subject, container: Container) -> Evaluation:
    """Evaluate 5.20: mounts that the container makes would appear on the board."""
    shared = [
        f"{mount.destination or mount.source} is {mount.propagation}"
        for mount in container.mounts
        if mount.propagation in ("shared", "rshared")
    ]
    if shared:
        return Evaluation("warn", "; ".join(shared))
    return Evaluation("pass", "no mount is shared")


def engine_sockets(facts: AuditFacts) -> Callable[[Subject, Container], Evaluation]:
    """Return what evaluates 5.32: a socket of the engine or of containerd, or a folder with one.

    A read-only mount of a socket takes requests as any other.
    """
    sockets = _known_sockets(facts)

    def evaluate_one(_: Subject, container: Container) -> Evaluation:
        for mount in container.mounts:
            path = board_path(mount.source)
            held = [socket for socket in sockets if path and within(socket, path)]
            if posixpath.basename(path) in _SOCKET_NAMES or path in held:
                return Evaluation("warn", f"{mount.source} is mounted at {mount.destination}")
            if held:
                return Evaluation("warn", f"{mount.source} is mounted, which holds {held[0]}")
            # Another name for the same socket cannot be told from a socket that is safe.
            if posixpath.basename(mount.destination) in _SOCKET_NAMES:
                return Evaluation("warn", f"{mount.source} is mounted as {mount.destination}")
        return Evaluation("pass", "no socket of the engine")

    return evaluate_one


def _known_sockets(facts: AuditFacts) -> tuple[str, ...]:
    hosts = configured(facts, "hosts").value
    own = [
        board_path(host.removeprefix("unix://"))
        for host in (hosts if isinstance(hosts, list) else ())
        if isinstance(host, str) and host.startswith("unix:///")
    ]
    if facts.engine_owner:
        own.append(f"/run/user/{facts.engine_owner}/docker.sock")
    return (*_SOCKETS, *own)
