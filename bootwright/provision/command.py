"""``inv provision`` for one or several targets: from names to desired states to results."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

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
"""Boards at a time, if the operator does not say; most of the work is done by the boards."""


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
        migrate_userns: user namespaces may be switched on or off, or the storage driver changed,
            although existing containers and images then seem to be gone.
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
class BoardInput:
    """One board of a run: how it is reached, and its desired state. All input is checked."""

    endpoint: Endpoint
    target: Target
    desired: DesiredState


def provision_targets(request: ProvisionRequest) -> ProvisionResults:
    """Provision every target and return how it ended for each.

    Raises:
        InputError: no such target or group, or a target's values or files cannot be used;
            nothing was begun then.
    """
    boards = _boards(request)
    sudo_password = None
    if request.sudo_password_file is not None:
        sudo_password = read_sudo_password(request.sudo_password_file, "the user")
    if len(boards) == 1:
        results = [_one(boards[0], request, sudo_password)]
    else:
        results = _several(boards, request, sudo_password)
    code = worst({result.target: result.error for result in results})
    return ProvisionResults(tuple(results), code, request.diff)


def _boards(request: ProvisionRequest) -> list[BoardInput]:
    names = resolve.targets_named(request.names, request.group)
    profile = load_profile(paths.checkout() / "profiles")
    return [_board(name, request, profile) for name in names]


def _board(name: str, request: ProvisionRequest, profile: Profile) -> BoardInput:
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
    return BoardInput(endpoint, target, desired)


def _with_logs(target: Target, server: str | None) -> Target:
    if server is None:
        return target
    values = {**target.logs.model_dump(), "server": server}
    return target.model_copy(update={"logs": check_table(Logs, values, "--logs")})


def _seccomp(target: Target) -> str | None:
    if target.docker.seccomp_profile is None:
        return None
    path = paths.checkout() / paths.expand_user(target.docker.seccomp_profile)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"targets.{target.name}.docker.seccomp_profile: {paths.display_path(path)}: {error}"
        ) from None


def _tls(target: Target, dry_run: bool) -> TlsFiles | None:
    """Return the files for the remote API, if the target has one.

    They are issued, or renewed where due; a dry run only computes them.
    """
    if target.docker.api is None:
        return None
    return _issued(CertificateSubject("server", target.name), server_names(target), dry_run)


def _logs(target: Target, dry_run: bool) -> TlsFiles | None:
    """Return the files for shipping logs, likewise."""
    if target.logs.server is None:
        return None
    return _issued(CertificateSubject("log", target.name), ServerNames(), dry_run)


def _issued(subject: CertificateSubject, names: ServerNames, dry_run: bool) -> TlsFiles:
    issue = preview_certificate if dry_run else issued_certificate
    made = issue(PkiStore(pki_dir()), subject, names, datetime.now(UTC))
    return TlsFiles(made.ca_pem, made.cert_pem, made.key_pem)


def _one(
    board: BoardInput, request: ProvisionRequest, sudo_password: Secret | None
) -> ProvisionResult:
    """Provision the only board; the operator may be asked."""
    reporter = TextReporter()
    credentials = Credentials(terminal(), _passphrase(board, request), sudo_password)
    result = _guarded(board, request.options, credentials, reporter)
    if isinstance(result.error, SudoPasswordError) and sudo_password is None and terminal():
        password = read_sudo_password(None, f"{board.desired.login} on {board.endpoint.name}")
        credentials = replace(credentials, sudo_password=password)
        result = _guarded(board, request.options, credentials, reporter)
    return result


def _several(
    boards: Sequence[BoardInput], request: ProvisionRequest, sudo_password: Secret | None
) -> list[ProvisionResult]:
    """Provision several boards at a time; nobody is asked anything."""
    by_name = {board.endpoint.name: board for board in boards}

    def work(name: str, reporter: Reporter) -> ProvisionResult:
        board, passphrase = by_name[name], _no_passphrase
        if request.passphrase_file is not None or board.target.passphrase_command:
            passphrase = _passphrase(board, request)
        credentials = Credentials(None, passphrase, sudo_password)
        return _guarded(board, request.options, credentials, reporter)

    fleet = Fleet(
        list(by_name), work, lambda result: (result.summary(), result.ok), request.parallel
    )
    return [
        result if isinstance(result, ProvisionResult) else ProvisionResult(name, error=result)
        for name, result in fleet.run().items()
    ]


def _guarded(
    board: BoardInput, options: ProvisionOptions, credentials: Credentials, reporter: Reporter
) -> ProvisionResult:
    """Provision a board; an error is a result as well."""
    begin = time.monotonic()
    try:
        return provision(board.endpoint, board.desired, options, credentials, reporter)
    except BootwrightError as error:
        name = board.endpoint.name
        return ProvisionResult(name, seconds=time.monotonic() - begin, error=error)


def _passphrase(board: BoardInput, request: ProvisionRequest) -> Callable[[], Secret]:
    return lambda: read_passphrase(board.target, request.passphrase_file, twice=False)


def _no_passphrase() -> Secret:
    raise InputError(
        "no passphrase: give --passphrase-file, or passphrase_command in bootwright.toml; with"
        " several boards nobody is asked"
    )
