"""A small, plausible root file system's facts for plans."""

from bootwright.rootfs.facts import RootfsFacts

FACTS = RootfsFacts(
    kernels=("6.1.0-50-armmp-lpae",),
    modules=frozenset({"dm_crypt", "adiantum", "chacha_generic", "nhpoly1305", "xts"}),
    has_systemd_cryptsetup=True,
    has_systemd_makefs=True,
    has_sshd=True,
    has_sudo=True,
    has_networkd=True,
    has_resolved=True,
    has_timesyncd=True,
    has_timezone=True,
    passwd="root:x:0:0:root:/root:/bin/bash\nalarm:x:1000:1000::/home/alarm:/bin/bash\n",
    shadow="root:$y$root:1::::::\nalarm:$y$alarm:1::::::\n",
    group="root:x:0:\nalarm:x:1000:\n",
    shadow_gid=42,
    sshd_config="Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n",
    host_keys=("/etc/ssh/ssh_host_rsa_key", "/etc/ssh/ssh_host_rsa_key.pub"),
)
