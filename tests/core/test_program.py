"""The program behind ``inv`` and ``bootwright``: which checkout, how a run ends, other ``inv``s."""

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from bootwright import __version__
from bootwright.core import paths
from bootwright.core.errors import FailedError, InputError, RefusedError
from bootwright.core.paths import checkout
from bootwright.core.program import Program, is_checkout, load_tasks, use_checkout, wanted_checkout

BIN = Path(sys.executable).parent
ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}


def run(
    *argv: str, program: str = "bootwright", cwd: Path = Path("/"), **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / program, *argv],
        cwd=cwd,
        env={**ENVIRONMENT, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Something that looks like a checkout, which was not set up."""
    root = tmp_path / "other"
    (root / "bootwright").mkdir(parents=True)
    (root / "tasks.py").touch()
    return root


def set_up(root: Path) -> None:
    """Give a checkout a program that prints how it is called."""
    program = root / ".venv" / "bin" / "bootwright"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "the other:" "$@"\n')
    program.chmod(0o755)


# How a run ends


def _end(error: BaseException) -> Program:
    @task
    def fails(_: Context) -> NoReturn:
        """End with the error."""
        raise error

    return Program(Collection(fails))


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InputError("x"), 2, "error: x\n"),
        (RefusedError("x"), 3, "error: x\n"),
        (FailedError("a\x1b[2Jb"), 4, "error: a\N{REPLACEMENT CHARACTER}[2Jb\n"),
        (PermissionError(13, "Permission denied", "/x"), 4, "error: [Errno 13] Permission denied:"),
        (KeyboardInterrupt(), 4, "interrupted\n"),
        (Exit(code=7), 7, ""),
        (Exit("why", code=4), 4, "why\n"),
        (ValueError("ours"), 70, "error: this is a bug of bootwright;"),
    ],
)
def test_an_error_becomes_a_message_and_an_exit_code(
    error: BaseException,
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BOOTWRIGHT_BUILD", str(tmp_path))  # for the log of a bug
    assert _end(error).run_line(["inv", "fails"]) == code
    printed = capsys.readouterr()
    assert message in printed.err
    assert bool(printed.err) == bool(message)
    assert printed.out == ""
    assert ("Traceback" in printed.err) == (code == 70)


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [
        ({"TERM": "xterm"}, True),
        ({}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "0"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_errors_are_in_colour_only_on_a_terminal_that_has_it(
    environment: dict[str, str], coloured: bool
) -> None:
    main, other = pty.openpty()
    done = subprocess.Popen(
        [BIN / "inv", "nonsense"], cwd=checkout(), env={**ENVIRONMENT, **environment}, stderr=other
    )
    os.close(other)
    assert done.wait() == 2
    printed = os.read(main, 4096)
    os.close(main)
    assert b"no task 'nonsense'" in printed
    assert (b"\x1b" in printed) == coloured


def test_a_closed_standard_output_is_not_reported_as_a_bug() -> None:
    listed = subprocess.Popen(
        [BIN / "inv", "profile"], cwd=checkout(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert listed.stdout is not None and listed.stderr is not None
    listed.stdout.close()
    assert b"Traceback" not in listed.stderr.read()
    listed.stderr.close()
    assert listed.wait() == 4


@pytest.mark.parametrize("streams", ["<&-", "<&- >&-", "</dev/null"])
def test_closed_streams_and_letters_that_the_locale_lacks_are_no_bug(
    streams: str, tmp_path: Path
) -> None:
    missing = tmp_path / "карта"
    argv = (BIN / "inv", "flash", "--device", tmp_path / "x.img", "--passphrase-file", missing)
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {streams}', "sh", *argv],
        cwd=checkout(),
        env={
            **ENVIRONMENT,
            "HOME": str(tmp_path),
            "BOOTWRIGHT_BUILD": str(tmp_path),
            "PYTHONIOENCODING": "iso-8859-1",
        },
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 2
    assert "\\u043a\\u0430\\u0440\\u0442\\u0430: cannot read it" in done.stderr


def test_a_user_without_an_entry_in_passwd_has_to_set_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    for text in ("~", "~/x"):
        with pytest.raises(InputError, match=r"your home directory is not known.*set HOME"):
            paths.expand_user(text)
    with pytest.raises(InputError, match="there is no user 'nobody-here'"):
        paths.expand_user("~nobody-here/x")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.expand_user("~/x") == tmp_path / "x"


# What is printed without a task


@pytest.mark.parametrize("program", ["inv", "bootwright"])
def test_version(program: str) -> None:
    done = run("--version", program=program)
    assert (done.stdout, done.returncode) == (f"Bootwright {__version__}\n", 0)


def test_the_version_after_a_task_runs_no_task(capsys: pytest.CaptureFixture[str]) -> None:
    for line in (["config", "-V"], ["flash", "x.img", "--version"], ["unlock", "-V"]):
        assert Program().run_line(["inv", *line]) == 0
        assert capsys.readouterr().out == f"Bootwright {__version__}\n"


def test_help_of_every_task_before_and_after_its_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = sorted(load_tasks(checkout()).task_names)
    assert {"flash", "provision", "unlock"} <= set(names)
    for name in names:
        assert Program().run_line(["inv", name, "--help"]) == 0
        after = capsys.readouterr().out
        assert after.startswith(f"Usage: inv {name} ")
        assert Program().run_line(["inv", "--help", name]) == 0
        assert capsys.readouterr().out == after
        assert Program().run_line(["inv", "--list"]) == 0
        assert f"\n  {name} " in capsys.readouterr().out


def test_help_shows_every_option_with_its_value_and_description(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert Program().run_line(["inv", "provision", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Usage: inv provision [TARGET …]" in text
    assert "--dry-run show the plan and change nothing" in text
    assert "--[no-]reboot restart a board" in text
    assert "--identity=FILE private key file" in text
    assert "--group=GROUP all targets whose groups name this" in text
    assert "--target=TARGET a target of bootwright.toml" in text  # one that can be repeated


def test_without_a_task_the_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert Program().run_line(["inv"]) == 0
    bare = capsys.readouterr().out
    assert (
        "--checkout=FOLDER " in bare
        and "-h [TASK], --help[=TASK] " in bare
        and "\n  flash " in bare
    )
    assert Program().run_line(["inv", "--help"]) == 0
    assert capsys.readouterr().out == bare


def test_help_for_an_unknown_task_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert Program().run_line(["inv", "--help", "flsh"]) == 2
    assert "no task 'flsh'; did you mean flash?" in capsys.readouterr().err


# Which checkout


def test_the_checkout_is_the_named_one_or_the_current_one_or_the_programs_own(
    tmp_path: Path, other: Path
) -> None:
    own = checkout()
    inside = other / "docs"
    inside.mkdir()
    here = {"CHECKOUT_": "x"}
    assert wanted_checkout(None, here, tmp_path, own) == own
    assert wanted_checkout(None, here, inside, own) == other
    named = {"BOOTWRIGHT_CHECKOUT": str(other)}
    assert wanted_checkout(None, named, tmp_path, own) == other
    assert wanted_checkout(None, {"BOOTWRIGHT_CHECKOUT": str(own)}, inside, own) == own
    assert wanted_checkout(str(own), named, inside, tmp_path) == own
    assert wanted_checkout("other", {}, tmp_path, own) == other
    assert wanted_checkout("..", {}, inside, own) == other
    with pytest.raises(InputError, match="there is no checkout of Bootwright here"):
        wanted_checkout(None, {}, tmp_path, tmp_path)
    with pytest.raises(InputError, match="--checkout: docs is not a checkout"):
        wanted_checkout("docs", {}, other, own)
    with pytest.raises(InputError, match="BOOTWRIGHT_CHECKOUT: /nonexistent is not a checkout"):
        wanted_checkout(None, {"BOOTWRIGHT_CHECKOUT": "/nonexistent"}, other, own)


def test_a_checkout_has_tasks_and_the_package(tmp_path: Path) -> None:
    assert is_checkout(checkout())
    (tmp_path / "tasks.py").touch()
    assert not is_checkout(tmp_path)


@pytest.mark.parametrize("program", ["inv", "bootwright"])
def test_from_anywhere_its_own_checkout_is_used(program: str, tmp_path: Path) -> None:
    done = run("config", "odroid", program=program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"odroid-xu3"' in done.stdout


def test_another_checkout_is_run_by_its_own_program(other: Path) -> None:
    set_up(other)
    assert run("flash", "--yes", cwd=other).stdout == "the other: flash --yes\n"
    assert run("list", BOOTWRIGHT_CHECKOUT=str(other)).stdout == "the other: list\n"
    done = run("--checkout", str(other), "config", "a b")
    assert done.stdout == f"the other: --checkout {other} config a b\n"
    done = run("--checkout", str(checkout()), "--list", cwd=other)
    assert "flash" in done.stdout and "the other" not in done.stdout


def test_for_a_checkout_without_setup_the_error_names_the_setup_script(other: Path) -> None:
    done = run("--list", cwd=other)
    assert done.returncode == 2
    assert done.stderr == f"error: {other} is not set up: run {other}/scripts/setup\n"


def test_a_copied_venv_does_not_start_itself_forever(other: Path) -> None:
    (other / ".venv").symlink_to(BIN.parent)
    done = run("--list", cwd=other)
    assert done.returncode == 2
    assert "is not set up" in done.stderr


@pytest.mark.parametrize("stranger", [False, True])
def test_root_writes_no_bytecode_into_a_users_checkout(
    stranger: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(os, "geteuid", lambda: checkout().stat().st_uid + stranger)
    use_checkout(str(checkout()), ["inv"])
    assert sys.dont_write_bytecode == stranger


# Another inv, such as the distribution's


@pytest.mark.parametrize("line", [["flash", "--device"], ["status", "a", "b"], ["--nonsense"]])
def test_another_inv_behaves_as_ours_in_a_checkout(line: list[str]) -> None:
    def end(*argv: str) -> tuple[int, str, str]:
        done = subprocess.run([*argv, *line], cwd=checkout(), capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    ours = end(str(BIN / "inv"))
    assert ours[0] == 2
    assert end(sys.executable, "-m", "invoke") == ours
    assert end(str(BIN / "invoke")) == ours


def test_another_inv_runs_tasks_of_the_checkout_that_it_is_in(tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    for name in ("bootwright", "board", "rootfs"):
        shutil.copytree(checkout() / name, root / name)
    shutil.copy(checkout() / "tasks.py", root)
    (root / "bootwright.toml").write_text('[targets.only-here]\nboard = "odroid-xu3"\n')
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "config", "only-here"],
        cwd=root / "board",
        env={**ENVIRONMENT, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert '"only-here"' in done.stdout or "targets.only-here: rootfs: missing" in done.stderr


def test_configuration_files_of_invoke_have_no_effect(tmp_path: Path) -> None:
    (tmp_path / ".invoke.yaml").write_text(
        "tasks:\n  auto_dash_names: false\n  executor_class: nosuch.Executor\n"
    )
    done = run("flash", "--dry-run", "--device", "/nonexistent/x", HOME=str(tmp_path))
    assert done.returncode == 2
    assert "/nonexistent" in done.stderr


# What a run imports


LARGE = {"aiohttp", "cryptography", "fabric", "jinja2", "paramiko", "rich", "serial"}


@pytest.mark.parametrize(
    ("line", "unneeded"),
    [
        (["--list"], {*LARGE, "pydantic"}),
        (["flash", "--help"], {*LARGE, "pydantic"}),
        (["--complete", "--", "unlock", ""], {*LARGE, "pydantic"}),
        (["config", "odroid"], LARGE),
    ],
)
def test_quick_commands_import_no_large_library(line: list[str], unneeded: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", BIN / "inv", *line],
        cwd=checkout(),
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {name.rpartition("|")[2].strip() for name in done.stderr.splitlines()}
    assert "invoke.program" in imported
    assert {name.partition(".")[0] for name in imported} & unneeded == set()
