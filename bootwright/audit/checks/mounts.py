"""The board's files that are mounted in a container: checks 5.6, 5.20 and 5.32."""

import posixpath
from collections.abc import Callable

from bootwright.audit.checks.settings import configured
from bootwright.audit.facts import AuditFacts
from bootwright.audit.inspected import Container
from bootwright.audit.model import Evaluation, Subject

SENSITIVE = ("/boot", "/dev", "/etc", "/lib", "/proc", "/sys", "/usr", "/")
"""The folders of check 5.6; ``/`` is last because it contains the others."""

_LINKS = {
    "/var/run": "/run",
    "/bin": "/usr/bin",
    "/sbin": "/usr/sbin",
    "/lib32": "/usr/lib32",
    "/lib64": "/usr/lib64",
}
"""Symbolic links in current distributions: other paths of the same files."""

_SOCKETS = ("/run/docker.sock", "/run/containerd/containerd.sock")

_SOCKET_NAMES = ("docker.sock", "containerd.sock")


def board_path(source: str) -> str:
    """Return a mount's source as a normalised path; empty if it is not a path of the board."""
    if not source.startswith("/"):
        return ""
    # normpath() would keep two slashes at the beginning.
    path = posixpath.normpath("/" + source.lstrip("/"))
    for link, folder in _LINKS.items():
        if within(path, link):
            return folder + path.removeprefix(link)
    return path


def within(path: str, folder: str) -> bool:
    """Return whether ``path`` is ``folder`` or is inside it; both are normalised."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def sensitive_mounts(_: Subject, container: Container) -> Evaluation:
    """Evaluate 5.6: no sensitive folder of the board is mounted writable, nor a part of one.

    Mounting it read-only is enough, with three exceptions: ``/`` contains every secret of the
    board; ``/proc`` has links to it (``/proc/1/root``); below ``/sys``, other mounts such as
    cgroups stay writable with a kernel before 5.12 or an engine before 25.0.
    """
    bad, readable = [], []
    for mount in container.mounts:
        path = board_path(mount.source)
        # Every path is inside /, so / counts only if it is the source itself.
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
    """Evaluate 5.20: mounts made in the container do not appear on the board."""
    shared = [
        f"{mount.destination or mount.source} is {mount.propagation}"
        for mount in container.mounts
        if mount.propagation in ("shared", "rshared")
    ]
    if shared:
        return Evaluation("warn", "; ".join(shared))
    return Evaluation("pass", "no mount is shared")


def engine_sockets(facts: AuditFacts) -> Callable[[Subject, Container], Evaluation]:
    """Return the evaluator of 5.32: no socket of the engine or of containerd is mounted.

    A mounted folder that contains such a socket counts too. Requests can be sent also to a socket
    that is mounted read-only.
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
            # Under another name, such a socket cannot be distinguished from a harmless one.
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
