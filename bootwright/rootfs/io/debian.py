"""Building Debian root file systems with mmdebstrap, once for each recipe."""

import os
import platform
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bootwright.core.board import OtherSuite
from bootwright.core.errors import FailedError, InputError
from bootwright.core.io import process
from bootwright.core.io.fsync import move_into_place
from bootwright.core.io.lock import exclusive
from bootwright.core.report import Reporter
from bootwright.core.run_log import logged
from bootwright.core.shell import quote_words
from bootwright.rootfs.debian_plan import (
    KEYRING,
    STEP_PREFIX,
    AptSource,
    Recipe,
    binfmt_problem,
    failed_suites,
    is_absent,
    lacking_suite,
    mmdebstrap_argv,
    sources_of_host,
    sources_of_mirror,
    tar_name,
    unprivileged_problem,
)

RETRY_PAUSES_S = (3.0, 10.0)
"""Seconds before each further attempt to fetch a package index; a mirror may be being updated."""

INCOMPLETE_MAX_AGE_S = 24 * 3600.0
"""Seconds for which a tarball that lacks a suite is used before a complete one is tried again."""

OLD_AGE_S = 30 * 24 * 3600.0
"""Seconds after which the operator is informed how old the tarball in the cache is."""

KEPT_TARBALLS = 3
"""The number of tarballs in the cache; beyond it, the oldest one is removed."""

_APT = Path("/etc/apt")
_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_SHOWN_LINES = 15
"""Lines of mmdebstrap's output that an error message shows."""


def build(recipe: Recipe, cache_dir: Path, reporter: Reporter) -> Path:
    """Return an uncompressed tarball of the recipe's root file system; build it if it is absent.

    The index of the suite itself is required, and that of each suite in ``other_suites``. If the
    index of ``-updates`` or ``-security`` cannot be fetched, that suite is left out with a warning;
    the board's ``sources.list`` contains it anyway.

    Args:
        recipe: what to build.
        cache_dir: for the tarballs, and for ``*.log`` with mmdebstrap's output.
        reporter: shows the steps and warnings.

    Raises:
        InputError: neither a mirror nor an apt source of this machine has the suite.
        FailedError: this machine lacks something (the message has the commands that install it);
            a required index or a package cannot be fetched; or a package cannot be installed.
    """
    tarball = cached(recipe, cache_dir)
    if tarball is None:
        complete = cache_dir / tar_name(recipe)
        lock, busy = complete.with_suffix(".lock"), f"building {complete.name}"
        with exclusive(lock, busy, reporter.note):
            # Another run may have built it meanwhile.
            tarball = cached(recipe, cache_dir)
            if tarball is None:
                return _build(recipe, complete, reporter)
    if tarball.name != tar_name(recipe):
        reporter.warn(
            f"using {tarball.name}, which lacks a suite that could not be fetched when it was built"
        )
    days = (time.time() - tarball.stat().st_mtime) // 86400
    if days * 86400 >= OLD_AGE_S:
        reporter.note(
            f"{tarball.name} was built {days:.0f} days ago: upgrade the board's packages, or"
            f" remove {tarball} to build it again"
        )
    return tarball


def cached(recipe: Recipe, cache_dir: Path) -> Path | None:
    """Return the tarball that :func:`build` would use without building, if there is one."""
    tarball = cache_dir / tar_name(recipe)
    return tarball if tarball.is_file() else _recent_incomplete(tarball)


def apt_sources(recipe: Recipe, reporter: Reporter) -> tuple[AptSource, ...]:
    """Return where the recipe's packages come from: its mirror, or this machine's sources.

    Raises:
        InputError: neither has the recipe's suite.
        FailedError: Debian's keys are missing.
    """
    if recipe.mirror:
        sources = sources_of_mirror(recipe, recipe.mirror)
    else:
        sources = sources_of_host(recipe, _apt_files())
    found = [source.suite for source in sources]
    if recipe.suite not in found:
        raise InputError(
            f"this machine's apt sources do not have Debian {recipe.suite}: set `mirror` in"
            " bootwright.toml to the address of a Debian mirror"
        )
    if not Path(KEYRING).is_file():
        raise FailedError(
            f"{KEYRING}, Debian's keys, is missing: run scripts/setup, or install the package"
            " 'debian-archive-keyring'"
        )
    for suite in recipe.suites:
        if suite not in found:
            reporter.warn(f"this machine's apt sources lack {suite}, so the board gets none of it")
    return sources


def _recent_incomplete(tarball: Path) -> Path | None:
    """Return a recent tarball of the recipe that lacks a suite; ``None`` if there is none."""
    for path in tarball.parent.glob(f"{tarball.stem}-without-*.tar"):
        if time.time() - path.stat().st_mtime < INCOMPLETE_MAX_AGE_S:
            return path
    return None


def _build(recipe: Recipe, tarball: Path, reporter: Reporter) -> Path:
    mode = _mode()
    sources = apt_sources(recipe, reporter)
    for stale in tarball.parent.glob(f"{tarball.stem}*.tmp"):
        stale.unlink()
    missing: tuple[AptSource, ...] = ()
    while True:
        target = tarball.with_name(tar_name(recipe, [source.suite for source in missing]))
        used = [source for source in sources if source not in missing]
        failed = _try_build(recipe, mode, used, missing, target, reporter)
        if not failed:
            break
        missing += tuple(source for source in used if source.suite in failed)
    for other in tarball.parent.glob(f"{tarball.stem}-without-*.tar"):
        if other != target:
            other.unlink()
    _remove_old(target)
    return target


