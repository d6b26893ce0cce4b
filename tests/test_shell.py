"""The shell that runs on boards: every script as it is sent, read by shellcheck."""

import ast
import re
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bootwright.audit.facts_script import audit_script
from bootwright.core.board import Kdf
from bootwright.core.endpoints import Endpoint
from bootwright.core.paths import checkout
from bootwright.core.secret import Secret
from bootwright.core.shell import SHEBANG, render
from bootwright.provision import facts_script, log_relay, reboot, transaction
from bootwright.provision.packages import PackagesPlan, packages_script
from bootwright.remote import job_script
from bootwright.remote.clock import set_clock_script
from bootwright.remote.sections import parse_sections
from bootwright.remote.sudo import as_root
from bootwright.rootfs import debian_plan
from bootwright.volume import facts as volume_facts
from bootwright.volume import keyslot_script, unlock_ssh_plan
from tests.support.changes import odd, plain, whole

ROOT = checkout()
PACKAGE = ROOT / "bootwright"
FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.sh"))

AWKWARD = 'it\'s "$HOME" `id` \\n %s * @name@'
"""A value that would break a script if it were not quoted."""

CASES = ROOT / "tests" / "cases"
VOLUME = volume_facts.volume_facts(parse_sections((CASES / "volume" / "locked.txt").read_text()))
LAYOUT = unlock_ssh_plan.layout_of(Endpoint("box"))
QUESTION = volume_facts.BoardQuestion(pid=7, socket=AWKWARD, id="", message="")
QUESTIONS = facts_script.Questions(
    packages=("docker.io", AWKWARD),
    kernel=("NF_TABLES", "VETH"),
    paths=("/etc/docker", "/etc/ssh/*.key"),
    files=("/etc/docker/daemon.json", AWKWARD),
    secret_files=(AWKWARD,),
)
KDF = Kdf(memory_kib=64, iterations=4, threads=1)


def program_of(command: str, word: int) -> str:
    """Return a script that is a word of a command line."""
    return shlex.split(command)[word]


SCRIPTS: dict[str, Callable[[], str]] = {
    "volume facts": lambda: volume_facts.volume_script(LAYOUT),
    "volume open": lambda: unlock_ssh_plan.open_script(VOLUME, LAYOUT),
    "volume answer": lambda: unlock_ssh_plan.answer_script(VOLUME, LAYOUT, QUESTION),
    "volume finish": lambda: unlock_ssh_plan.finish_script(VOLUME, LAYOUT),
    "volume try passphrase": lambda: unlock_ssh_plan.try_passphrase_script(AWKWARD),
    "packages apt": lambda: packages_script(
        PackagesPlan("debian", ("docker.io", AWKWARD), ("auditd",), True, "")
    ),
    "packages pacman": lambda: packages_script(PackagesPlan("arch", ("docker",), (), True, "")),
    "packages with containers held": lambda: packages_script(
        PackagesPlan("debian", ("docker.io",), (), False, ""), hold_containers=True
    ),
    "host facts": lambda: facts_script.host_script(QUESTIONS),
    "host proven": lambda: facts_script.proven_script("27.1", AWKWARD),
    "host docker data": facts_script.docker_data_script,
    "host reboot": lambda: reboot.reboot_script(AWKWARD),
    "audit facts": lambda: audit_script(("/etc/docker", "/etc/ssh/*.key")),
    "relay drain": log_relay.drain_script,
    "relay end containers": log_relay.end_containers_script,
    "card uinitrd": lambda: render(
        "card/shell/uinitrd.sh", initrd=AWKWARD, image="/boot/uInitrd", maximum="100"
    ),
    "hook: a file": lambda: debian_plan.file_hook("/etc/x", 0o644, AWKWARD),
    "hook: a script": lambda: debian_plan.script_hook("install.sh", ("udev", AWKWARD)),
    "hook: sources": lambda: debian_plan.sources_hook(()),
    "clock": lambda: set_clock_script(1.5, unless_right=True),
    "keyslots": lambda: keyslot_script.keyslot_script("change", AWKWARD, KDF),
    "sudo without password": lambda: program_of(as_root(":", None), 2),
    "sudo with password": lambda: program_of(as_root(":", Secret(b"x")), 2),
    "sudo discard password": lambda: program_of(as_root(":", Secret(b"x")), 5),
    "job start": lambda: job_script.start_script("apply"),
    "job run": job_script.run_script,
    "job follow": lambda: job_script.follow_script("apply", AWKWARD),
    "apply": lambda: transaction.apply_script(whole()),
    "apply other changes": lambda: transaction.apply_script(odd()),
    "apply with containers stopped": lambda: transaction.apply_script(
        replace(plain(), keep_containers=False, hides_data=True)
    ),
    "restore": lambda: transaction.restore_script(whole()),
    "restore other changes": lambda: transaction.restore_script(odd()),
    "put back": transaction.put_back_script,
    "put back one change": lambda: transaction.put_back_script(AWKWARD),
    "confirm": lambda: transaction.confirm_script(AWKWARD),
}
"""Each script of the product, as it is sent to a board or installed on one."""

