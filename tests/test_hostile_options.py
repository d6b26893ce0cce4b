"""No value of any option of any task is answered as a bug of ours (exit code 70).

An empty value is wrong input of every option (2): it comes from a variable that is not set.
"""

import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from invoke.parser.argument import Argument
from invoke.parser.context import ParserContext
from pydantic import BaseModel

import bootwright
from bootwright.card.flash import FlashOptions, flash
from bootwright.core import paths
from bootwright.core.cli import OUR_BUG
from bootwright.core.command_line import flag_of, is_required
from bootwright.core.config import Target
from bootwright.core.errors import BootwrightError, InputError
from bootwright.core.program import Program, load_tasks
from bootwright.core.report import TextReporter
from bootwright.hosts import resolve
from tests.support.bench import copy_checkout

HOSTILE = (
    "",
    "9" * 5000,
    "a:22",
    "-٣",
    'a"b?\nc',
    "\udcff",
    "~nobody-here/x",
    "/",
    "*[({{ 7 }} %s",
)
"""Values that somebody types, or that a script passes on by mistake."""

SECONDS = 0.5
"""What goes on for longer than this has accepted its options: a server, a simulated board."""

TARGETS = """
[targets.small]
board = "odroid-xu3"
rootfs = "debian"
host = "127.0.0.1"
port = 9
serial_port = "/dev/null"
"""

POSITIONAL = {"action": "show", "device": "card.img", "transcript": "none"}
"""Values of the arguments that a task needs; the others are the name of the target."""

USUAL = {
    "flash": ("--target=small", "--dry-run", "--rootfs-file=/dev/null"),
    "unlock": ("--timeout=1",),
}
"""Options with which a task gets as far as to look at the others."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with a target."""
    folder = tmp_path_factory.mktemp("hostile") / "checkout"
    copy_checkout(folder, TARGETS)
    return folder


@pytest.fixture
def place(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and a folder to work in: nothing else is touched."""
    (root / "bootwright.toml").write_text(TARGETS)
    monkeypatch.setattr(paths, "checkout", lambda: root)
    monkeypatch.chdir(tmp_path)
    for name, folder in (
        ("HOME", "home"),
        ("BOOTWRIGHT_CACHE", "cache"),
        ("BOOTWRIGHT_BUILD", "build"),
        ("BOOTWRIGHT_PKI", "pki"),
        ("BOOTWRIGHT_LOGS", "logs"),
    ):
        monkeypatch.setenv(name, str(tmp_path / folder))
    return tmp_path


def argv_of(task: ParserContext, option: Argument, value: str) -> list[str]:
    """Return a command line with ``value``, and usual values for what else the task needs."""
    given = [*USUAL.get(str(task.name), ())]
    given += [] if is_required(option) else [f"{flag_of(option)}={value}"]
    words = [
        value if argument is option else POSITIONAL.get(str(argument.name), "small")
        for argument in task.positional_args
        if is_required(argument)
    ]
    return ["inv", task.name or "", *given, "--", *words]


def end_of(argv: list[str], output: Path) -> int | None:
    """Run a command line in a process of its own; return its status, or ``None`` if it goes on."""
    child = os.fork()
    if child == 0:
        gc.disable()  # it would write to, and so copy, all memory of the parent
        try:
            signal.setitimer(signal.ITIMER_REAL, SECONDS)
            null, out = os.open(os.devnull, os.O_RDONLY), os.open(output, os.O_WRONLY | os.O_CREAT)
            for number, stream in ((0, null), (1, out), (2, out)):
                os.dup2(stream, number)
            sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            status = Program().run_line(argv)
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException as error:
            os.write(2, repr(error).encode())
            status = OUR_BUG
        os._exit(status)
    status = os.waitpid(child, 0)[1]
    return None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)


def config_keys(model: type[BaseModel], before: str = "") -> Iterator[str]:
    """Yield the keys of a table in bootwright.toml, those of its tables with dots."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from config_keys(field.annotation, f"{before}{name}.")
        elif name != "name":
            yield f"{before}{name}"


@pytest.mark.parametrize("key", list(config_keys(Target)))
def test_no_value_of_a_target_is_a_bug_of_ours(key: str, place: Path) -> None:
    options = FlashOptions("card.img", target="small", rootfs_file="/dev/null", dry_run=True)
    texts = [json.dumps(value) for value in (*HOSTILE[:-4], *HOSTILE[-3:], "a\0b")]
    for text in (*texts, "9" * 5000, "-1", "true", "1e400", "{ a = 1 }", "2026-11-30"):
        for value in (text, f"[{text}]"):
            lines = [line for line in TARGETS.splitlines() if not line.startswith(f"{key} ")]
            toml = "\n".join([*lines, f"{key} = {value}"])
            (paths.checkout() / "bootwright.toml").write_text(toml)
            with contextlib.suppress(BootwrightError, OSError):
                resolve.endpoint_of("small")
                flash(options, TextReporter(io.StringIO()))


TASKS = list(load_tasks(paths.checkout()).to_contexts())


@pytest.mark.parametrize("task", TASKS, ids=[task.name for task in TASKS])
def test_no_value_of_an_option_is_a_bug_of_ours(task: ParserContext, place: Path) -> None:
    for module in pkgutil.walk_packages(bootwright.__path__, "bootwright."):
        importlib.import_module(module.name)
    bugs = []
    for option in {id(argument): argument for argument in task.args.values()}.values():
        for value in HOSTILE if option.takes_value else ():
            output = place / "output"
            output.unlink(missing_ok=True)
            argv = argv_of(task, option, value)
            status = end_of(argv, output)
            printed = output.read_text(errors="replace")
            refused = status == InputError.exit_code and " is empty; " in printed
            if status == OUR_BUG or not (value or refused):
                bugs.append(f"{argv}: {printed[-600:]}")
    assert not bugs, "\n".join(bugs)
