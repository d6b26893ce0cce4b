"""Changes to a board for tests, as :mod:`tests.support.fakeboard` applies them."""

from bootwright.core.file_changes import FileChange, Removal, SymlinkChange, text_file
from bootwright.core.secret import Secret
from bootwright.hosts.file_modes import PathMode
from bootwright.hosts.systemd_units import HostUnit
from bootwright.provision.actions import Check, ReloadSystemd, RestartDocker
from bootwright.provision.daemon_json import DAEMON_JSON
from bootwright.provision.desired_state import TlsFiles
from bootwright.provision.plan import plan_provision, transaction_of
from bootwright.provision.steps import ModeFix, Step
from bootwright.provision.transaction import Transaction
from tests.support.host_facts import SSHD, desired, stock

ID = "0123456789abcdef"
"""The id of every change."""


def whole() -> Transaction:
    """Return every step that provisioning knows, as it would plan them for the fake board."""
    facts = stock(
        hostname="old",
        audit_recording=False,
        audit_receiver="",
        sshd={**SSHD, "passwordauthentication": "yes"},
        units={
            "docker.service": HostUnit("loaded", "active", "disabled"),
            "auditd.service": HostUnit("loaded", "inactive", "disabled"),
            "systemd-timesyncd.service": HostUnit("loaded", "inactive", "disabled"),
        },
        modes={
            "/etc/docker": PathMode("/etc/docker", 0o757, "mia:docker", "directory", "1000:998")
        },
    )
    tls = TlsFiles(b"ca", b"certificate", Secret(b"key"))
    want = desired({"trusted_user": "mia"}, timezone="Europe/Berlin", tls=tls)
    plan = plan_provision(want, facts)
    assert [step.name for step in plan.to_do] == [
        *("host", "ssh", "mount", "users", "userns", "tls", "daemon", "audit", "modes"),
    ]
    return transaction_of(plan, facts, 600, ID)


def odd() -> Transaction:
    """Return the kinds of change that no step has by now, and daemon.json as it is."""
    was = PathMode("/etc/docker/key.json", 0o640, "mia:docker", "regular file", "1000:998")
    links = Step(
        "links",
        changes=(
            SymlinkChange("/etc/to-folder", "/etc/ssh"),
            SymlinkChange("/etc/new-link", "/etc/ssh"),
            SymlinkChange("/etc/was-file", "hostname"),
            FileChange("/etc/new/deep/odd 'name'", b"x", 0o4711, 12, 34),
            text_file("/etc/was-link", "file\n"),
            Removal("/etc/to-go"),
            Removal("/etc/never-there"),
        ),
        actions=(Check(("true",)),),
    )
    fix = ModeFix(was, 0o600, "root:root")
    daemon = Step("daemon", fixes=(fix,), actions=(ReloadSystemd(), RestartDocker()))
    # The daemon has not read what daemon.json says by now.
    return Transaction((links, daemon), '{"live-restore": true}\n', True, ("^Seccomp: 2",), ID)


def plain(existing: str = "") -> Transaction:
    """Return a small change: accounts, the daemon, its restart."""
    facts = stock({DAEMON_JSON: existing} if existing else {})
    return transaction_of(plan_provision(desired(), facts), facts, 600, ID)
