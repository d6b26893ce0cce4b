"""What a root file system holds, as far as making a card depends on it. Pure.

The parsers take the text of files; ``effects/rootfs_reader.py`` fetches them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class RootfsFacts:
    """The facts about a root file system that decisions need."""

    distribution: str
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
    sshd_config: str
    boot_txt: str | None = None
    boot_ini: str | None = None
    host_keys: tuple[str, ...] = ()

    def has_module(self, name: str) -> bool:
        """Tell whether every kernel has ``name`` as a module or built in."""
        return module_name(name) in self.modules


def module_name(text: str) -> str:
    """Return a module's name as the kernel knows it: no folder, no suffix, ``_`` for ``-``."""
    return text.rsplit("/", 1)[-1].split(".ko", 1)[0].replace("-", "_")


def parse_modules(*listings: str) -> frozenset[str]:
    """Return the modules of the texts of ``modules.builtin`` and ``modules.dep``.

    A line is ``kernel/drivers/block/virtio_blk.ko`` with, in modules.dep, a compression
    suffix and ``: dependencies``.
    """
    files = (line.partition(":")[0] for text in listings for line in text.splitlines())
    return frozenset(module_name(file) for file in files if ".ko" in file)


def common_modules(kernels: Iterable[frozenset[str]]) -> frozenset[str]:
    """Return the modules that every kernel has; none when there is no kernel."""
    sets = list(kernels)
    return frozenset.intersection(*sets) if sets else frozenset()


def parse_os_release(text: str) -> Mapping[str, str]:
    """Return the assignments of ``/etc/os-release``, unquoted."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}
