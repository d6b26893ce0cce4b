"""Several names for a board that a real sshd on 127.0.0.1 stands for, and `inv` from a checkout."""

import socket
import subprocess

from tests.support.bench import INV, Bench
from tests.support.sshserver import USER, SshServer, keygen


class Lab:
    """A checkout whose targets, the group ``lab``, are a real sshd on 127.0.0.1.

    ``board`` and ``mia`` (not root) answer; nothing listens where ``gone`` should be, and another
    host key is known of ``forged``.
    """

    def __init__(self, bench: Bench, server: SshServer) -> None:
        self.bench, self.server = bench, server
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            nobody = probe.getsockname()[1]
        self._targets = ""
        self.target("board", server.port)
        self.target("mia", server.port, user=USER)
        self.target("gone", nobody)
        self.target("forged", server.port)
        bench.own_checkout(self._targets)
        keys = bench.root / "build" / "host-keys"
        keys.mkdir(parents=True)
        for name in ("board", "mia", "gone"):
            (keys / name).write_text("".join(f"{key}\n" for key in server.host_keys.values()))
        (keys / "forged").write_text(keygen(bench.root / "other") + "\n")

    def target(self, name: str, port: int, user: str = "root") -> None:
        self._targets += (
            f'[targets.{name}]\nboard = "odroid-xu3"\nrootfs = "debian"\nhost = "127.0.0.1"\n'
            f'port = {port}\nuser = "{user}"\nidentity_file = "{self.server.identity}"\n'
            'groups = ["lab"]\n'
        )

    def inv(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a task as an operator without a terminal does."""
        return subprocess.run(
            [str(INV), *argv],
            cwd=self.bench.checkout,
            env=self.bench.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
