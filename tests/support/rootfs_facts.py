"""A small, plausible root file system's facts for plans."""

from bootwright.rootfs.facts import RootfsFacts
from bootwright.rootfs.login_facts import (
    HOME_PARENTS,
    MOUNT_POINTS,
    SYSTEM_FOLDERS,
    Attributes,
    Home,
    LoginFacts,
)
from bootwright.rootfs.sshd_config import SSHD_CONFIG

_ROOTS = Attributes(0o755, 0, 0)

LOGIN = LoginFacts(
    folders=dict.fromkeys((*SYSTEM_FOLDERS, *MOUNT_POINTS, *HOME_PARENTS), _ROOTS),
    homes={
        "/root": Home("/root", (("/", _ROOTS),), Attributes(0o750, 0, 0)),
        "/home/alarm": Home(
            "/home/alarm", (("/", _ROOTS), ("/home", _ROOTS)), Attributes(0o700, 1000, 1000)
        ),
    },
    key_files=(),
    ssh_links=(),
    shells=frozenset({"/bin/bash", "/bin/sh"}),
    sshd_files={SSHD_CONFIG: "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n"},
    enabled_units=frozenset({"ssh.service"}),
    masked_units=frozenset(),
    unit_files={"ssh.service": "/usr/lib/systemd/system/ssh.service"},
    unit_texts={},
    sockets_follow_config=False,
    default_target=None,
    pam_modules=frozenset({"pam_unix.so", "pam_nologin.so"}),
    access_conf="",
    hosts_allow="",
    hosts_deny="",
    has_tcp_wrappers=True,
    blockers=(),
    identity_files=(),
    has_mkfs_ext4=True,
)
"""Nothing stands in the way of a login."""

FACTS = RootfsFacts(
    kernels=("6.1.0-50-armmp-lpae",),
    modules=frozenset({"dm_crypt", "adiantum", "chacha_generic", "nhpoly1305", "xts", "8021q"}),
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
    login=LOGIN,
    host_keys=("/etc/ssh/ssh_host_rsa_key", "/etc/ssh/ssh_host_rsa_key.pub"),
)
