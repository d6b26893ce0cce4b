"""Audit rules are evaluated by what the kernel does with them.

The lines are from ``auditctl -l`` of audit 3.0.9 and 4.0.2, which print the same.
"""

import pytest

from bootwright.hosts.audit_rules import (
    WatchedPath,
    parse_audit_rules,
    recorded,
    resolved,
    rules_for,
)
from tests.support.host_facts import SAME_FOLDERS

ARM = "armv7l"

# What auditctl 4.0.2 makes of a rule with arch and perm, but without -S.
LIST_32 = (
    "-S open,creat,link,unlink,mknod,chmod,lchown,rename,mkdir,rmdir,acct,symlink,swapon,truncate,"
    "ftruncate,fchmod,fchown,quotactl,chown,setxattr,lsetxattr,fsetxattr,removexattr,lremovexattr,"
    "fremovexattr,openat,mkdirat,mknodat,fchownat,unlinkat,renameat,linkat,symlinkat,fchmodat,"
    "fallocate,renameat2,bind,openat2"
)
LIST_64 = (
    "-S open,bind,truncate,ftruncate,rename,mkdir,rmdir,creat,link,unlink,symlink,chmod,fchmod,"
    "chown,fchown,lchown,mknod,acct,swapon,quotactl,setxattr,lsetxattr,fsetxattr,removexattr,"
    "lremovexattr,fremovexattr,openat,mkdirat,mknodat,fchownat,unlinkat,renameat,linkat,symlinkat,"
    "fchmodat,fallocate,renameat2,openat2"
)
EXECUTION = "-S execve"


@pytest.mark.parametrize(
    ("line", "path", "permissions", "recursive"),
    [
        ("-w /etc/docker -p wa -k docker", "/etc/docker", "wa", False),
        ("-w /usr/bin/dockerd -p rwxa -k docker", "/usr/bin/dockerd", "rwxa", False),
        ("-w /srv/x/ -p wa", "/srv/x/", "wa", True),
        ("-a always,exit -F path=/run/x -F perm=war -F key=docker", "/run/x", "war", False),
        ("-a exit,always -F path=/run/x -F perm=war", "/run/x", "war", False),
        ("-a always,exit -S all -F dir=/srv -F perm=w", "/srv", "w", True),
        ("-a always,exit -S all -F path=/srv/e -F key=docker", "/srv/e", "rwxa", False),
        ("-a always,exit -F dir=/srv -F perm=w -F auid>=1000", None, "", False),
        ("-a always,exit -F path=/a -F path=/b -F perm=w", None, "", False),
        ("-a always,exit -F path!=/a -F perm=w", None, "", False),
        ("-a always,exit -F arch=mips -S all -F path=/a", None, "", False),
        ("-a always,task -F path=/a", None, "", False),
        ("-a never,exit -F path=/run/x -F perm=wa", None, "", False),
        ("No rules", None, "", False),
        ("enabled 1", None, "", False),
        ("-w 'unclosed", None, "", False),
    ],
)
def test_audit_rules(line: str, path: str | None, permissions: str, recursive: bool) -> None:
    expected = () if path is None else (WatchedPath(path, frozenset(permissions), recursive),)
    assert parse_audit_rules([line]) == expected


@pytest.mark.parametrize(
    ("lines", "machine", "permissions"),
    [
        (["-w /x -p x -k a", "-w /x -p rwa -k b"], ARM, "rwxa"),
        (["-a always,exit -F arch=b32 -S all -F path=/x -F perm=wa"], ARM, "wa"),
        (["-a always,exit -F arch=arm -S all -F path=/x -F perm=wa"], ARM, "wa"),
        (["-a always,exit -F arch=0x40000028 -S all -F dir=/x -F perm=wa"], ARM, "wa"),
        (["-a always,exit -F arch=b64 -S all -F path=/x -F perm=wa"], ARM, ""),
        # A kernel of 64 bits runs programs of 32 bits as well.
        (["-a always,exit -F arch=b64 -S all -F path=/x -F perm=wa"], "aarch64", ""),
        (["-a always,exit -F arch=b32 -S all -F path=/x -F perm=wa"], "", ""),
        (
            [
                "-a always,exit -F arch=b64 -S all -F path=/x -F perm=rwa",
                "-a always,exit -F arch=b32 -S all -F path=/x -F perm=wa",
            ],
            "x86_64",
            "wa",
        ),
        (
            ["-w /x -p w", "-a always,exit -F arch=b32 -S all -F path=/x -F perm=a"],
            ARM,
            "wa",
        ),
        ([f"-a always,exit -F arch=b32 {EXECUTION} -F path=/x -F perm=x"], ARM, "x"),
        (["-a always,exit -F arch=b32 -S open,openat -F path=/x -F perm=wa"], ARM, ""),
        # chown32 and truncate64, which programs on 32-bit ARM use, are not in the list.
        ([f"-a always,exit -F arch=b32 {LIST_32} -F path=/x -F perm=wa"], ARM, ""),
        (
            [
                f"-a always,exit -F arch=b64 {LIST_64} -F path=/x -F perm=wa",
                "-a always,exit -F arch=b32 -S all -F path=/x -F perm=wa",
            ],
            "aarch64",
            "wa",
        ),
        ([], ARM, ""),
    ],
)
def test_what_rules_record_together(lines: list[str], machine: str, permissions: str) -> None:
    rules = parse_audit_rules(lines)
    assert len(rules) == len(lines)
    assert recorded(rules_for(rules, "/x", {}), machine) == set(permissions)


@pytest.mark.parametrize(
    ("rule", "path", "same"),
    [
        ("/lib/systemd/system/docker.service", "/usr/lib/systemd/system/docker.service", True),
        ("/usr/lib/systemd/system/docker.service", "/lib/systemd/system/docker.service", True),
        ("/var/run/containerd/", "/run/containerd", True),
        ("/usr/bin/containerd-shim", "/usr/bin/containerd", False),
        # The rule is for the link itself.
        ("/lib", "/usr/lib", False),
        ("/library/x", "/usr/library/x", False),
    ],
)
def test_a_path_by_another_name_of_its_folder(rule: str, path: str, same: bool) -> None:
    found = rules_for(parse_audit_rules([f"-w {rule} -p wa"]), path, SAME_FOLDERS)
    assert bool(found) == same


def test_a_folder_that_leads_to_a_link() -> None:
    arch = {"/sbin": "/usr/sbin", "/usr/sbin": "/usr/bin"}
    assert resolved("/sbin/dockerd", arch) == "/usr/bin/dockerd"
