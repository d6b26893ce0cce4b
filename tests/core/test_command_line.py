"""Reading a command line: tasks, options, words without an option's name, and what is wrong."""

import copy
from typing import Any, Literal

import pytest
from invoke.collection import Collection
from invoke.context import Context
from invoke.tasks import task

from bootwright.core.command_line import Parser, usage
from bootwright.core.errors import InputError
from bootwright.core.options import File, GroupName, TargetName, TargetNames
from bootwright.core.program import Program, task_options

Action = Literal["change", "add", "remove"]


@task(auto_shortflags=False, positional=["target"], iterable=["target"])
def provision(
    _: Context,
    target: TargetNames = None,
    group: GroupName = "",
    dry_run: bool = False,
    reboot: bool = True,
) -> None:
    """Make boards Docker hosts."""


@task(auto_shortflags=False, positional=["target"], help={"target": "a target of the file"})
def status(_: Context, target: TargetName) -> None:
    """Show a board's state."""


@task(auto_shortflags=False, positional=["target", "action"])
def passphrase(_: Context, target: TargetName, action: Action, file: File = "") -> None:
    """Change a passphrase."""


@task(auto_shortflags=False, positional=["device"], iterable=["key"], help={"device": "the card"})
def flash(_: Context, device: File = "", key: Any = None, yes: bool = False) -> None:
    """Make a card."""


@task(auto_shortflags=False, positional=["action", "target"], iterable=["target"])
def pki(_: Context, action: Literal["show", "issue"], target: TargetNames = None) -> None:
    """Make certificates."""


def read(line: str) -> list[tuple[str, Any]]:
    """Return each task that a command line calls, with the options that differ from nothing."""
    return read_words(line.split())


def read_words(words: list[str]) -> list[tuple[str, Any]]:
    """Return the same of a command line that is split into words already."""
    # Copied, because Invoke takes the help texts off a task when it first reads its options.
    tasks = copy.deepcopy(Collection(provision, status, passphrase, flash, pki))
    program = Program(tasks)
    core = program.initial_context
    parser = Parser(
        core,
        tasks.to_contexts(),
        {name: task_options(tasks[name].body) for name in tasks.task_names},
    )
    result = parser.parse_argv(words)[1:]
    return [(one.name or "", {k: v for k, v in one.as_kwargs.items() if v}) for one in result]


