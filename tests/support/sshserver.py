"""A real `sshd` on 127.0.0.1 that stands for a board, with its own accounts and files.

It runs in a mount namespace of its own, where `/etc` is a copy: accounts, crypttab and the
`sudo` that its sessions see are the test's, and this machine's stay as they are.
"""

import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Self

import pytest

from bootwright.core.endpoints import Endpoint, SshEndpoint
from bootwright.remote.io.wait import wait_for_ssh
from tests.support.namespace import namespaced, need_namespaces

USER = "operator"

PASSWORD = ' it\'s "$HOME" `id` \\n %s \\ é '
"""The password of :data:`USER`, which sudo alone asks for: what a shell could stumble over."""

_HASH = (
    "$6$bootwright$4zksOfS7Rej9t6.4gVy0XF5VMhzJG9OZWqtJiQ0dN1MfQE"
    "AgNUDzuuzfOA43ttc3YQ7EDEnd4c3jM9UXWuoBT."
)
"""What ``openssl passwd -6 -salt bootwright -stdin`` makes of it."""


class SshServer:
    """A board's SSH server; ``root`` and :data:`USER` may log in by :attr:`identity`."""

    def __init__(
        self,
        folder: Path,
        kinds: tuple[str, ...] = ("ed25519",),
        *,
        own_run: bool = False,
        settings: str = "",
    ) -> None:
        """``own_run``: ``/run`` is the folder :attr:`run`, too; ``settings``: of sshd_config."""
        self._settings = settings
        self.folder = folder
        self.etc = folder / "etc"
        # What the sessions read is in /etc, since pytest's folders are root's alone.
        self.tools = self.etc / "tools"
        self.run = folder / "run" if own_run else None
        self.identity = folder / "id"
        self.log = folder / "sshd.log"
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(exist_ok=True)
        keygen(self.identity)
        self.host_keys = {kind: keygen(folder / f"host_{kind}", kind) for kind in kinds}
        self._make_etc()

    def _make_etc(self) -> None:
        # Every file that a login needs is in there, and the sockets of others are not.
        subprocess.run(["cp", "-a", "/etc", self.etc], check=True, stderr=subprocess.DEVNULL)
        accounts = (f"{USER}:x:54321:54321::/:/bin/sh", "sshd:x:54322:65534::/:/bin/false")
        old = (self.etc / "passwd").read_text().splitlines()
        kept = [line for line in old if line.split(":")[0] not in (USER, "sshd")]
        (self.etc / "passwd").write_text("\n".join([*kept, *accounts, ""]))
        (self.etc / "shadow").write_text(f"root:*:1::::::\n{USER}:{_HASH}:1::::::\n")
        (self.etc / "nologin").unlink(missing_ok=True)
        self.tools.mkdir()
        shutil.copy(f"{self.identity}.pub", self.etc / "keys")
        self.crypttab("")
        self.sudoers("")

    def crypttab(self, text: str) -> None:
        """Write the board's crypttab."""
        (self.etc / "crypttab").write_text(text)

    def sudoers(self, rules: str) -> None:
        """Write who may use sudo, by sudoers(5)."""
        path = self.etc / "sudoers"
        # A terminal of its own for what sudo runs: Debian's default, and sudo's own by now.
        path.write_text(f"Defaults use_pty\nroot ALL=(ALL:ALL) ALL\n{rules}\n")
        path.chmod(0o440)

    def tool(self, name: str, script: str) -> None:
        """Put a program before all others in the sessions' PATH."""
        path = self.tools / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def start(self) -> Self:
        config = self.folder / "sshd_config"
        keys = "".join(f"HostKey {self.folder}/host_{kind}\n" for kind in self.host_keys)
        config.write_text(
            f"{self._settings}\n{keys}Port {self.port}\nListenAddress 127.0.0.1\n"
            f"UsePAM no\nStrictModes no\n"
            f"AuthorizedKeysFile /etc/keys\nPasswordAuthentication no\n"
            f"PermitRootLogin prohibit-password\nPidFile none\nUseDNS no\n"
            f"SetEnv PATH=/etc/tools:/usr/sbin:/usr/bin:/sbin:/bin\n"
        )
        folders = {"/etc": self.etc}
        if self.run is not None:
            self.run.mkdir(exist_ok=True)
            folders["/run"] = self.run
        # What sudo remembers of its users is the test's, too.
        prepare = (
            "mkdir -p /run/sshd\nfor kept in /run/sudo /var/lib/sudo; do\n"
            'if [ -d "$kept" ]; then mount -t tmpfs -o mode=711 sudo "$kept"; fi; done'
        )
        server = ("/usr/sbin/sshd", "-D", "-e", "-f", str(config))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                namespaced(folders, *server, prepare=prepare), stdin=subprocess.DEVNULL, stderr=log
            )
        wait_for_ssh(SshEndpoint("127.0.0.1", self.port), 20)
        return self

    @property
    def pid(self) -> int:
        """The process of the server that listens."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def endpoint(
        self, user: str = "root", known: bool = True, identity: Path | None = None
    ) -> Endpoint:
        """Return how the board is reached; ``known``: its host keys are known from flashing."""
        keys = tuple(self.host_keys.values()) if known else ()
        ssh = SshEndpoint("127.0.0.1", self.port, user, identity or self.identity, keys)
        return Endpoint("board", ssh=ssh, unlock="ssh")


def need_sshd() -> None:
    """Skip the test where no server can be run."""
    need_namespaces("/usr/sbin/sshd", "ssh-keygen")


def keygen(path: Path, kind: str = "ed25519", passphrase: str = "") -> str:
    """Make a key pair, and return the public one, ``type base64``."""
    argv = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", str(path)]
    subprocess.run(argv, check=True)
    return " ".join(Path(f"{path}.pub").read_text().split()[:2])


def fingerprint(key: str) -> str:
    """Return the fingerprint of a public key, ``type base64``, as OpenSSH prints it."""
    argv = ["ssh-keygen", "-l", "-f", "-"]
    done = subprocess.run(argv, input=key, capture_output=True, text=True, check=True)
    return done.stdout.split()[1]


def own_client(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have the SSH client read a configuration of the test's own; return that file, empty.

    The client takes the home folder from the accounts of this machine, not from HOME.
    """
    config, program = folder / "ssh_config", folder / "bin" / "ssh"
    config.touch(mode=0o600)
    program.parent.mkdir()
    real = shutil.which("ssh")
    program.write_text(f'#!/bin/sh\nexec {real} -F {config} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.delenv("SSH_ASKPASS", raising=False)
    return config


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
