"""The profile docker-host written for pyinfra, to compare it in ``provision.py``.

A careful operator would write it like this: packages, ids, daemon.json, drop-in, audit rules,
owners and modes, sshd, the daemon's state. It undoes nothing after a failure and checks nothing.
"""

import io
import json
import os

from pyinfra import host  # type: ignore[import-not-found]
from pyinfra.facts.files import File  # type: ignore[import-not-found]
from pyinfra.operations import apt, files, server, systemd  # type: ignore[import-not-found]

DESIRED = json.loads(os.environ["BOOTWRIGHT_WISHES"])

apt.packages(name="packages", packages=DESIRED["packages"], no_recommends=True)
server.user(name="the mapped user", user="dockremap", system=True, create_home=False)
for path in ("/etc/subuid", "/etc/subgid"):
    files.line(name=path, path=path, line="dockremap:165536:65536")
changed = [
    files.put(name=path, src=io.StringIO(text), dest=path, user="root", group="root", mode=mode)
    for path, (text, mode) in DESIRED["files"].items()
]
for path, owner, mode in DESIRED["modes"]:
    user, group = owner.split(":")
    if host.get_fact(File, path=path):
        files.file(name=f"mode of {path}", path=path, user=user, group=group, mode=mode)
for directive, value in DESIRED["sshd"].items():
    files.line(
        name=f"sshd {directive}",
        path="/etc/ssh/sshd_config.d/10-bootwright.conf",
        line=rf"^{directive} .*",
        replace=f"{directive} {value}",
    )
server.hostname(name="host name", hostname=DESIRED["hostname"])
systemd.service(name="docker", service="docker.service", running=True, enabled=True)
systemd.service(name="auditd", service="auditd.service", running=True, enabled=True)
if any(change.will_change for change in changed):
    systemd.service(
        name="restart docker", service="docker.service", restarted=True, daemon_reload=True
    )
    server.shell(name="load the audit rules", commands=["augenrules --load"])
