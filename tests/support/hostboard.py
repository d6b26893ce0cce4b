"""A card booted in the emulator that is provisioned, for the tests of several modules."""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from bootwright.audit.result import AuditResult
from bootwright.audit.run import collect, evaluate_board, load_rules
from bootwright.core.config import Docker, Logs, Target
from bootwright.core.endpoints import Endpoint, UnlockMode
from bootwright.core.errors import FailedError
from bootwright.core.paths import checkout
from bootwright.core.report import TextReporter
from bootwright.core.secret import Secret
from bootwright.core.templates import Renderer
from bootwright.hosts.profile import load_profile
from bootwright.provision.desired_state import DesiredState
from bootwright.provision.one_board import Credentials, ProvisionOptions, provision
from bootwright.provision.result import ProvisionResult
from bootwright.remote.io.connection import Remote
from tests.support.machine import Machine

GUEST_S = 400.0
"""Seconds for anything in the guest but installing."""

PROBE_S = 20.0
"""Seconds in which a connection that still works answers; about 0.2."""

# A container of the board's own shell, so that no registry is needed.
OLD_CONTAINER = """
set -e
apt-get -qq install -y --no-install-recommends busybox-static >/dev/null 2>&1
mkdir -p /tmp/root/bin && cp /bin/busybox /tmp/root/bin/ && ln -sf busybox /tmp/root/bin/sh
tar -C /tmp/root -c . | docker import - busybox:local >/dev/null
docker run -d --name old --restart unless-stopped busybox:local /bin/busybox sleep 1000000
"""


# The packages of a board on which docker-bench-security was recorded, with the shell as an image.
STOCK_DOCKER = """
apt-get -qq update >/dev/null 2>&1
set -e
apt-get -qq install -y --no-install-recommends docker.io apparmor busybox-static >/dev/null 2>&1
mkdir -p /tmp/root/bin && cp /bin/busybox /tmp/root/bin/ && ln -sf busybox /tmp/root/bin/sh
"""


@dataclass
class HostBoard(ABC):
    """A Docker host; one connection to it is kept, for logging in takes an emulated board 2 s.

    Attributes:
        known: folder with the known host keys.
        passphrase: of the encrypted volume.
    """

    known: Path
    passphrase: Secret
    _remote: Remote | None = None

    daemon: ClassVar[dict[str, Any]] = {}
    """Settings of the daemon that such a board wants beside those of the profile."""

    @property
    @abstractmethod
    def endpoint(self) -> Endpoint:
        """Where it can be reached."""

    def remote(self) -> Remote:
        """Return a connection that works: the one that is kept, or a new one."""
        if self._remote is not None:
            try:
                self._remote.run(":", title="asking whether it is there", timeout=PROBE_S)
            except FailedError:
                # It is from before a restart of the board.
                self.close()
        if self._remote is None:
            made = Remote(self.endpoint, directory=self.known, wait=GUEST_S)
            made.connect()
            self._remote = made
        return self._remote

    def close(self) -> None:
        """Hang up."""
        if self._remote is not None:
            self._remote.close()
            self._remote = None

    def bytes_of(self, script: str, stdin: bytes | Secret | None = None) -> bytes:
        """Run a script in the guest, which must end well; return what it prints."""
        done = self.remote().run(script, title="a script", stdin=stdin, timeout=GUEST_S)
        assert done.returncode == 0, (
            f"{script}\n{done.text}\n{done.stderr.decode(errors='replace')}"
        )
        return done.stdout

    def sh(self, script: str, stdin: bytes | Secret | None = None) -> str:
        """Return what a script prints, as text."""
        return self.bytes_of(script, stdin).decode("utf-8", "replace")

    def pid_of_old(self) -> str:
        return self.sh("docker inspect --format '{{.State.Running}} {{.State.Pid}}' old").strip()

    def daemon_json(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self.sh("cat /etc/docker/daemon.json"))
        return values

    def audit(self) -> AuditResult:
        """Audit the board."""
        rules = load_rules()
        facts = collect(self.remote(), rules.profile)
        return evaluate_board(facts, rules, "odroid", None, day=datetime.now(UTC).date())

    def provision(
        self,
        docker: dict[str, Any] | None = None,
        *,
        endpoint: Endpoint | None = None,
        options: ProvisionOptions | None = None,
        reporter: TextReporter | None = None,
        passphrase: Secret | None = None,
        ships: Logs | None = None,
        unlock: UnlockMode = "serial",
        **different: Any,
    ) -> ProvisionResult:
        wanted = docker or {}
        wanted = wanted | {"daemon": self.daemon | wanted.get("daemon", {})}
        target = Target(
            name="odroid",
            board="odroid-xu3",
            rootfs="debian",
            hostname="odroid",
            unlock=unlock,
            docker=Docker(**wanted),
            logs=ships or Logs(),
        )
        desired = DesiredState(
            target=target,
            login="root",
            profile=load_profile(checkout() / "profiles"),
            renderer=Renderer(checkout() / "templates"),
            **different,
        )
        usual = ProvisionOptions(directory=self.known, wait=GUEST_S)
        return provision(
            endpoint or self.endpoint,
            desired,
            options or usual,
            Credentials(None, lambda: passphrase or self.passphrase),
            reporter or TextReporter(),
        )


@dataclass
class Board(HostBoard):
    """A booted card."""

    machine: Machine = field(kw_only=True)

    @property
    def endpoint(self) -> Endpoint:
        """The serial line and the SSH server of the emulator."""
        return self.machine.endpoint


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for something in the guest, which is asked once a second."""
    end = time.monotonic() + GUEST_S
    while not true():
        assert time.monotonic() < end
        time.sleep(1)


def changed_steps(result: ProvisionResult) -> set[str]:
    """Return the names of the steps that have changed something, or would in a dry run."""
    return {step.name for step in result.changed}
