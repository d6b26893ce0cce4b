"""The wishes of the profile docker-host, written for pyinfra: the peer of ``provision.py``.

What a careful operator would write by hand: packages, ids, daemon.json, drop-in, audit rules,
owners and modes, sshd, the daemon's state. It takes nothing back and proves nothing.
"""

import io
import json
import os

from pyinfra import host  # type: ignore[import-not-found]
from pyinfra.facts.files import File  # type: ignore[import-not-found]
from pyinfra.operations import apt, files, server, systemd  # type: ignore[import-not-found]

WANTED = json.loads(os.environ["BOOTWRIGHT_WISHES"])

apt.packages(name="packages", packages=WANTED["packages"], no_recommends=True)
server.user(name="the mapped user", user="dockremap", system=True, create_home=False)
for path in ("/etc/subuid", "/etc/subgid"):
    files.line(name=path, path=path, line="dockremap:165536:65536")
changed = [
    files.put(name=path, src=io.StringIO(text), dest=path, user="root", group="root", mode=mode)
    for path, (text, mode) in WANTED["files"].items()
]
for path, owner, mode in WANTED["modes"]:
    user, group = owner.split(":")
    if host.get_fact(File, path=path):
        files.file(name=f"mode of {path}", path=path, user=user, group=group, mode=mode)
for directive, value in WANTED["sshd"].items():
    files.line(
        name=f"sshd {directive}",
        path="/etc/ssh/sshd_config.d/10-bootwright.conf",
        line=rf"^{directive} .*",
        replace=f"{directive} {value}",
    )
server.hostname(name="host name", hostname=WANTED["hostname"])
systemd.service(name="docker", service="docker.service", running=True, enabled=True)
systemd.service(name="auditd", service="auditd.service", running=True, enabled=True)
if any(change.will_change for change in changed):
    systemd.service(
        name="restart docker", service="docker.service", restarted=True, daemon_reload=True
    )
    server.shell(name="load the audit rules", commands=["augenrules --load"])
