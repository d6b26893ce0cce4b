"""What a run of ``inv provision`` wants of one board: everything that is not a fact."""

from dataclasses import dataclass

from bootwright.core.config import Target
from bootwright.core.secret import Secret
from bootwright.core.templates import Renderer
from bootwright.hosts.profile import Profile


@dataclass(frozen=True)
class TlsFiles:
    """What a board proves itself with, and whom it believes."""

    ca: bytes
    certificate: bytes
    key: Secret


@dataclass(frozen=True)
class DesiredState:
    """The desired.

    Attributes:
        target: the board's configuration.
        login: who logs in over SSH.
        profile: what a Docker host should be.
        renderer: of the checkout's templates.
        seccomp: the text of the target's own seccomp profile.
        tls: for the target's remote API; ``None`` without one.
        logs: for shipping logs; ``None`` if the target names no server for them.
        migrate_userns: containers and images may seem to vanish.
        upgrade: bring all packages up to date, even if they were before.
        reboot: restart the board where a new kernel needs it.
    """

    target: Target
    login: str
    profile: Profile
    renderer: Renderer
    seccomp: str | None = None
    tls: TlsFiles | None = None
    logs: TlsFiles | None = None
    migrate_userns: bool = False
    upgrade: bool = False
    reboot: bool = True
