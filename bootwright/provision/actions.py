"""What a step does to a board beside changing files: typed values that know their undo.

An action is done by two scripts of :mod:`bootwright.provision.transaction`. The job that
applies a change runs its ``command``. The script that puts the change back runs its ``undo``
after every file has its former content again, in the reverse order.

A command is a program, or a function of ``shell/actions.sh`` and of the script, with its
arguments.

Sources: systemctl(1), useradd(8), gpasswd(1), auditctl(8); ``auditd.service`` of auditd.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

Command = tuple[str, ...]
"""A program, or a shell function of the script, and its arguments."""

ACCOUNT_FILES = tuple(
    f"/etc/{name}" for name in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")
)
"""The files that the tools for accounts change; each tool changes several of them."""


@dataclass(frozen=True)
class Action(ABC):
    """One command of a step. It may be repeated: a second run changes nothing more."""

    @property
    @abstractmethod
    def command(self) -> Command:
        """What the script ``apply`` runs."""

    @property
    @abstractmethod
    def undo(self) -> tuple[Command, ...]:
        """What the script ``restore`` runs to take the command back.

        Each is a call of one of its functions: ``attempt`` (run a command, report its failure),
        ``attempt_unless_boot`` (the same, but not when the board puts a change back while it
        starts: no unit runs then, and a command that waits for one would never end), or
        ``disable_again``.

        Empty where nothing is left to take back; the docstring says why.
        """

    @property
    def record(self) -> Command:
        """What the script ``apply`` runs before any change, to record the former state."""
        return ()

    @property
    def files(self) -> tuple[str, ...]:
        """Files that the command changes: copied before any change, put back from the copy."""
        return ()


@dataclass(frozen=True)
class Check(Action):
    """A command that only checks something; the whole change is put back if it fails."""

    argv: tuple[str, ...]

    @property
    def command(self) -> Command:
        """The check."""
        return self.argv

    @property
    def undo(self) -> tuple[Command, ...]:
        """Nothing: a check changes nothing."""
        return ()


@dataclass(frozen=True)
class ReloadSystemd(Action):
    """Have systemd read its unit files again."""

    @property
    def command(self) -> Command:
        """The reload."""
        return "systemctl", "daemon-reload"

    @property
    def undo(self) -> tuple[Command, ...]:
        """The same: the former unit files are in place."""
        return (("attempt_unless_boot", *self.command),)


@dataclass(frozen=True)
class EnableUnit(Action):
    """Have a unit start at every boot, and now as well if asked for.

    Attributes:
        unit: its name.
        start: it does not run, and is started.
    """

    unit: str
    start: bool = False

    @property
    def command(self) -> Command:
        """Enable, and start if asked for."""
        return "systemctl", "enable", *(("--now",) if self.start else ()), self.unit

    @property
    def undo(self) -> tuple[Command, ...]:
        """Stop what was started, and disable the unit if it was not enabled before."""
        stop = ("attempt_unless_boot", "systemctl", "stop", self.unit)
        disable = ("disable_again", self.unit)
        return (stop, disable) if self.start else (disable,)

    @property
    def record(self) -> Command:
        """Record whether the unit was enabled."""
        return "record_disabled", self.unit


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
    def command(self) -> Command:
        """Give the name to the kernel."""
        return "set_hostname", self.name

    @property
    def undo(self) -> tuple[Command, ...]:
        """Give it the former name; at boot systemd does it from ``/etc/hostname``."""
        return (("attempt_unless_boot", "set_hostname", self.before),)


@dataclass(frozen=True)
class ReloadSshd(Action):
    """Have sshd read its configuration again; open connections stay."""

    @property
    def command(self) -> Command:
        """Reload its unit."""
        return ("reload_sshd",)

    @property
    def undo(self) -> tuple[Command, ...]:
        """The same: the former configuration is in place."""
        return (("attempt_unless_boot", *self.command),)


@dataclass(frozen=True)
class AddSystemUser(Action):
    """Make an account without a home and without a login."""

    name: str

    @property
    def command(self) -> Command:
        """Make it."""
        options = ("--system", "--no-create-home", "--shell", "/usr/sbin/nologin")
        return "useradd", *options, self.name

    @property
    def undo(self) -> tuple[Command, ...]:
        """Nothing: the files of all accounts are put back, and there is no home."""
        return ()

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
    def command(self) -> Command:
        """Add it."""
        return "gpasswd", "-a", self.user, self.group

    @property
    def undo(self) -> tuple[Command, ...]:
        """Nothing: the files of all accounts are put back."""
        return ()

    @property
    def files(self) -> tuple[str, ...]:
        """The files of all accounts."""
        return ACCOUNT_FILES


@dataclass(frozen=True)
class StartAuditd(Action):
    """Start auditd, which does not run, now and at every boot.

    Its start loads the files of /etc/audit/rules.d, and deletes every other rule first: those that
    the kernel had are loaded again.
    """

    @property
    def command(self) -> Command:
        """Enable and start it."""
        return ("start_auditd",)

    @property
    def undo(self) -> tuple[Command, ...]:
        """End it, and disable it if it was not enabled before."""
        return ("attempt_unless_boot", "stop_auditd"), ("disable_again", "auditd.service")

    @property
    def record(self) -> Command:
        """Record whether it was enabled."""
        return "record_disabled", "auditd.service"


@dataclass(frozen=True)
class ReloadAuditd(Action):
    """Have auditd, which runs, read its own configuration again.

    Attributes:
        file: its configuration.
    """

    file: str

    @property
    def command(self) -> Command:
        """Send the signal, and see that auditd has the size of a file from there."""
        return "reload_auditd", self.file

    @property
    def undo(self) -> tuple[Command, ...]:
        """The same: the former configuration is in place."""
        return (("attempt_unless_boot", *self.command),)


@dataclass(frozen=True)
class SwitchRecordingOn(Action):
    """Have the kernel record what its audit rules watch: somebody has switched that off."""

    @property
    def command(self) -> Command:
        """Switch it on."""
        return "auditctl", "-e", "1"

    @property
    def undo(self) -> tuple[Command, ...]:
        """Switch it off again; at boot it is what the board makes it."""
        return (("attempt_unless_boot", "auditctl", "-e", "0"),)


@dataclass(frozen=True)
class LoadAuditRules(Action):
    """Have the kernel use our audit rules; the rules of others stay as they are.

    Attributes:
        file: the file of our rules.
        key: the key that each of them has, and no rule of others.
    """

    file: str
    key: str

    @property
    def command(self) -> Command:
        """Load them in place of those of ours that are loaded."""
        return "load_audit_rules", self.file, self.key

    @property
    def undo(self) -> tuple[Command, ...]:
        """Nothing here: ``restore`` compares the rules with those that the kernel had, after all
        files and the daemon, whose start loads rules as well.
        """
        return ()

    @property
    def record(self) -> Command:
        """Record the file, and the rules that the kernel has.

        Nothing is changed if the kernel does not list them.
        """
        return "begin", "record_audit_rules", self.file


@dataclass(frozen=True)
class DockerAction(Action):
    """Something done to the Docker daemon, by a function of the script ``apply``."""

    @property
    def undo(self) -> tuple[Command, ...]:
        """Nothing here: ``restore`` brings the daemon back itself, after all files.

        The functions leave the mark ``state/touched`` for that.
        """
        return ()


@dataclass(frozen=True)
class RestartDocker(DockerAction):
    """Restart the daemon, which reads all of its configuration."""

    @property
    def command(self) -> Command:
        """Restart it."""
        return ("restart_docker",)


@dataclass(frozen=True)
class ReloadDocker(DockerAction):
    """Have the running daemon read again what it can without a restart."""

    @property
    def command(self) -> Command:
        """Send the signal."""
        return ("reload_docker",)


@dataclass(frozen=True)
class StartDocker(DockerAction):
    """Start the daemon, which does not run."""

    @property
    def command(self) -> Command:
        """Start it."""
        return ("start_docker",)
