"""What can follow on a command line, and the names that are read for it."""

import copy
from pathlib import Path
from typing import Literal

import pytest
from invoke.collection import Collection
from invoke.context import Context
from invoke.tasks import task

from bootwright.core.options import (
    BenchmarkVersion,
    ConfiguredTargetName,
    File,
    Folder,
    GroupName,
    OptionValue,
    RootfsName,
    SaveName,
    TargetName,
    TargetNames,
)
from bootwright.core.paths import checkout
from bootwright.core.program import Program, load_tasks, task_options
from bootwright.core.target_names import names

Via = Literal["auto", "serial"]


@task(
    auto_shortflags=False,
    positional=["target"],
    iterable=["target"],
    help={"group": "G", "quick": "Q", "reboot": "R", "parallel": "P", "target": "T"},
)
def provision(
    _: Context,
    target: TargetNames = None,
    group: GroupName = "",
    quick: bool = False,
    reboot: bool = True,
    parallel: str = "8",
) -> None:
    """Make boards Docker hosts."""


@task(auto_shortflags=False, positional=["target", "via"], help={"json": "J", "save": "S"})
def unlock(
    _: Context,
    target: TargetName,
    via: Via,
    save: SaveName = "",
    rootfs: RootfsName = "",
    json: bool = False,
) -> None:
    """Open a volume."""


@task(auto_shortflags=False, positional=["device"], help={"device": "D"})
def flash(
    _: Context,
    device: File = "",
    target: ConfiguredTargetName = "odroid",
    blobs: Folder = "",
    benchmark: BenchmarkVersion = "",
) -> None:
    """Make a card."""


@pytest.fixture
def offered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> "Offered":
    monkeypatch.setenv("BOOTWRIGHT_BUILD", str(tmp_path))
    saves = tmp_path / "emulator" / "saves"
    saves.mkdir(parents=True)
    (saves / "bare.json").touch()
    (saves / "bare.qcow2").touch()
    return Offered(capsys)


class Offered:
    """The words that a shell offers after a command line."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str) -> dict[str, str]:
        program = Program(copy.deepcopy(Collection(provision, unlock, flash)))
        assert program.run_line(["inv", "--complete", "--", *words]) == 0
        lines = self._capsys.readouterr().out.splitlines()
        return {line.partition("\t")[0]: line.partition("\t")[2] for line in lines}


CORE = ["--checkout", "--debug", "--help", "--list", "--version"]


def test_tasks_are_offered_with_their_descriptions(offered: Offered) -> None:
    assert offered("") == {
        "provision": "Make boards Docker hosts.",
        "unlock": "Open a volume.",
        "flash": "Make a card.",
    }
    assert list(offered("fl")) == ["flash"]
    assert list(offered("--help", "un")) == ["unlock"]
    assert list(offered("-h", "un")) == ["unlock"]
    assert offered("nosuch", "") == offered("")
    assert offered() == offered("")


def test_options_that_can_still_be_given(offered: Offered) -> None:
    assert list(offered("--")) == CORE
    assert list(offered("-")) == CORE
    found = offered("provision", "a", "--")
    assert list(found) == ["--group", "--parallel", "--quick", "--no-reboot", "--target", *CORE]
    assert found["--group"] == "G"
    done = ("provision", "--group", "g", "--quick", "--no-reboot", "--target", "a")
    assert list(offered(*done, "--")) == ["--parallel", "--target", *CORE]
    assert list(offered("provision", "--version", "--v")) == []
    assert list(offered("unlock", "a", "auto", "")) == ["--json", "--save", *CORE]
    # After "--" nothing is an option.
    assert offered("unlock", "--", "--") == {}


def test_values(offered: Offered) -> None:
    assert list(offered("unlock", "")) == ["emulator", "odroid"]
    assert list(offered("unlock", "a", "")) == ["auto", "serial"]
    assert list(offered("unlock", "--via", "s")) == ["serial"]
    assert list(offered("unlock", "--via=s")) == ["--via=serial"]
    assert list(offered("unlock", "--via", "auto", "o")) == ["odroid"]
    assert list(offered("unlock", "--save", "")) == ["bare"]
    assert "debian" in offered("unlock", "--rootfs", "")
    assert "1.6.0" in offered("flash", "--benchmark", "")
    assert offered("provision", "--parallel", "") == {}
    # A card cannot be made for the emulator, so it is not offered there.
    assert list(offered("flash", "--target", "")) == ["odroid"]
    assert offered("unlock", "--json=") == {}
    assert list(offered("provision", "odroid", "")) == ["emulator"]


def test_files_are_left_to_the_shell(offered: Offered) -> None:
    assert offered("flash", "") == {":file": ""}
    assert offered("flash", "x") == {":file": ""}
    assert offered("flash", "--device=x") == {":file": ""}
    assert offered("flash", "--blobs", "x") == {":folder": ""}
    assert offered("--checkout", "") == {":folder": ""}
    assert offered("flash", "x", "--checkout", "") == {":folder": ""}


def test_wrong_words_are_skipped_by_the_completion(offered: Offered) -> None:
    assert list(offered("unlock", "--nosuch", "--json=1", "a", "wrong", "")) == ["auto", "serial"]
    assert list(offered("provision", "--group", "--quick", "em")) == ["emulator"]


def test_all_options_of_the_real_tasks_have_a_value_and_a_description() -> None:
    tasks = load_tasks(checkout())
    for name in tasks.task_names:
        for option, takes in task_options(tasks[name].body).items():
            if option in ("target", "group", "action", "identity", "device") or "file" in option:
                assert takes.kind != "text", f"{name} --{option}"
    words = {name: task_options(tasks[name].body) for name in tasks.task_names}
    for context in tasks.to_contexts():
        for argument in context.args.values():
            assert argument.help, f"{context.name} --{argument.names[0]}"
            takes = words[context.name or ""].get(argument.names[0], OptionValue())
            absent = [word for word in takes.words if word not in argument.help]
            assert not absent, f"{context.name} --{argument.names[0]} does not explain {absent}"


def test_the_emulator_is_offered_only_where_it_is_accepted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    offers = {}
    for words in (["config"], ["flash", "--target"], ["unlock"], ["logs", "tail"]):
        assert Program().run_line(["inv", "--complete", "--", *words, "e"]) == 0
        offers[words[0]] = capsys.readouterr().out.splitlines()
    assert offers == {"config": [], "flash": [], "unlock": ["emulator"], "logs": ["emulator"]}


# Names


def test_names_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "bootwright.toml").write_text(
        '[targets.b]\ngroups = ["lab", "old"]\n[targets.a]\ngroups = ["lab"]\n'
    )
    assert names("target", tmp_path, tmp_path) == ["a", "b", "emulator", "odroid"]
    assert names("configured-target", tmp_path, tmp_path) == ["a", "b", "odroid"]
    assert names("group", tmp_path, tmp_path) == ["lab", "old"]
    assert names("text", tmp_path, tmp_path) == []


@pytest.mark.parametrize(
    "text", ["not toml [", "targets = 3", "[targets]\na = 1", "[targets.odroid]\ngroups = [1]", ""]
)
def test_a_wrong_configuration_gives_the_names_that_can_be_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "bootwright.toml").write_text(text)
    assert {"emulator", "odroid"} <= set(names("target", tmp_path, tmp_path))
    assert names("group", tmp_path, tmp_path) == []


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bootwright.toml").write_bytes(b"\xff")
    assert names("target", tmp_path, tmp_path) == ["emulator", "odroid"]
