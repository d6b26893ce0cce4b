"""What a step does to a board beside changing files: typed values that know their undo.

An action becomes shell in two scripts of :mod:`bootwright.provision.transaction`. The job that
applies a change runs its ``command``. The script that puts the change back runs its ``undo``
after every file has its former content again, in the reverse order.

Sources: systemctl(1), useradd(8), gpasswd(1), augenrules(8); ``auditd.service`` of auditd.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from bootwright.core.shell import quote, quote_words

ACCOUNT_FILES = tuple(
    f"/etc/{name}" for name in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")
)
"""The files that the tools for accounts change; each tool changes several of them."""


@dataclass(frozen=True)
class Action(ABC):
    """One command of a step. It may be repeated: a second run changes nothing more."""

    @property
    @abstractmethod
    def command(self) -> str:
        """The shell command, for the script ``apply``."""

    @property
    @abstractmethod
    def undo(self) -> str:
        """Lines of the script ``restore`` that take the command back.

        They may use its functions ``attempt`` (run a command, note its failure) and
        ``attempt_unless_boot`` (the same, but not when the board puts a change back while it
        starts: no unit runs then, and a command that waits for one would never end).

        Empty where nothing is left to take back; the docstring says why.
        """

    @property
    def record(self) -> str:
        """Lines of the script ``apply`` that record the former state before any change."""
        return ""

    @property
    def files(self) -> tuple[str, ...]:
        """Files that the command changes: copied before any change, put back from the copy."""
        return ()


@dataclass(frozen=True)
class Check(Action):
    """A command that only checks something; the whole change is put back if it fails."""

    argv: tuple[str, ...]

    @property
    def command(self) -> str:
        """The check."""
        return quote_words(self.argv)

    @property
    def undo(self) -> str:
        """Nothing: a check changes nothing."""
        return ""


@dataclass(frozen=True)
class ReloadSystemd(Action):
    """Have systemd read its unit files again."""

    @property
    def command(self) -> str:
        """The reload."""
        return "systemctl daemon-reload"

    @property
    def undo(self) -> str:
        """The same: the former unit files are in place."""
        return f"attempt_unless_boot {self.command}\n"


@dataclass(frozen=True)
class EnableUnit(Action):
    """Have a unit start at every boot, and now as well if asked for.

    Attributes:
        unit: its name.
        start: it does not run, and is started.
        stop_allowed: systemd takes an order to stop it. It refuses one for a unit with
            ``RefuseManualStop=yes``, which then goes on running after the undo.
    """

    unit: str
    start: bool = False
    stop_allowed: bool = True

    @property
    def command(self) -> str:
        """Enable, and start if asked for."""
        now = "--now " if self.start else ""
        return f"systemctl enable {now}{quote(self.unit)}"

    @property
    def undo(self) -> str:
        """Stop what was started, and disable the unit if it was not enabled before."""
        unit = quote(self.unit)
        stop = f"attempt_unless_boot systemctl stop {unit}\n" if self.start else ""
        return f"{stop if self.stop_allowed else ''}disable_again {unit}\n"

    @property
    def record(self) -> str:
        """Whether the unit was enabled."""
        return f"record_disabled {quote(self.unit)}\n"


@dataclass(frozen=True)
class SetHostname(Action):
    """Give the running kernel another host name; ``/etc/hostname`` is a file of the step.

    Attributes:
        name: the new one.
        before: the one that it has.
    """

    name: str
    before: str

    @property
    def command(self) -> str:
        """Write the name to the kernel; not every board has a hostname(1)."""
        return _kernel_name(self.name)

    @property
    def undo(self) -> str:
        """Write the former name; at boot systemd does it from ``/etc/hostname``."""
        return f"attempt_unless_boot sh -c {quote(_kernel_name(self.before))}\n"


def _kernel_name(name: str) -> str:
    return f"printf %s {quote(name)} >/proc/sys/kernel/hostname"


@dataclass(frozen=True)
class ReloadSshd(Action):
    """Have sshd read its configuration again; open connections stay."""

    @property
    def command(self) -> str:
        """Reload the unit, which Debian calls ssh and Arch Linux sshd."""
        return "{ systemctl reload ssh.service || systemctl reload sshd.service; }"

    @property
    def undo(self) -> str:
        """The same: the former configuration is in place."""
        return f"attempt_unless_boot sh -c {quote(self.command)}\n"


@dataclass(frozen=True)
class AddSystemUser(Action):
    """Make an account without a home and without a login."""

    name: str

    @property
    def command(self) -> str:
        """Make it."""
        options = "--system --no-create-home --shell /usr/sbin/nologin"
        return f"useradd {options} {quote(self.name)}"

    @property
    def undo(self) -> str:
        """Nothing: the files of all accounts are put back, and there is no home."""
        return ""

    @property
    def files(self) -> tuple[str, ...]:
        """The files of all accounts."""
        return ACCOUNT_FILES


@dataclass(frozen=True)
class AddToGroup(Action):
    """Make an account a member of a group."""

    user: str
    group: str

    @property
    def command(self) -> str:
        """Add it."""
        return f"gpasswd -a {quote(self.user)} {quote(self.group)}"

    @property
    def undo(self) -> str:
        """Nothing: the files of all accounts are put back."""
        return ""

    @property
    def files(self) -> tuple[str, ...]:
        """The files of all accounts."""
        return ACCOUNT_FILES


@dataclass(frozen=True)
class LoadAuditRules(Action):
    """Have the kernel use the audit rules of ``/etc/audit/rules.d``."""

    @property
    def command(self) -> str:
        """Load them."""
        return "augenrules --load"

    @property
    def undo(self) -> str:
        """The same: the former rules are in place."""
        return f"attempt_unless_boot {self.command}\n"


@dataclass(frozen=True)
class DockerAction(Action):
    """Something done to the Docker daemon, by a function of the script ``apply``."""

    @property
    def undo(self) -> str:
        """Nothing here: ``restore`` brings the daemon back itself, after all files.

        The functions leave the mark ``state/touched`` for that.
        """
        return ""


@dataclass(frozen=True)
class RestartDocker(DockerAction):
    """Restart the daemon, which reads all of its configuration."""

    @property
    def command(self) -> str:
        """Restart it."""
        return "restart_docker"


@dataclass(frozen=True)
class ReloadDocker(DockerAction):
    """Have the running daemon read again what it can without a restart."""

    @property
    def command(self) -> str:
        """Send the signal."""
        return "reload_docker"


@dataclass(frozen=True)
class StartDocker(DockerAction):
    """Start the daemon, which does not run."""

    @property
    def command(self) -> str:
        """Start it."""
        return "start_docker"
