"""Running the SSH client: what it makes of the options, and what passes through."""

import os
import subprocess
from pathlib import Path

import pytest

from bootwright.core.endpoints import Endpoint, SshEndpoint
from bootwright.core.errors import InputError
from bootwright.remote.io.openssh import ssh, write_known_hosts
from bootwright.remote.openssh_argv import ssh_argv

pytestmark = pytest.mark.integration

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGYXGt1ajHadN8XR8BaqrQlqiAEEqhnEOe1HiFPj+NZq"


def endpoint(*keys: str) -> Endpoint:
    return Endpoint("board", ssh=SshEndpoint("127.0.0.1", 5002, known_host_keys=keys))


def test_openssh_reads_the_options_as_meant(tmp_path: Path) -> None:
    directory = tmp_path / "a %h b"
    target = endpoint(KEY)
    assert target.ssh is not None
    known_hosts = write_known_hosts(target, directory)
    argv = ssh_argv(target.name, target.ssh, known_hosts)
    shown = subprocess.run([argv[0], "-G", *argv[1:]], capture_output=True, text=True, check=True)
    settings = dict(line.split(" ", 1) for line in shown.stdout.splitlines())
    assert settings["hostkeyalias"] == "board"
    assert settings["stricthostkeychecking"] == "true"
    assert settings["port"] == "5002"
    assert settings["globalknownhostsfile"] == "none"
    # OpenSSH finds the key in the file under the alias.
    found = subprocess.run(
        ["ssh-keygen", "-F", "board", "-f", known_hosts], capture_output=True, text=True
    )
    assert KEY.split()[1] in found.stdout


def test_known_keys_are_replaced_and_unknown_ones_are_kept(tmp_path: Path) -> None:
    write_known_hosts(endpoint("ssh-rsa OLD"), tmp_path)
    known = write_known_hosts(endpoint(KEY), tmp_path)
    assert known.read_text() == f"board {KEY}\n"
    unknown = write_known_hosts(endpoint(), tmp_path)
    assert unknown != known
    unknown.write_text("other key\n")
    assert write_known_hosts(endpoint(), tmp_path).read_text() == "other key\n"


def fake_ssh(directory: Path, script: str) -> None:
    program = directory / "ssh"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_streams_and_status_pass_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fake_ssh(tmp_path, 'for last; do :; done; echo "ran $last, TERM=$TERM"; echo oops >&2; exit 7')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("TERM", "vt100")
    assert ssh(endpoint(), "uname -a", tmp_path / "ssh-files") == 7
    assert capfd.readouterr() == ("ran uname -a, TERM=vt100\n", "oops\n")


def test_a_target_without_a_server(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no address: set host"):
        ssh(Endpoint("board"), None, tmp_path)
