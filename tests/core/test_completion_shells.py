"""Completion as an operator has it: real shells at a terminal, and their Tab key."""

import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootwright.core.paths import checkout

pytestmark = pytest.mark.integration

SCRIPTS = checkout() / "scripts" / "completion"
BIN = Path(sys.executable).parent

TIMEOUT_S = 60

# Ctrl-T prints the line that is being edited between brackets; Ctrl-A inserts all that can follow.
BASH = r"""
PS1='ready> '
bind 'set enable-bracketed-paste off'
bind 'set bell-style none'
bind '"\C-a": insert-completions'
show() { printf '\n<%s>\n' "$READLINE_LINE"; }
bind -x '"\C-t": show'
"""

ZSH = r"""
PS1='ready> '
unsetopt zle_bracketed_paste beep prompt_cr prompt_sp
{before}
autoload -Uz compinit && compinit -u -d {dump}
{after}
zstyle ':completion:all-matches::::' completer _all_matches _complete
zstyle ':completion:all-matches:*' insert yes
zle -C all-matches complete-word _generic
bindkey '^A' all-matches
show() {{ print -r -- $'\n'"<$BUFFER>" }}
zle -N show
bindkey '^T' show
"""


class Shell:
    """An interactive shell at a pseudo-terminal."""

    def __init__(self, argv: list[str], cwd: Path, environment: dict[str, str]) -> None:
        self._process, self._terminal = pty.fork()
        if self._process == 0:
            os.chdir(cwd)
            os.execvpe(argv[0], argv, environment)
        self._read(r"ready> ")

    def after_tab(self, line: str, key: str = "\t") -> str:
        """Type a line and a key, and return the line as it is then."""
        os.write(self._terminal, b"\x15" + line.encode() + key.encode() + b"\x14")
        return self._read(r"\n<([^\n]*)>\r?\n")[1]

    def all_of(self, line: str) -> list[str]:
        """Return all words that can follow a line."""
        return self.after_tab(line, "\x01").removeprefix(line.rpartition(" ")[0]).split()

    def close(self) -> None:
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._terminal)

    def _read(self, pattern: str) -> re.Match[str]:
        text = b""
        while not (found := re.search(pattern, text.decode(errors="replace"))):
            ready, _, _ = select.select([self._terminal], [], [], TIMEOUT_S)
            assert ready, text
            text += os.read(self._terminal, 65536)
        return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files to complete."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "card one.img").touch()
    (folder / "key.pub").touch()
    (folder / "keys").mkdir()
    return folder


@pytest.fixture(scope="module")
def environment(place: Path) -> dict[str, str]:
    """A home where scripts/setup has installed the completion."""
    home = place.parent / "home"
    home.mkdir()
    made = {
        **{"HOME": str(home), "TERM": "dumb", "LANG": "C.UTF-8"},
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }
    subprocess.run([checkout() / "scripts" / "setup", "test", "completion"], env=made, check=True)
    return made


def bash_with(start: str, place: Path, environment: dict[str, str]) -> Iterator[Shell]:
    rcfile = place.parent / "bashrc"
    rcfile.write_text(f"{start}\n{BASH}")
    shell = Shell(["bash", "--noprofile", "--rcfile", str(rcfile)], place, environment)
    yield shell
    shell.close()


def zsh_with(before: str, after: str, place: Path, environment: dict[str, str]) -> Iterator[Shell]:
    folder = place.parent / "zsh"
    folder.mkdir(exist_ok=True)
    (folder / ".zshrc").write_text(ZSH.format(before=before, after=after, dump=folder / "dump"))
    shell = Shell(["zsh", "-o", "no_global_rcs"], place, {**environment, "ZDOTDIR": str(folder)})
    yield shell
    shell.close()


@pytest.fixture(scope="module")
def bash(place: Path, environment: dict[str, str]) -> Iterator[Shell]:
    yield from bash_with("source /usr/share/bash-completion/bash_completion", place, environment)


@pytest.fixture(scope="module")
def bare_bash(place: Path, environment: dict[str, str]) -> Iterator[Shell]:
    yield from bash_with(f"source {SCRIPTS / 'bootwright.bash'}", place, environment)


@pytest.fixture(scope="module")
def zsh(place: Path, environment: dict[str, str]) -> Iterator[Shell]:
    yield from zsh_with("", f"source {SCRIPTS / '_bootwright'}", place, environment)