EXCLUDED = {
    "SC2015": "'a && b || c' is meant as it is written: c runs if a or b fails",
    "SC2016": "the values that are set before a script are meant as they are, '$' and all",
    "SC2119": "a function that reads a list by 'set --' needs no arguments",
    "SC2120": "the same",
    "SC3013": "-nt and -ef: dash, bash and busybox have them, and so has POSIX since 2024",
    "SC2317": "a script need not call all of the functions that it shares with others",
    "SC2329": "the same, from version 0.11 on",
}
"""What shellcheck is not asked for, and why."""


def shellcheck(script: str) -> str:
    """Return what shellcheck finds in a script; a missing shellcheck is an error."""
    argv = ["shellcheck", "--shell=sh", "--format=gcc", f"--exclude={','.join(EXCLUDED)}", "-"]
    done = subprocess.run(
        argv, input=script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode in (0, 1), done.stdout
    return done.stdout


@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck_finds_nothing_in_a_rendered_script(name: str) -> None:
    script = SCRIPTS[name]()
    found = shellcheck(script)
    numbered = "\n".join(f"{n:4} {line}" for n, line in enumerate(script.splitlines(), 1))
    assert not found, f"{found}\n{numbered}"


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_docker_command_names_the_socket_of_roots_daemon(name: str) -> None:
    lines = SCRIPTS[name]().splitlines()
    commands = [
        at for at, line in enumerate(lines) if re.search(r"^[^#]*\bdocker (\"\$@\"|[a-z])", line)
    ]
    assert (
        "DOCKER_HOST=unix:///run/docker.sock" in lines[: min(commands, default=0)] or not commands
    )


def test_shellcheck_finds_an_error() -> None:
    assert "SC2086" in shellcheck("words='a b'\necho $words\n")
    assert "SC2154" in shellcheck('echo "$never_set"\n')
    assert "SC3010" in shellcheck('[[ -n "$HOME" ]]\n')


def test_every_file_is_in_a_rendered_script() -> None:
    scripts = [render() for render in SCRIPTS.values()]
    missing = [
        str(file)
        for file in FILES
        if not any(
            (PACKAGE / file).read_text().removeprefix(SHEBANG) in script for script in scripts
        )
    ]
    assert FILES
    assert missing == []


@pytest.mark.parametrize("file", FILES, ids=str)
def test_each_file_begins_with_its_description(file: Path) -> None:
    assert file.parts[-2] == "shell", "shell scripts of a room are in its folder shell/"
    text = (PACKAGE / file).read_text()
    assert text.startswith(SHEBANG)
    header = re.match(r"(#.*\n)+", text)
    assert header is not None
    for item in ("# Prints", "# Variables"):
        assert item in header[0], f"{file}: the comment at its top lacks {item[2:]!r}"


SYNTAX = re.compile(
    r"""
    \$\(  |  \$\{[a-z_@*\#]  |  "\$[\w@*\#?]             # what the shell expands
    |  ;[ ](then|do|done|fi)\b  |  \b(then|do)\n       # what it repeats and decides
    |  (^|\n)\s*(fi|done|esac)\b
    |  [ ](&&|\|\|)[ ]                                # what follows each other
    |  >&[12]  |  [ 12]>/dev  |  [ ]>>?[ ]?["/]      # where output goes
    |  <<-?'?[A-Z]                                   # where input comes from
    |  \bset[ ]-[eux]  |  \bprintf[ ]['%"]  |  \bsh[ ]-c\b
    """,
    re.VERBOSE,
)
"""Text that is shell, or looks so much like it that it has to be excused."""

NO_SCRIPT = (
    'inv ssh emulator --command "date',
    "&& ln -s ",
)
"""Beginnings or parts of texts that tell an operator what to type; nothing runs them."""


def shell_in(source: str) -> list[str]:
    """Return the texts of a module's code, without docstrings, that look like shell."""
    tree = ast.parse(source)
    docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node not in docstrings
        and SYNTAX.search(node.value)
        and not any(part in node.value for part in NO_SCRIPT)
    ]


MODULES = sorted([*PACKAGE.rglob("*.py"), ROOT / "tasks.py"])


def test_no_shell_is_in_strings_of_the_package() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {text[:200]!r}"
        for path in MODULES
        for text in shell_in(path.read_text(encoding="utf-8"))
    ]
    assert found == [], "shell belongs into .sh files: see bootwright/core/shell.py"


def test_only_one_module_quotes_for_the_shell() -> None:
    found = [
        str(path.relative_to(PACKAGE))
        for path in MODULES
        if re.search(r"\bshlex\.(quote|join)\b|from shlex import", path.read_text(encoding="utf-8"))
    ]
    assert found == ["core/shell.py"]


@pytest.mark.parametrize(
    "text",
    [
        "mkdir -p /x && sync",
        "systemctl stop x || exit",
        "echo $(date)",
        'rm -rf "$work"',
        "for x in 1 2; do\n",
        "if true; then",
        "docker ps 2>/dev/null",
        "echo no >&2",
        "cat >/etc/x <<END",
        "date >/dev/null",
        "set -e\n",
        "printf %s x",
    ],
)
def test_shell_in_a_string_is_found(text: str) -> None:
    assert shell_in(f"def f():\n    return {text!r}\n") == [text]
    assert shell_in(f"def f():\n    {text!r}\n    return 1\n") == []
