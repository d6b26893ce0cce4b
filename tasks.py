"""The tasks: ``inv --list`` names them, ``inv TASK --help`` explains one.

Nothing is decided here: each task hands its options to the package and prints what
comes back. Exit codes: 0 done, 2 wrong input, 3 refused for safety, 4 the device, the
board or a tool failed, 70 a bug of ours.
"""

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from bootwright.audit.choices import FailOn, ReportFormat
from bootwright.core.cli import ChildStatus, print_result, whole_number
from bootwright.core.options import (
    BenchmarkVersion,
    BoardName,
    ConfiguredTargetName,
    File,
    Files,
    Folder,
    GroupName,
    RootfsName,
    SaveName,
    TargetName,
    TargetNames,
)
from bootwright.core.program import replace_invoke
from bootwright.logs.choices import LogsAction, SeverityName
from bootwright.pki.choices import PkiAction
from bootwright.volume.choices import PassphraseAction, UnlockVia

_DAY = 24 * 3600
"""Seconds; no wait of a task is longer."""

_JSON = "print exactly one JSON document on standard output"
_PORT = "serial port or URL (socket://, rfc2217://), instead of the target's"
_BAUD = "bits per second of the serial line, instead of the board's"
_IDENTITY = "private key file, instead of the target's"
_WAIT = (
    "seconds to wait for a board that does not answer yet (default: 10; 120 if it was unlocked or"
    " flashed from here just now)"
)
_TRANSCRIPT = "new file for what goes over the console (asciicast), the passphrase masked"


