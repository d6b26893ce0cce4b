"""What a run of ``inv provision`` is to make of one board: all of its input but the facts."""

from dataclasses import dataclass

from bootwright.core.config import Target
from bootwright.core.secret import Secret
from bootwright.core.templates import Renderer
from bootwright.hosts.profile import Profile


@dataclass(frozen=True)
class TlsFiles:
    """The board's certificate with its private key, and the CA that it trusts; all PEM."""

    ca: bytes
    certificate: bytes
    key: Secret


@dataclass(frozen=True)
class DesiredState:
    """The desired state of one board.

    Attributes:
        target: the board's configuration.
        login: the user that logs in over SSH.
        profile: the settings of a hardened Docker host.
        renderer: of the checkout's templates.
        seccomp: the text of the target's own seccomp profile.
        tls: for the target's remote API; ``None`` without one.
        logs: for shipping logs; ``None`` if the target names no server for them.
        migrate_userns: user namespaces may be switched on or off, or the storage driver changed,
            although existing containers and images then seem to be gone.
        upgrade: bring all packages up to date, even if an earlier run did.
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
