"""Names and paths on a board that more than one room relies on."""

VOLUME = "docker-data"


TRIES = 3
"""Passphrases that a boot takes before it gives up; crypttab(5), ``tries=``."""


MOUNT = f"/mnt/{VOLUME}"


BINDS = {
    "/var/lib/docker": ("docker.service", "docker.socket"),
    # Newer engines keep images in containerd's own store.
    "/var/lib/containerd": ("containerd.service",),
}
"""What is kept on the volume, and the units that may not start without it."""


UNITS = "/etc/systemd/system"


SSHD_DROP_IN = "/etc/ssh/sshd_config.d/10-bootwright.conf"


SSHD_INCLUDE = f"Include {SSHD_DROP_IN}\n"


STATE = "/var/lib/bootwright"
"""Where a board keeps what Bootwright has to remember about it."""