@pytest.fixture(scope="module")
def zsh_fpath(place: Path, environment: dict[str, str]) -> Iterator[Shell]:
    yield from zsh_with(f"fpath=({SCRIPTS} $fpath)", "", place, environment)


LINES = [
    ("inv fl", "inv flash "),
    ("bootwright fl", "bootwright flash "),
    (f"{BIN}/inv logs ta", f"{BIN}/inv logs tail "),
    ("inv config od", "inv config odroid "),
    ("inv provision emulator od", "inv provision emulator odroid "),
    ("inv passphrase odroid ch", "inv passphrase odroid change "),
    ("inv unlock odroid --vi", "inv unlock odroid --via "),
    ("inv unlock odroid --via se", "inv unlock odroid --via serial "),
    ("inv unlock odroid --via=se", "inv unlock odroid --via=serial "),
    ("inv provision odroid --no-r", "inv provision odroid --no-reboot "),
    ("inv flash --device card", "inv flash --device card\\ one.img "),
    ("inv flash card", "inv flash card\\ one.img "),
    ("inv flash --device=card", "inv flash --device=card\\ one.img "),
    ("inv flash --blobs ke", "inv flash --blobs keys/"),
    ("inv flash --blobs=ke", "inv flash --blobs=keys/"),
    (
        "inv console odroid --port socket://127.0.0.1:1 --ba",
        "inv console odroid --port socket://127.0.0.1:1 --baud ",
    ),
    # Nothing can follow: nothing is added, such as the names of files.
    ("inv config odroid ke", "inv config odroid ke"),
    ("inv nosuch k", "inv nosuch k"),
]


@pytest.mark.parametrize("name", ["bash", "zsh"])
@pytest.mark.parametrize(("typed", "completed"), LINES)
def test_tab_completes_words(
    name: str, typed: str, completed: str, request: pytest.FixtureRequest
) -> None:
    shell: Shell = request.getfixturevalue(name)
    assert shell.after_tab(typed) == completed


@pytest.mark.parametrize("name", ["bare_bash", "zsh_fpath"])
def test_tab_if_the_completion_is_loaded_in_another_way(
    name: str, request: pytest.FixtureRequest
) -> None:
    shell: Shell = request.getfixturevalue(name)
    assert shell.after_tab("inv config od") == "inv config odroid "
    assert shell.after_tab("inv unlock odroid --via=se") == "inv unlock odroid --via=serial "


@pytest.mark.parametrize("name", ["bash", "zsh"])
def test_two_tabs_list_all_possible_words(name: str, request: pytest.FixtureRequest) -> None:
    shell: Shell = request.getfixturevalue(name)
    assert sorted(shell.all_of("inv passphrase odroid ")) == ["add", "change", "remove"]
    assert sorted(shell.all_of("inv unlock ")) == ["emulator", "odroid"]
    assert {"audit", "flash", "unlock"} <= set(shell.all_of("inv "))
    assert {word.rstrip("/") for word in shell.all_of("inv flash ke")} == {"key.pub", "keys"}


def test_bash_completes_before_the_cursor(bash: Shell) -> None:
    # Ctrl-B moves the cursor back over "--json".
    assert bash.after_tab("inv config od --json" + "\x02" * 7) == "inv config odroid --json"


@pytest.mark.parametrize(("typed", "completed"), LINES)
def test_fish(typed: str, completed: str, place: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["fish", "--command", f"complete --do-complete {shlex.quote(typed)}"],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    offered = [line.partition("\t")[0] for line in done.stdout.splitlines()]
    last = completed.removeprefix(typed.rpartition(" ")[0] + " ").replace("\\ ", " ").rstrip()
    assert offered == ([last] if completed != typed else [])
    assert done.stderr == ""


def test_setup_leaves_a_file_of_somebody_else(tmp_path: Path) -> None:
    other = tmp_path / "data" / "bash-completion" / "completions" / "inv"
    other.parent.mkdir(parents=True)
    other.write_text("another")
    done = subprocess.run(
        [checkout() / "scripts" / "setup", "test", "completion"],
        env={**os.environ, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 4
    assert f"{other} exists, but was not made by this script" in done.stderr
    assert other.read_text() == "another"
