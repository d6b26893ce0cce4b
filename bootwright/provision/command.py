"""``inv provision`` for one or several targets: from names to desired, and back to results."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from bootwright.core import paths
from bootwright.core.config import Logs, Target
from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import BootwrightError, InputError
from bootwright.core.io.ask import terminal
from bootwright.core.io.secret_input import read_passphrase, read_sudo_password
from bootwright.core.report import Reporter, TextReporter
from bootwright.core.secret import Secret
from bootwright.core.templates import Renderer
from bootwright.core.toml_model import check_table
from bootwright.hosts import resolve
from bootwright.hosts.fleet import Fleet, worst
from bootwright.hosts.profile import Profile, load_profile
from bootwright.pki.certificate_store import CertificateSubject
from bootwright.pki.certificates import ServerNames, server_names
from bootwright.pki.command import issued_certificate, preview_certificate
from bootwright.pki.io.store import PkiStore, pki_dir
from bootwright.provision.desired_state import DesiredState, TlsFiles
from bootwright.provision.one_board import Credentials, ProvisionOptions, provision
from bootwright.provision.result import ProvisionResult, ProvisionResults
from bootwright.remote.sudo import SudoPasswordError

PARALLEL = 8
"""Boards at a time; what this machine does for one is little."""


@dataclass(frozen=True)
class ProvisionRequest:
    """What the command line asks for.

    Attributes:
        names: targets.
        group: or all targets of this group.
        options: how.
        identity: private key file, instead of the targets'.
        passphrase_file: with the passphrase of the volumes, for a restart.
        sudo_password_file: with the password that sudo asks for.
        upgrade: bring all packages up to date again.
        reboot: restart boards where a new kernel needs it.
        migrate_userns: containers and images may seem to vanish.
        parallel: boards at a time.
        logs: ship logs to this server, instead of the targets'.
        diff: the result's lines show a unified diff of every file.
    """

    names: Sequence[str]
    group: str | None
    options: ProvisionOptions
    identity: str | None = None
    passphrase_file: str | None = None
    sudo_password_file: str | None = None
    upgrade: bool = False
    reboot: bool = True
    migrate_userns: bool = False
    parallel: int = PARALLEL
    logs: str | None = None
    diff: bool = False


@dataclass(frozen=True)
class Job:
    """A board and what is wished for it, with input that has been looked at."""

    endpoint: Endpoint
    target: Target
    desired: DesiredState


def provision_targets(request: ProvisionRequest) -> ProvisionResults:
    """Provision every target and return how it ended for each.

    Raises:
        InputError: no such target or group, or a target's values or files cannot be used;
            nothing was begun then.
    """
    jobs = {job.endpoint.name: job for job in _jobs(request)}
    sudo_password = None
    if request.sudo_password_file is not None:
        sudo_password = read_sudo_password(request.sudo_password_file, "the user")
    if len(jobs) == 1:
        (job,) = jobs.values()
        results = [_one(job, request, sudo_password)]
    else:
        alone = Credentials(None, lambda: _no_passphrase(request), sudo_password)

        def work(name: str, reporter: Reporter) -> ProvisionResult:
            job = jobs[name]
            credentials = alone
            if request.passphrase_file is not None or job.target.passphrase_command:
                credentials = replace(alone, passphrase=_passphrase(job, request))
            return _guarded(job, request.options, credentials, reporter)

        fleet = Fleet(
            list(jobs), work, lambda result: (result.summary(), result.ok), request.parallel
        )
        done = fleet.run()
        results = [
            result if isinstance(result, ProvisionResult) else ProvisionResult(name, error=result)
            for name, result in done.items()
        ]
    code = worst({result.target: result.error for result in results})
    return ProvisionResults(tuple(results), code, request.diff)


def _jobs(request: ProvisionRequest) -> list[Job]:
    names = resolve.targets_named(request.names, request.group)
    profile = load_profile(paths.checkout() / "profiles")
    return [_job(name, request, profile) for name in names]


def _job(name: str, request: ProvisionRequest, profile: Profile) -> Job:
    endpoint = resolve.endpoint_of(name, request.identity)
    target = _with_logs(resolve.target_of(name), request.logs)
    server = endpoint.ssh_server()
    desired = DesiredState(
        target=target,
        login=server.user or target.user,
        profile=profile,
        renderer=Renderer(paths.checkout() / "templates"),
        seccomp=_seccomp(target),
        tls=_tls(target, request.options.dry_run),
        logs=_logs(target, request.options.dry_run),
        migrate_userns=request.migrate_userns,
        upgrade=request.upgrade,
        reboot=request.reboot,
    )
    return Job(endpoint, target, desired)


def _with_logs(target: Target, server: str | None) -> Target:
    if server is None:
        return target
    values = {**target.logs.model_dump(), "server": server}
    return target.model_copy(update={"logs": check_table(Logs, values, "--logs")})


def _seccomp(target: Target) -> str | None:
    if target.docker.seccomp_profile is None:
        return None
    path = paths.checkout() / Path(target.docker.seccomp_profile).expanduser()
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"targets.{target.name}.docker.seccomp_profile: {paths.display_path(path)}: {error}"
        ) from None


def _tls(target: Target, dry_run: bool) -> TlsFiles | None:
    """Return what the remote API needs; made or renewed where due, but for a dry run."""
    if target.docker.api is None:
        return None
    return _issued(CertificateSubject("server", target.name), server_names(target), dry_run)


def _logs(target: Target, dry_run: bool) -> TlsFiles | None:
    """Return what shipping logs needs, likewise."""
    if target.logs.server is None:
        return None
    return _issued(CertificateSubject("log", target.name), ServerNames(), dry_run)


def _issued(subject: CertificateSubject, names: ServerNames, dry_run: bool) -> TlsFiles:
    issue = preview_certificate if dry_run else issued_certificate
    made = issue(PkiStore(pki_dir()), subject, names, datetime.now(UTC))
    return TlsFiles(made.ca_pem, made.cert_pem, made.key_pem)


def _one(job: Job, request: ProvisionRequest, sudo_password: Secret | None) -> ProvisionResult:
    """Provision the only board; the operator may be asked."""
    reporter = TextReporter()
    credentials = Credentials(terminal(), _passphrase(job, request), sudo_password)
    result = _guarded(job, request.options, credentials, reporter)
    if isinstance(result.error, SudoPasswordError) and sudo_password is None and terminal():
        password = read_sudo_password(None, f"{job.desired.login} on {job.endpoint.name}")
        credentials = replace(credentials, sudo_password=password)
        result = _guarded(job, request.options, credentials, reporter)
    return result


def _guarded(
    job: Job, options: ProvisionOptions, credentials: Credentials, reporter: Reporter
) -> ProvisionResult:
    """Provision a board; an error is a result as well."""
    begin = time.monotonic()
    try:
        return provision(job.endpoint, job.desired, options, credentials, reporter)
    except BootwrightError as error:
        name = job.endpoint.name
        return ProvisionResult(name, seconds=time.monotonic() - begin, error=error)


def _passphrase(job: Job, request: ProvisionRequest) -> Callable[[], Secret]:
    return lambda: read_passphrase(job.target, request.passphrase_file, twice=False)


def _no_passphrase(request: ProvisionRequest) -> Secret:
    assert request.passphrase_file is None
    raise InputError(
        "no passphrase: give --passphrase-file, or passphrase_command in bootwright.toml; with"
        " several boards nobody is asked"
    )