@task(
    auto_shortflags=False,
    positional=["device"],
    iterable=["authorized_key"],
    help={
        "json": _JSON,
        "yes": "do not ask; for scripts",
        "dry-run": "show what would be done and touch nothing",
        "device": "the card (/dev/sdX), an existing image file, or a new *.img",
        "target": "a target of bootwright.toml (default: odroid)",
        "rootfs": "archlinuxarm or debian, instead of the target's",
        "rootfs-file": "a tarball to use instead of the download",
        "rootfs-unverified": "use a download that nothing can verify",
        "blobs": "folder with the vendor's signed boot blobs",
        "size": "size of a new image file (default: 8GiB); resizes an existing one",
        "authorized-key": "public key, or a file of them, that may log in; can be repeated",
        "passphrase-file": "file with the passphrase; only you may read it (- for standard input)",
        "fixed-disk-serial": "serial number of the fixed disk that is really meant",
        "large": "allow a disk of more than 256 GiB",
    },
)
def flash(
    _: Context,
    device: File = "",
    target: ConfiguredTargetName = "odroid",
    rootfs: RootfsName = "",
    rootfs_file: File = "",
    rootfs_unverified: bool = False,
    blobs: Folder = "",
    size: str = "",
    authorized_key: Files = None,
    passphrase_file: File = "",
    fixed_disk_serial: str = "",
    large: bool = False,
    yes: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Make a verified, bootable card whose Docker data is encrypted."""
    from bootwright.card.flash import FlashOptions
    from bootwright.card.flash import flash as make
    from bootwright.core.report import TextReporter

    options = FlashOptions(
        device=device,
        target=target,
        rootfs=rootfs or None,
        rootfs_file=rootfs_file or None,
        rootfs_unverified=rootfs_unverified,
        blobs=blobs or None,
        size=size or None,
        authorized_keys=tuple(authorized_key or ()),
        passphrase_file=passphrase_file or None,
        fixed_disk_serial=fixed_disk_serial or None,
        large=large,
        yes=yes,
        dry_run=dry_run,
    )
    print_result(make(options, TextReporter()), json)


@task(
    auto_shortflags=False,
    positional=["target"],
    help={"json": _JSON, "target": "a target of bootwright.toml; without one, all are checked"},
)
def config(_: Context, target: ConfiguredTargetName = "", json: bool = False) -> None:
    """Show a target's configuration and where each value came from; or check all targets."""
    from bootwright.card.references import check_references
    from bootwright.core import paths
    from bootwright.core.config import load_config
    from bootwright.core.errors import InputError
    from bootwright.core.listing import check_config

    root = paths.checkout()
    if target:
        effective = load_config(root, target)
        check_references(root, effective.target)
        print_result(effective, json)
        return
    checked = check_config(root, lambda one: check_references(root, one))
    print_result(checked, json)
    if checked.wrong:
        raise InputError("\n".join(checked.wrong))


@task(
    auto_shortflags=False,
    help={
        "json": _JSON,
        "find": "look for the boards in this network: by name, and by the MAC addresses of their"
        " cards",
    },
)
def targets(_: Context, find: bool = False, json: bool = False) -> None:
    """List the targets: their boards, root file systems, addresses and groups."""
    from bootwright.core import paths
    from bootwright.core.listing import list_targets

    if not find:
        print_result(list_targets(paths.checkout()), json)
        return
    from bootwright.hosts.init import finder

    print_result(list_targets(paths.checkout(), finder(paths.build_dir() / "cards")), json)


@task(
    auto_shortflags=False,
    positional=["name"],
    help={
        "json": _JSON,
        "name": "the new target's name",
        "board": "its board, as inv boards lists them",
        "rootfs": "archlinuxarm or debian",
        "serial-port": "serial port or URL (socket://, rfc2217://); - for none",
        "host": "name or address where SSH reaches it; - for none",
    },
)
def init(
    _: Context,
    name: str = "",
    board: BoardName = "",
    rootfs: RootfsName = "",
    serial_port: File = "",
    host: str = "",
    json: bool = False,
) -> None:
    """Ask for what a new target needs, and write it to bootwright.local.toml."""
    from bootwright.core import paths
    from bootwright.core.io.ask import terminal
    from bootwright.hosts.init import finder
    from bootwright.hosts.init import init as make

    given = {"name": name, "board": board, "rootfs": rootfs}
    made = make(
        paths.checkout(),
        given | {"serial_port": serial_port, "host": host},
        terminal(),
        find=finder(paths.build_dir() / "cards"),
    )
    print_result(made, json)


@task(auto_shortflags=False, help={"json": _JSON})
def boards(_: Context, json: bool = False) -> None:
    """List the boards that cards can be made for."""
    from bootwright.core import paths
    from bootwright.core.listing import list_boards

    print_result(list_boards(paths.checkout()), json)


@task(
    auto_shortflags=False,
    positional=["device"],
    help={
        "json": _JSON,
        "device": "the card image to boot",
        "snapshot": "leave the image as it is: what the guest writes is dropped at the end",
        "save": "save the running emulator (started with --snapshot); it continues",
        "resume": "start from a save of this name, in about a second",
        "list": "show the saves",
        "remove": "remove the save of this name",
        "identity": "with --resume: private key file to log in with and set the clock",
        "stop": "shut the running emulator down",
        "serial-port": "TCP port of the serial console (default: a free one)",
        "ssh-port": "TCP port that leads to the guest's SSH server (default: a free one)",
        "timeout": "seconds to wait for the first prompt (default: 600)",
    },
)
def emulate(
    _: Context,
    device: File = "",
    snapshot: bool = False,
    stop: bool = False,
    save: SaveName = "",
    resume: SaveName = "",
    list: bool = False,
    remove: SaveName = "",
    identity: File = "",
    serial_port: str = "",
    ssh_port: str = "",
    timeout: str = "",
    json: bool = False,
) -> None:
    """Boot a card image on an emulated ARMv7, as the target "emulator"; save and resume it."""
    from bootwright.core.report import TextReporter
    from bootwright.emulator import emulate as emulating
    from bootwright.hosts import resolve

    reporter = TextReporter()
    emulating.check_options(
        {
            **{"--device": device, "--stop": stop, "--save": save, "--resume": resume},
            **{"--list": list, "--remove": remove, "--snapshot": snapshot},
            "--identity": identity,
            **{"--serial-port": serial_port, "--ssh-port": ssh_port, "--timeout": timeout},
        }
    )
    if stop:
        print_result(emulating.stop(reporter), json)
        return
    if remove:
        emulating.remove(remove)
    if save or list or remove:
        saves = emulating.save(save, reporter) if save else emulating.listed_saves()
        print_result(saves, json)
        return
    options = emulating.EmulateOptions(
        device,
        snapshot,
        whole_number("--serial-port", serial_port, 1, 65535) if serial_port else None,
        whole_number("--ssh-port", ssh_port, 1, 65535) if ssh_port else None,
        whole_number("--timeout", timeout or "600", 1, _DAY),
    )
    if resume:
        result = emulating.resume(resume, options, reporter)
        if result.is_up:
            emulating.set_clock_or_warn(
                lambda: resolve.endpoint_of("emulator", identity or None), reporter
            )
    else:
        result = emulating.emulate(options, reporter)
    print_result(result, json)


@task(
    auto_shortflags=False,
    positional=["target"],
    help={
        "json": _JSON,
        "target": "a target of bootwright.toml, or emulator",
        "via": "serial, ssh, or auto (default): SSH when it answers, else serial",
        "port": _PORT,
        "baud": _BAUD,
        "identity": _IDENTITY,
        "passphrase-file": "file with the passphrase; only you may read it (- for standard input)",
        "timeout": "seconds for the whole (default: 300)",
        "transcript": _TRANSCRIPT,
        "all-tries": "use even the last try that the boot allows",
        "watch": "stay, and unlock at every boot",
    },
)
def unlock(
    _: Context,
    target: TargetName,
    via: UnlockVia = "auto",
    port: File = "",
    baud: str = "",
    identity: File = "",
    passphrase_file: File = "",
    timeout: str = "300",
    transcript: File = "",
    all_tries: bool = False,
    watch: bool = False,
    json: bool = False,
) -> None:
    """Open a board's encrypted volume: at its serial prompt, or over SSH."""
    from bootwright.core.io.ask import terminal
    from bootwright.core.io.secret_input import another_from_keyboard, read_passphrase
    from bootwright.core.report import TextReporter
    from bootwright.hosts import resolve
    from bootwright.volume import unlock as unlocking
    from bootwright.volume.unlock_watch import watch as stay

    options = unlocking.options_of(
        via=via,
        timeout=whole_number("--timeout", timeout, 1, _DAY),
        all_tries=all_tries,
        transcript=transcript or None,
        watch=watch,
        json=json,
    )
    endpoint = resolve.endpoint_of(target, identity or None, port or None, _baud(baud))
    unlocking.check_reachable(endpoint, options)
    unlocking.check_serial_port(endpoint, options, given=bool(port))
    configured = resolve.target_of(target)
    passphrase = read_passphrase(configured, passphrase_file or None, twice=False)
    if watch:
        stay(endpoint, passphrase, TextReporter(), options, ask=terminal()).check()
        return
    another = another_from_keyboard(configured, passphrase_file or None)
    result = unlocking.unlock(
        endpoint, passphrase, TextReporter(), options, another=another, ask=terminal()
    )
    if json or result.ok:
        print_result(result, json)
    result.check()


@task(
    auto_shortflags=False,
    positional=["target"],
    help={
        "target": "a target of bootwright.toml, or emulator",
        "port": _PORT,
        "baud": _BAUD,
        "transcript": _TRANSCRIPT,
    },
)
def console(
    _: Context, target: TargetName, port: File = "", baud: str = "", transcript: File = ""
) -> None:
    """Work at a board's serial console; Ctrl-] leaves it."""
    from bootwright.console.io.terminal import work_at_console
    from bootwright.core.report import TextReporter
    from bootwright.hosts import resolve

    endpoint = resolve.endpoint_of(target, None, port or None, _baud(baud))
    work_at_console(endpoint, transcript or None, TextReporter())


@task(
    auto_shortflags=False,
    positional=["target"],
    help={
        "target": "a target of bootwright.toml, or emulator",
        "command": "run this instead of a shell; its exit code is passed through",
        "identity": _IDENTITY,
        "wait": _WAIT,
    },
)
def ssh(
    _: Context, target: TargetName, command: str = "", identity: File = "", wait: str = ""
) -> None:
    """Open a shell on a target, or run one command there."""
    from bootwright.hosts import resolve
    from bootwright.remote.io.openssh import ssh as connect
    from bootwright.remote.io.wait import wait_before_ssh

    endpoint = resolve.endpoint_of(target, identity or None)
    wait_before_ssh(endpoint, _wait(wait))
    code = connect(endpoint, command or None)
    if code:
        raise ChildStatus(code=code)


@task(
    auto_shortflags=False,
    positional=["transcript"],
    help={
        "transcript": "play this recording (a transcript or a console's raw log)",
        "speed": "play it so many times as fast (default: 1)",
        "passphrase-file": "without a recording: file with the right passphrase; only you may"
        " read it",
        "link": "make a symbolic link to the device here",
    },
)
def simulate(
    _: Context,
    transcript: File = "",
    speed: str = "1",
    passphrase_file: File = "",
    link: File = "",
) -> None:
    """Play a board's boot on a pseudo-terminal, for trying things out without hardware."""
    from pathlib import Path

    from bootwright.console.simulate import SimulateOptions
    from bootwright.console.simulate import simulate as play
    from bootwright.core.io.secret_input import read_passphrase
    from bootwright.core.report import TextReporter
    from bootwright.hosts import resolve

    passphrase = None
    if passphrase_file:
        passphrase = read_passphrase(resolve.target_of("emulator"), passphrase_file, twice=False)
    options = SimulateOptions(
        Path(transcript) if transcript else None,
        whole_number("--speed", speed, 1, 1000),
        passphrase,
        Path(link) if link else None,
    )
    play(options, lambda device: print(device, flush=True), TextReporter())


@task(
    auto_shortflags=False,
    positional=["target"],
    help={
        "json": _JSON,
        "target": "a target of bootwright.toml, or emulator",
        "identity": _IDENTITY,
        "wait": _WAIT,
    },
)
def status(
    _: Context, target: TargetName, identity: File = "", wait: str = "", json: bool = False
) -> None:
    """Show over SSH whether a board's encrypted volume is open, and who can open it."""
    from bootwright.core.io.ask import terminal
    from bootwright.hosts import resolve
    from bootwright.volume import status as reporting

    endpoint = resolve.endpoint_of(target, identity or None)
    print_result(reporting.status(endpoint, ask=terminal(), wait=_wait(wait)), json)


@task(
    auto_shortflags=False,
    positional=["target", "action"],
    help={
        "json": _JSON,
        "target": "a target of bootwright.toml, or emulator",
        "action": "change, add or remove",
        "identity": _IDENTITY,
        "passphrase-file": "file with the passphrase that exists (with remove: that stays)",
        "new-passphrase-file": "file with the new passphrase, for change and add",
        "old-passphrase-file": "file with the passphrase to remove",
        "wait": _WAIT,
    },
)
def passphrase(
    _: Context,
    target: TargetName,
    action: PassphraseAction,
    identity: File = "",
    passphrase_file: File = "",
    new_passphrase_file: File = "",
    old_passphrase_file: File = "",
    wait: str = "",
    json: bool = False,
) -> None:
    """Change, add or remove a passphrase of a board's encrypted volume, over SSH."""
    from bootwright.core.io.ask import terminal
    from bootwright.core.report import TextReporter
    from bootwright.hosts import resolve
    from bootwright.volume import keyslots

    endpoint, configured = resolve.endpoint_of(target, identity or None), resolve.target_of(target)
    files = keyslots.PassphraseFiles(
        passphrase_file or None, new_passphrase_file or None, old_passphrase_file or None
    )
    result = keyslots.change_keyslots(
        endpoint,
        action,
        keyslots.read_passphrases(action, configured, files),
        keyslots.kdf_of(configured),
        reporter=TextReporter(),
        ask=terminal(),
        wait=_wait(wait),
    )
    print_result(result, json)


@task(
    auto_shortflags=False,
    positional=["target"],
    iterable=["target"],
    help={
        "json": _JSON,
        "target": "a target of bootwright.toml, or emulator; --target may be left out",
        "group": "all targets whose groups name this",
        "parallel": "boards at a time (default: 8)",
        "dry-run": "show the plan and change nothing",
        "diff": "show a unified diff of every file",
        "upgrade": "bring all packages up to date, although they were once",
        "reboot": "restart a board where a new kernel needs it (default)",
        "migrate-userns": "switch user namespaces or storage driver though there are containers",
        "passphrase-file": "file with the volume's passphrase, for a restart; only you may read it",
        "sudo-password-file": "file with the password that sudo asks for; only you may read it",
        "rollback-after": "seconds after which a board takes an unconfirmed change back"
        " (default: 600)",
        "wait": _WAIT,
        "logs": "ship logs to this server, instead of the target's",
        "identity": _IDENTITY,
    },
)
def provision(
    _: Context,
    target: TargetNames = None,
    group: GroupName = "",
    parallel: str = "8",
    dry_run: bool = False,
    diff: bool = False,
    upgrade: bool = False,
    reboot: bool = True,
    migrate_userns: bool = False,
    passphrase_file: File = "",
    sudo_password_file: File = "",
    rollback_after: str = "600",
    wait: str = "",
    logs: str = "",
    identity: File = "",
    json: bool = False,
) -> None:
    """Make boards hardened Docker hosts; if something fails, they are put back as they were."""
    from bootwright.provision.command import ProvisionRequest, provision_targets
    from bootwright.provision.one_board import ProvisionOptions

    request = ProvisionRequest(
        names=tuple(target or ()),
        group=group or None,
        options=ProvisionOptions(
            dry_run=dry_run,
            confirm_s=whole_number("--rollback-after", rollback_after, 60, _DAY),
            wait=_wait(wait),
        ),
        identity=identity or None,
        passphrase_file=passphrase_file or None,
        sudo_password_file=sudo_password_file or None,
        upgrade=upgrade,
        reboot=reboot,
        migrate_userns=migrate_userns,
        parallel=whole_number("--parallel", parallel, 1, 1000),
        logs=logs or None,
        diff=diff,
    )
    results = provision_targets(request)
    print_result(results, json)
    if len(results.targets) == 1 and results.targets[0].error is not None:
        raise results.targets[0].error
    if results.exit_code:
        raise Exit(code=results.exit_code)


@task(
    auto_shortflags=False,
    positional=["target"],
    iterable=["target"],
    help={
        "json": _JSON,
        "target": "a target of bootwright.toml, or emulator; --target may be left out",
        "group": "all targets whose groups name this",
        "parallel": "boards at a time (default: 16)",
        "benchmark": "the numbering that is shown: 1.6.0 (default), 1.11.0, 1.2.0, 1.7.0, 1.8.0",
        "format": "text (default), json, junit, sarif or html",
        "baseline": "an earlier audit (--json) of the same targets to compare with",
        "fail-on": "what ends with 4: warn (a check warns, or could not be evaluated), regression"
        " (one got worse, or a finding is new), or never (default)",
        "output": "file for the report, instead of standard output",
        "waivers": "the waivers to use, instead of the checkout's waivers.toml",
        "sudo-password-file": "file with the password that sudo asks for; only you may read it",
        "wait": _WAIT,
        "identity": _IDENTITY,
    },
)
def audit(
    _: Context,
    target: TargetNames = None,
    group: GroupName = "",
    parallel: str = "16",
    benchmark: BenchmarkVersion = "",
    format: ReportFormat | None = None,
    baseline: File = "",
    fail_on: FailOn = "never",
    output: File = "",
    waivers: File = "",
    sudo_password_file: File = "",
    wait: str = "",
    identity: File = "",
    json: bool = False,
) -> None:
    """Check boards against the CIS Docker Benchmark, in one round trip each."""
    from bootwright.audit import command
    from bootwright.audit.report.text import print_lines
    from bootwright.audit.run import AuditRequest, audit_targets
    from bootwright.core import paths

    options = command.options_of(format, json, fail_on, baseline or None, output or None)
    audited = audit_targets(
        AuditRequest(
            names=tuple(target or ()),
            group=group or None,
            identity=identity or None,
            sudo_password_file=sudo_password_file or None,
            wait=_wait(wait),
            parallel=whole_number("--parallel", parallel, 1, 1000),
            benchmark=benchmark or None,
            waivers=waivers or None,
        )
    )
    alone = audited[0].error if len(audited) == 1 else None
    if alone is not None and options.output is None:
        raise alone
    compared = command.comparisons_of(audited, options.baseline)
    results = command.AuditResults(tuple(audited), compared)
    text = command.report(results, options.form, paths.checkout() / "templates")
    if options.output is not None:
        command.write_report(options.output, text)
    elif options.form == "text":
        print_lines(text.splitlines())
    else:
        print(text, end="")
    why, code = command.failure(results, options.fail_on)
    if code:
        raise Exit(f"error: {why}", code=code)


@task(
    auto_shortflags=False,
    positional=["action", "target"],
    iterable=["target"],
    help={
        "json": _JSON,
        "action": "show, issue (a target's), client (an operator's or CI's) or reissue",
        "target": "issue: the target; client: the client's name; --target may be left out",
        "without": "reissue: the client or target that gets nothing (default: all get new ones)",
        "renew": "issue, client: make new ones even where nothing is due",
    },
)
def pki(
    _: Context,
    action: PkiAction,
    target: TargetNames = None,
    without: str = "",
    renew: bool = False,
    json: bool = False,
) -> None:
    """Make and show the certificates for Docker's remote API and for log shipping."""
    from datetime import UTC, datetime

    from bootwright.pki import command

    options = command.options_of(action, tuple(target or ()), without or None, renew)
    print_result(command.pki(options, datetime.now(UTC)), json)


@task(
    auto_shortflags=False,
    positional=["action", "target"],
    iterable=["target"],
    help={
        "json": _JSON,
        "action": "serve (collect on this machine), tail (a board's records), check (disk space and"
        " the collector's certificate), web (a page), unit or compose (serve as a service of"
        " systemd, or in a container)",
        "target": "tail: a target, or emulator; --target may be left out",
        "container": "tail: a container's name, id or tag, or a program",
        "since": "tail: 10min, 2h, 3d, 2026-11-26 or 2026-11-26T08:30",
        "grep": "tail: a regular expression",
        "severity": "tail: this and worse: emerg, alert, crit, err, warning, notice, info, debug",
        "lines": "tail: so many at most (default: 50, or all with --since)",
        "follow": "tail: go on with what arrives",
        "listen": "serve: the address, instead of that in bootwright.toml",
        "port": "web: TCP port (default: a free one)",
        "user": "unit: who runs it (default: bootwright)",
    },
)
def logs(
    _: Context,
    action: LogsAction,
    target: TargetNames = None,
    container: str = "",
    since: str = "",
    grep: str = "",
    severity: SeverityName | None = None,
    lines: str = "",
    follow: bool = False,
    listen: str = "",
    port: str = "",
    user: str = "",
    json: bool = False,
) -> None:
    """Collect the logs of boards, and read them: logs serve, logs tail TARGET, logs web.

    logs check shows how much disk space each board uses, and how long the collector's certificate
    is valid; its status is 4 if something is wrong.
    """
    from datetime import UTC, datetime

    from bootwright.core.errors import FailedError
    from bootwright.core.report import TextReporter
    from bootwright.logs import tail
    from bootwright.logs.command import (
        board_of,
        check,
        check_action,
        compose,
        serve,
        serve_web_page,
        show_trouble,
        trouble_now,
        unit,
    )

    given = {
        **{"container": container, "since": since, "grep": grep, "severity": severity},
        **{"lines": lines, "follow": follow, "listen": listen, "port": port, "user": user},
        "json": json,
    }
    targets = tuple(target or ())
    check_action(action, targets, given)
    if action == "serve":
        serve(TextReporter(), listen or None)
    elif action == "web":
        serve_web_page(whole_number("--port", port or "0", 0, 65535))
    elif action == "check":
        checked = check()
        print_result(checked, json)
        if not checked.good:
            raise Exit(code=FailedError.exit_code)
    elif action in ("unit", "compose"):
        named = user or "bootwright"
        print(unit(named, TextReporter()) if action == "unit" else compose(), end="")
    else:
        options = tail.options_of(
            container=container,
            since=since,
            grep=grep,
            severity=severity or "",
            lines=whole_number("--lines", lines, 1, tail.MAX_RECORDS) if lines else None,
            follow=follow,
            json=json,
            now=datetime.now(UTC),
        )
        store, board = board_of(targets[0])
        show_trouble(store, board, TextReporter())
        if follow:
            tail.follow(store, board, options, lambda: trouble_now(store, board))
        result = tail.last_records(store, board, options)
        if not result.records:
            TextReporter().note(f"no record of {board} is like that")
        print_result(result, json)


@task(auto_shortflags=False, help={"json": _JSON})
def profile(_: Context, json: bool = False) -> None:
    """Show every setting that provisioning applies, and why (Markdown, as in docs/profile.md)."""
    from bootwright.core import paths
    from bootwright.hosts.profile import load_profile
    from bootwright.provision.profile_doc import ProfileResult

    print_result(ProfileResult(load_profile(paths.checkout() / "profiles")), json)


@task(auto_shortflags=False, help={"json": _JSON})
def doctor(_: Context, json: bool = False) -> None:
    """Show what this machine has or lacks: tools, space, keys, groups, valid configuration."""
    import sys

    from bootwright.card.references import check_references
    from bootwright.core import paths
    from bootwright.core.doctor import doctor as examine
    from bootwright.core.doctor import show
    from bootwright.core.doctor_report import Configuration
    from bootwright.core.listing import check_config

    root = paths.checkout()
    checked = check_config(root, lambda one: check_references(root, one))
    report = examine(Configuration(len(checked.targets), checked.wrong))
    if json:
        print_result(report, json)
    else:
        show(report, sys.stdout)
    if report.exit_code:
        raise Exit(code=report.exit_code)


def _wait(text: str) -> float | None:
    """Return the seconds of ``--wait``; ``None`` if it is not given."""
    return whole_number("--wait", text, 0, _DAY) if text else None


def _baud(text: str) -> int | None:
    return whole_number("--baud", text, 50, 4_000_000) if text else None


namespace = Collection(
    flash,
    config,
    init,
    targets,
    boards,
    emulate,
    unlock,
    status,
    passphrase,
    provision,
    audit,
    profile,
    pki,
    logs,
    console,
    ssh,
    doctor,
    simulate,
)

replace_invoke(namespace)
