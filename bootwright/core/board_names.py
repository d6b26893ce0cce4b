"""Names and paths on a board that more than one room relies on."""

VOLUME = "docker-data"
"""The name of the encrypted volume in crypttab and below ``/dev/mapper``."""


TRIES = 3
"""How many passphrases may be tried in one boot; crypttab(5), ``tries=``."""


MOUNT = f"/mnt/{VOLUME}"
"""Where the volume is mounted."""


BINDS = {
    "/var/lib/docker": ("docker.service", "docker.socket"),
    # Newer engines keep images in containerd's own store.
    "/var/lib/containerd": ("containerd.service",),
}
"""Folders that are bind mounts from the volume, with the units that must not start without it."""


UNITS = "/etc/systemd/system"
"""The folder for units that are not from a package."""


SSHD_DROP_IN = "/etc/ssh/sshd_config.d/10-bootwright.conf"


SSHD_INCLUDE = f"Include {SSHD_DROP_IN}\n"


STATE = "/var/lib/bootwright"
"""The folder on a board for files of Bootwright's own."""