def _try_build(
    recipe: Recipe,
    mode: str,
    sources: Sequence[AptSource],
    missing: Sequence[AptSource],
    target: Path,
    reporter: Reporter,
) -> dict[str, str]:
    """Build ``target`` and return nothing, or return the suites that have to be left out.

    Each suite is returned with apt's reason why it cannot be fetched.
    """
    draft = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    log = target.with_suffix(".log")
    argv = mmdebstrap_argv(recipe, mode, str(draft), sources, missing)
    for pause in (*RETRY_PAUSES_S, None):
        try:
            _run(argv, log, reporter)
            move_into_place(draft, target)
            return {}
        except FailedError as error:
            output = log.read_text(encoding="utf-8", errors="replace")
            if other := lacking_suite(recipe, output):
                raise _lacks(recipe, other, log) from error
            failed = failed_suites(output)
            if not failed:
                raise
        finally:
            draft.unlink(missing_ok=True)
        reasons = "; ".join(f"{suite}: {reason}" for suite, reason in failed.items())
        if all(is_absent(reason) for reason in failed.values()):
            break
        if pause is not None:
            reporter.warn(
                f"a package index cannot be fetched, next attempt in {pause:.0f} s: {reasons}"
            )
            time.sleep(pause)
    required = [suite for suite in recipe.required_suites if suite in failed]
    if required:
        raise FailedError(
            f"the package index of Debian {' and '.join(required)} cannot be fetched: {reasons}\n"
            "The mirror may be being updated: try again later, or set `mirror` in"
            f" bootwright.toml to another one. The complete output: {log}"
        )
    reporter.warn(
        f"building without {' and '.join(failed)}, whose package index cannot be fetched:"
        f" {reasons}. The board's apt sources contain it: upgrade the packages there when the"
        " mirror works again"
    )
    return failed


def _lacks(recipe: Recipe, other: OtherSuite, log: Path) -> FailedError:
    return FailedError(
        f"the board needs {' and '.join(other.packages)} from"
        f" {other.suite}/{'+'.join(other.components)} (board.toml, other_suites); this mirror does"
        " not have it: set `mirror` in bootwright.toml to one that has both suites,"
        f" {recipe.suite} and {other.suite}. The complete output: {log}"
    )


def _run(argv: Sequence[str], log_path: Path, reporter: Reporter) -> None:
    with log_path.open("w", encoding="utf-8") as log, ExitStack() as step:
        log.write(f"{quote_words(argv)}\n")
        result = step.enter_context(logged("process", argv[0], argv=argv, output=log_path))
        stage = step.enter_context(ExitStack())
        stage.enter_context(reporter.step("Fetch Debian's package index"))
        # In its own process group, so that _end can signal all of its processes.
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=process.environment(),
            encoding="utf-8",
            errors="replace",
            process_group=0,
        )
        assert child.stdout is not None
        try:
            for line in child.stdout:
                log.write(line)
                if line.startswith(STEP_PREFIX):
                    stage.close()
                    stage.enter_context(reporter.step(line.removeprefix(STEP_PREFIX).strip()))
            result["status"] = status = child.wait()
        except BaseException:
            _end(child)
            raise
        if status != 0:
            log.flush()
            raise _failure(status, log_path)


def _end(child: subprocess.Popen[str]) -> None:
    """End mmdebstrap; it gets time to unmount and to remove its files."""
    os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _failure(status: int, log_path: Path) -> FailedError:
    lines = log_path.read_text(encoding="utf-8", errors="replace").splitlines()
    shown = "\n".join(f"  {line[:300]}" for line in lines[-_SHOWN_LINES:])
    return FailedError(
        f"mmdebstrap failed (exit {status}). Its last lines:\n{shown}\n"
        f"The complete output, after the command itself: {log_path}"
    )


def _apt_files() -> dict[str, str]:
    parts = _APT / "sources.list.d"
    files = [_APT / "sources.list", *parts.glob("*.list"), *parts.glob("*.sources")]
    return {
        path.name: path.read_text(encoding="utf-8", errors="replace")
        for path in files
        if path.is_file()
    }


def _mode() -> str:
    """Return the mode of mmdebstrap for this user: ``root`` or ``unshare``.

    Raises:
        FailedError: this machine lacks something that building needs.
    """
    search = process.environment()["PATH"]
    # openssl computes the names of the links to the certificate authorities.
    for tool in ("mmdebstrap", "dpkg", "openssl"):
        if shutil.which(tool, path=search) is None:
            raise process.missing_tool(tool)
    registration = _BINFMT / "qemu-arm"
    problem = binfmt_problem(
        platform.machine(),
        (_BINFMT / "status").exists(),
        registration.read_text(encoding="ascii") if registration.exists() else None,
    )
    if problem is None and os.geteuid() != 0:
        problem = unprivileged_problem(
            user=_user_name(),
            newuidmap=shutil.which("newuidmap", path=search) is not None,
            subuid=Path("/etc/subuid").read_text(encoding="utf-8")
            if Path("/etc/subuid").exists()
            else "",
            namespaces=process.run(["unshare", "--user", "true"], check=False).returncode == 0,
        )
    if problem is not None:
        raise FailedError(problem)
    return "root" if os.geteuid() == 0 else "unshare"


def _user_name() -> str:
    """Return the name of this process's user, as in /etc/subuid; its number if it has no name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _remove_old(current: Path) -> None:
    tarballs = sorted(current.parent.glob("debian-*.tar"), key=lambda path: path.stat().st_mtime)
    for old in tarballs[:-KEPT_TARBALLS]:
        if old != current:
            old.with_suffix(".log").unlink(missing_ok=True)
            old.unlink()