def _provision(*targets: str, reboot: bool = True, **more: Any) -> tuple[str, dict[str, Any]]:
    given: dict[str, Any] = {"target": list(targets)} if targets else {}
    return "provision", {**given, **({"reboot": True} if reboot else {}), **more}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("provision a", [_provision("a")]),
        ("provision a b c", [_provision("a", "b", "c")]),
        ("provision a --dry-run b", [_provision("a", "b", dry_run=True)]),
        ("provision --group lab a", [_provision("a", group="lab")]),
        ("provision --group=lab", [_provision(group="lab")]),
        ("provision --group=a=b", [_provision(group="a=b")]),
        # A value that is a task's name, and one that begins like a short option.
        ("provision --group status a", [_provision("a", group="status")]),
        ("provision --group -x a", [_provision("a", group="-x")]),
        ("provision a --no-reboot b", [_provision("a", "b", reboot=False)]),
        ("provision --target a b", [_provision("a", "b")]),
        ("provision --target a --target b", [_provision("a", "b")]),
        ("provision a status b", [_provision("a"), ("status", {"target": "b"})]),
        ("status a provision b", [("status", {"target": "a"}), _provision("b")]),
        # What a task needs may be called as another task is; what it can take may not.
        ("status provision", [("status", {"target": "provision"})]),
        (
            "status provision provision a b",
            [("status", {"target": "provision"}), _provision("a", "b")],
        ),
        ("flash status a", [("flash", {}), ("status", {"target": "a"})]),
        ("flash -- status", [("flash", {"device": "status"})]),
        (
            "passphrase provision --file f add provision a",
            [
                ("passphrase", {"target": "provision", "action": "add", "file": "f"}),
                _provision("a"),
            ],
        ),
        (
            "passphrase --target=x add provision a",
            [("passphrase", {"target": "x", "action": "add"}), _provision("a")],
        ),
        ("passphrase --action add x", [("passphrase", {"target": "x", "action": "add"})]),
        ("flash /dev/sdX", [("flash", {"device": "/dev/sdX"})]),
        ("flash --yes /dev/sdX", [("flash", {"device": "/dev/sdX", "yes": True})]),
        ("flash --device /dev/sdX", [("flash", {"device": "/dev/sdX"})]),
        ("flash --device=--yes", [("flash", {"device": "--yes"})]),
        ("flash --key a --key b x", [("flash", {"device": "x", "key": ["a", "b"]})]),
        ("flash -", [("flash", {"device": "-"})]),
        ("-- flash a", [("flash", {"device": "a"})]),
        ("flash -- --yes", [("flash", {"device": "--yes"})]),
        ("pki issue a", [("pki", {"action": "issue", "target": ["a"]})]),
        ("pki show", [("pki", {"action": "show"})]),
        ("status a status b", [("status", {"target": "a"}), ("status", {"target": "b"})]),
        ("provision a --checkout /c b", [_provision("a", "b")]),
        ("--checkout /c provision a", [_provision("a")]),
        ("--checkout=/c provision a", [_provision("a")]),
        ("provision", [_provision()]),
        ("", []),
    ],
)
def test_words_and_options(line: str, expected: list[tuple[str, Any]]) -> None:
    assert read(line) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("flash --device", "--device needs a value: the card"),
        ("flash --device --yes", "--device needs a value, and --yes is an option;"),
        ("flash --device --version", "if it is meant, write --device=--version"),
        ("flash --device --typo x", "--device needs a value, and --typo is an option"),
        ("provision --group", "--group needs a value"),
        ("flash --key", "--key needs a value"),
        ("--checkout", "--checkout needs a value"),
        ("--checkout= flash", "--checkout is empty; give it a value, or leave it out"),
        ("provision --group= a", "--group is empty; give it a value, or leave it out"),
        ("flash --key a --key=", "--key is empty"),
        ("passphrase --target= add", "TARGET is empty; give it a value"),
        ("pki --action=", "ACTION is empty"),
        ("--help=", "--help is empty"),
        ("flash a b", "flash: 'b' is one word too many: inv flash [DEVICE]"),
        ("flash a --device b", "--device is given twice, as 'a' and as 'b'; give it once"),
        ("flash --device a --device b", "--device is given twice"),
        ("status a --target b", "TARGET is given twice, as 'a' and as 'b'"),
        ("status a b", "status: 'b' is one word too many: inv status TARGET"),
        ("status a provsion", "did you mean provision?"),
        ("status", "status: TARGET is missing: inv status TARGET\n  TARGET: a target of the file"),
        ("status provision a b status", "status: 'a' is one word too many"),
        ("passphrase a", "passphrase: ACTION is missing: inv passphrase TARGET ACTION"),
        ("passphrase a --file f", "passphrase: ACTION is missing"),
        ("passphrase a chnge", "ACTION: 'chnge' is none of change, add, remove; did you mean ch"),
        ("pki", "pki: ACTION is missing: inv pki ACTION [TARGET …]"),
        ("flash --yes=no", "--yes takes no value, and 'no' was given"),
        ("provision --no-reboot=1", "--no-reboot takes no value"),
        ("flash --devise x", "flash has no option --devise; did you mean --device?"),
        ("flash --qwerty", "flash has no option --qwerty; inv flash --help lists"),
        ("flash -y", "flash has no option -y"),
        ("--nonsense", "no option --nonsense of inv; options of a task are written after"),
        ("--versoin flash", "no option --versoin of inv; did you mean --version?"),
        (
            "--yes flash",
            "no option --yes of inv; options of a task are written after the task's name",
        ),
        ("flsh", "no task 'flsh'; did you mean flash?"),
        ("xyz", "no task 'xyz'; there are: flash, passphrase, pki, provision, status"),
        ("-- xyz", "no task 'xyz'"),
    ],
)
def test_wrong_command_lines_are_refused_with_a_message(line: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(line)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["flash", "--device", ""], "--device is empty"),
        (["flash", ""], "--device is empty"),
        (["flash", "--", ""], "--device is empty"),
        (["status", ""], "TARGET is empty"),
        (["provision", "a", "", "b"], "--target is empty"),
        (["flash", "--key", "", "x"], "--key is empty"),
        (["--checkout", "", "flash"], "--checkout is empty"),
        (["--help", ""], "--help is empty"),
        (["flash", "a", ""], "flash: '' is one word too many"),
        ([""], "no task ''"),
    ],
)
def test_the_empty_word_of_an_unset_shell_variable_is_refused(
    words: list[str], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        read_words(words)
    assert message in str(caught.value)


def test_usage_shows_required_and_optional_arguments() -> None:
    contexts = Collection(provision, passphrase, flash, pki).to_contexts()
    assert sorted(usage(context) for context in contexts) == [
        "inv flash [DEVICE]",
        "inv passphrase TARGET ACTION",
        "inv pki ACTION [TARGET …]",
        "inv provision [TARGET …]",
    ]
