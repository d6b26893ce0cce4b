"""Facts about the content of a root file system that making a card needs. Pure.

The parsers get the text of files; :mod:`bootwright.rootfs.io.read_facts` reads the files.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from bootwright.rootfs.login_facts import LoginFacts


@dataclass(frozen=True)
class RootfsFacts:
    """The facts about a root file system that decisions need.

    Attributes:
        kernels: the releases of the installed kernels.
        modules: drivers that every kernel has, as a module or built in.
        has_systemd_cryptsetup: and the other ``has_`` facts: whether that program is installed.
        has_timezone: whether the target's time zone is installed.
        passwd: text of ``/etc/passwd``.
        shadow: text of ``/etc/shadow``.
        group: text of ``/etc/group``.
        shadow_gid: group number of the file ``/etc/shadow``.
        login: what decides whether somebody can log in over SSH.
        boot_txt: text of ``/boot/boot.txt``; ``None`` if there is none.
        boot_ini: text of ``/boot/boot.ini``; ``None`` if there is none.
        host_keys: paths of the SSH host keys.
    """

    kernels: tuple[str, ...]
    modules: frozenset[str]
    has_systemd_cryptsetup: bool
    has_systemd_makefs: bool
    has_sshd: bool
    has_sudo: bool
    has_networkd: bool
    has_resolved: bool
    has_timesyncd: bool
    has_timezone: bool
    passwd: str
    shadow: str
    group: str
    shadow_gid: int
    login: LoginFacts
    boot_txt: str | None = None
    boot_ini: str | None = None
    host_keys: tuple[str, ...] = ()

    def has_module(self, name: str) -> bool:
        """Return whether every kernel has the driver ``name``, as a module or built in."""
        return module_name(name) in self.modules


def module_name(text: str) -> str:
    """Return a module's name as the kernel has it: no folder, no suffix, ``_`` instead of ``-``."""
    return text.rsplit("/", 1)[-1].split(".ko", 1)[0].replace("-", "_")


def parse_modules(*listings: str) -> frozenset[str]:
    """Return the modules listed in the texts of ``modules.builtin`` and ``modules.dep``.

    A line is ``kernel/drivers/block/virtio_blk.ko`` with, in modules.dep, a compression
    suffix and ``: dependencies``.
    """
    files = (line.partition(":")[0] for text in listings for line in text.splitlines())
    return frozenset(module_name(file) for file in files if ".ko" in file)


def common_modules(kernels: Iterable[frozenset[str]]) -> frozenset[str]:
    """Return the modules that every kernel has; none if there is no kernel."""
    sets = list(kernels)
    return frozenset.intersection(*sets) if sets else frozenset()
