"""What sshd makes of its configuration is what OpenSSH's own ``sshd -T`` shows."""

import subprocess
from pathlib import Path

import pytest

from bootwright.rootfs.sshd_config import (
    SSHD_CONFIG,
    include_patterns,
    listen_ports,
    pattern_matches,
    read_sshd_config,
)
from tests.support.sshserver import keygen

CONFIGS = [
    "Port 2222\nPort=2200\nAllowUsers a b\nAllowUsers root\n",
    "PubkeyAuthentication no\nPubkeyAuthentication yes\n",
    "Match User root\nPubkeyAuthentication no\nPubkeyAuthentication yes\n",
    "Match all\nMaxSessions 0\n",
    "Match User *,!root\nMaxSessions 0\nMatch Group nosuch\nMaxSessions 1\n",
    'AuthorizedKeysFile "/etc/ssh/my keys/%u" .ssh/authorized_keys # no more\nmaxsessions 3\n',
    "Include EXTRA\nMaxSessions 4\n",
    "Match User alarm\nInclude EXTRA\nMatch User root\nAllowUsers x\nForceCommand /bin/false\n",
    "Match User root\nInclude EXTRA\nPermitRootLogin no\n",
    "AllowUsers a\nMatch User=root\n  AllowUsers b\n  DenyGroups c\n",
    "Match LocalPort 22\nMaxSessions 5\n",
    "# a page \x0cMaxSessions 6\r\nMaxSessions = 7\r\n",
]
EXTRA = "MaxSessions 7\nMatch User root\nPermitRootLogin yes\nMatch all\nDenyUsers z\n"
SHOWN = (
    *("maxsessions", "permitrootlogin", "pubkeyauthentication", "forcecommand"),
    *("allowusers", "denyusers", "allowgroups", "denygroups", "authorizedkeysfile"),
)


@pytest.mark.parametrize("config", CONFIGS)
def test_the_settings_are_those_of_sshd(config: str, tmp_path: Path) -> None:
    extra, main, key = tmp_path / "extra.conf", tmp_path / "main", tmp_path / "key"
    text = config.replace("EXTRA", str(extra))
    extra.write_text(EXTRA)
    main.write_text(text)
    keygen(key)
    connection = "user=root,host=h,addr=192.0.2.1,laddr=192.0.2.2,lport=22"
    out = subprocess.run(
        ["/usr/sbin/sshd", "-T", "-f", main, "-h", key, "-C", connection],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    theirs: dict[str, list[str]] = {}
    for line in out.splitlines():
        keyword, _, rest = line.partition(" ")
        theirs.setdefault(keyword, []).append(rest)
    settings = read_sshd_config(
        {SSHD_CONFIG: text, str(extra): EXTRA}, "root", frozenset({"root"}), 22
    )
    assert list(listen_ports(settings)) == [int(port) for port in theirs["port"]]
    for keyword in SHOWN:
        if keyword.startswith(("allow", "deny")):
            ours = [v for setting in settings.collected(keyword) for v in setting.values]
            assert ours == theirs.get(keyword, []), keyword
        elif (setting := settings.first(keyword)) is not None:
            assert theirs[keyword] == [" ".join(setting.values)], keyword
        else:
            default = {"maxsessions": "10", "forcecommand": "none", "pubkeyauthentication": "yes"}
            default |= {"permitrootlogin": "without-password"}
            default |= {"authorizedkeysfile": ".ssh/authorized_keys .ssh/authorized_keys2"}
            assert theirs[keyword] == [default[keyword]], keyword


def test_included_files_are_named_from_etc_ssh() -> None:
    text = "include sshd_config.d/*.conf /etc/x\nMatch User a\n Include=b # c\n"
    assert include_patterns(text) == ["/etc/ssh/sshd_config.d/*.conf", "/etc/x", "/etc/ssh/b"]


def test_patterns_have_no_brackets() -> None:
    assert pattern_matches("root", "r?o*")
    assert not pattern_matches("root", "[r]oot")
