"""Several targets on one command line, through Invoke's own parser."""

import subprocess
import sys
from typing import Any

import pytest
from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.program import Program
from invoke.tasks import task

from bootwright.core.cli_targets import take_many_targets
from bootwright.core.paths import checkout


class _Program(Program):
    """One that the test may change."""


take_many_targets(frozenset({"provision"}), _Program)

seen: list[tuple[str, Any]] = []


@task(auto_shortflags=False, iterable=["target"], help={"group": "all of a group"})
def provision(
    _: Context, target: Any = None, group: str = "", dry_run: bool = False, reboot: bool = True
) -> None:
    """Make boards Docker hosts."""
    seen.append(("provision", (list(target), group, dry_run, reboot)))


@task(auto_shortflags=False, positional=["target"])
def status(_: Context, target: str) -> None:
    """Show a board's state."""
    seen.append(("status", target))


@task(auto_shortflags=False, positional=["target", "action"])
def passphrase(_: Context, target: str, action: str, file: str = "") -> None:
    """Change a passphrase."""
    seen.append(("passphrase", (target, action, file)))


def run(line: str) -> list[tuple[str, Any]]:
    seen.clear()
    program = _Program(namespace=Collection(provision, status, passphrase), version="1")
    program.run(["inv", *line.split()], exit=False)
    return list(seen)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("provision a", [("provision", (["a"], "", False, True))]),
        ("provision a b c", [("provision", (["a", "b", "c"], "", False, True))]),
        ("provision a --dry-run b", [("provision", (["a", "b"], "", True, True))]),
        ("provision --group lab a", [("provision", (["a"], "lab", False, True))]),
        ("provision --group=lab", [("provision", ([], "lab", False, True))]),
        # A value that is a task's name, and one that looks like a target.
        ("provision --group status a", [("provision", (["a"], "status", False, True))]),
        ("provision a --no-reboot b", [("provision", (["a", "b"], "", False, False))]),
        ("provision --target a b", [("provision", (["a", "b"], "", False, True))]),
        (
            "provision a status b",
            [("provision", (["a"], "", False, True)), ("status", "b")],
        ),
        (
            "status a provision b",
            [("status", "a"), ("provision", (["b"], "", False, True))],
        ),
        # A target of a task that takes one may be called as a task is.
        ("status provision", [("status", "provision")]),
        (
            "status provision provision a b",
            [("status", "provision"), ("provision", (["a", "b"], "", False, True))],
        ),
        (
            "passphrase provision --file f add provision a",
            [("passphrase", ("provision", "add", "f")), ("provision", (["a"], "", False, True))],
        ),
        (
            "passphrase --target=x add provision a",
            [("passphrase", ("x", "add", "")), ("provision", (["a"], "", False, True))],
        ),
        # Invoke's own options, with a value and without.
        ("provision a -T 5 b", [("provision", (["a", "b"], "", False, True))]),
        ("provision a --command-timeout 5 b", [("provision", (["a", "b"], "", False, True))]),
        ("provision a --echo b", [("provision", (["a", "b"], "", False, True))]),
        ("-T 5 provision a", [("provision", (["a"], "", False, True))]),
        ("provision a -- b", [("provision", (["a"], "", False, True))]),
        ("provision", [("provision", ([], "", False, True))]),
    ],
)
def test_bare_words_are_targets(line: str, expected: list[tuple[str, Any]]) -> None:
    assert run(line) == expected


def test_other_tasks_still_take_one(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("status a b") == []
    assert "No idea what 'b' is" in capfd.readouterr().err


@pytest.mark.parametrize("line", ["provision --help", "--help provision"])
def test_help_is_help(line: str, capfd: pytest.CaptureFixture[str]) -> None:
    try:
        assert run(line) == []
    except Exit as exit:
        assert exit.code == 0
    shown = capfd.readouterr().out
    assert "Make boards Docker hosts." in shown


def test_help_texts_are_not_lost() -> None:
    # In a process of its own: Invoke takes the texts off a task the first time that it is parsed.
    argv = [sys.executable, "-m", "invoke", "--help", "provision"]
    done = subprocess.run(argv, cwd=checkout(), capture_output=True, text=True)
    assert "show the plan and change nothing" in done.stdout
