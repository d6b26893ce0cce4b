"""Reading the facts about a root file system from its ext4 image, without mounting it."""

from pathlib import Path

from bootwright.core.errors import InputError
from bootwright.core.units import MIB, format_size
from bootwright.rootfs.facts import (
    RootfsFacts,
    common_modules,
    parse_modules,
)
from bootwright.rootfs.io.ext4_read import Ext4Reader
from bootwright.rootfs.io.read_login_facts import is_program, read_login_facts

TEXT_MAX = 4 * MIB
"""The most bytes of a text that is read; the largest usual one, modules.dep, is below 2 MiB."""

_REQUIRED = ("/etc/passwd", "/etc/shadow", "/etc/group")


def read_rootfs_facts(image: Path, timezone: str) -> RootfsFacts:
    """Return the facts about the root file system in the ext4 ``image``.

    Args:
        image: the ext4 image.
        timezone: the target's time zone, such as ``Europe/Zurich``.

    Raises:
        InputError: it is not a root file system, or one of its texts is far too long.
    """
    reader = Ext4Reader(image)
    for path in _REQUIRED:
        if not reader.exists(path):
            raise InputError(f"{image.name}: not a root file system: {path} is missing")

    def text(path: str) -> str:
        entry = reader.lookup(path)
        if entry is None or not entry.is_file:  # such as a masked unit: a link to /dev/null
            return ""
        if entry.size > TEXT_MAX:
            raise InputError(
                f"{image.name}: {path} has {format_size(entry.size)}, more than"
                f" {format_size(TEXT_MAX)}; such a root file system is not usable"
            )
        return reader.read_file(path).decode("utf-8", "replace")

    has_modules = reader.exists("/lib/modules")
    folders = [e.name for e in reader.list_dir("/lib/modules") if e.is_dir] if has_modules else []
    # What belongs to no kernel may lie beside: extra modules, or the rest of a removed one.
    kernels = [name for name in folders if reader.exists(f"/lib/modules/{name}/modules.builtin")]
    modules = common_modules(
        parse_modules(
            text(f"/lib/modules/{kernel}/modules.builtin"),
            text(f"/lib/modules/{kernel}/modules.dep"),
        )
        for kernel in kernels
    )
    systemd = "/usr/lib/systemd"
    if not reader.exists(f"{systemd}/systemd"):
        raise InputError(f"{image.name}: no systemd under {systemd}; a merged /usr is needed")
    ssh = reader.list_dir("/etc/ssh") if reader.exists("/etc/ssh") else ()
    shadow = reader.lookup("/etc/shadow")
    return RootfsFacts(
        kernels=tuple(kernels),
        modules=modules,
        has_systemd_cryptsetup=reader.exists(f"{systemd}/systemd-cryptsetup"),
        has_systemd_makefs=reader.exists(f"{systemd}/systemd-makefs"),
        has_sshd=is_program(reader, "/usr/sbin/sshd") or is_program(reader, "/usr/bin/sshd"),
        has_sudo=_is_setuid_root(reader, "/usr/bin/sudo"),
        has_networkd=reader.exists(f"{systemd}/systemd-networkd"),
        has_resolved=reader.exists(f"{systemd}/systemd-resolved"),
        has_timesyncd=reader.exists(f"{systemd}/systemd-timesyncd"),
        has_timezone=reader.exists(f"/usr/share/zoneinfo/{timezone}"),
        passwd=text("/etc/passwd"),
        shadow=text("/etc/shadow"),
        group=text("/etc/group"),
        shadow_gid=shadow.gid if shadow else 0,
        login=read_login_facts(reader, text, text("/etc/passwd")),
        boot_txt=text("/boot/boot.txt") or None,
        boot_ini=text("/boot/boot.ini") or None,
        host_keys=tuple(
            f"/etc/ssh/{entry.name}" for entry in ssh if entry.name.startswith("ssh_host_")
        ),
    )


def _is_setuid_root(reader: Ext4Reader, path: str) -> bool:
    entry = reader.lookup(path)
    return is_program(reader, path) and entry is not None and entry.uid == 0 and entry.is_setuid
