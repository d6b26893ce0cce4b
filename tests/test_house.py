"""The rules of the house, run as tests: linters, types, imports, shell scripts."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from bootwright.core.paths import cache_dir, checkout
from bootwright.core.tools import parse_tools

ROOT = checkout()
SOURCES = [
    name for name in ("bootwright", "tests", "benchmarks") if list((ROOT / name).rglob("*.py"))
]
SOURCES += ["tasks.py"] if (ROOT / "tasks.py").exists() else []

ROOMS: dict[str, frozenset[str]] = {}
"""Each room, and the rooms that it may import from."""

for _floor in (
    {"core"},
    {"remote", "console", "rootfs"},
    {"volume"},
    {"card"},
    {"emulator"},
    {"hosts"},
    {"pki"},
    {"logs"},
    {"provision", "audit"},
):
    ROOMS |= dict.fromkeys(_floor, frozenset(ROOMS))

ORDERING = {
    *("audit.command", "audit.run"),
    *("card.execute", "card.flash"),
    "console.simulate",
    *("core.doctor", "core.program"),
    "emulator.emulate",
    *("hosts.fleet", "hosts.init", "hosts.resolve"),
    *("logs.command", "logs.tail"),
    "pki.command",
    *("provision.apply", "provision.command", "provision.one_board", "provision.reboot"),
    "remote.job",
    *("volume.keyslots", "volume.status", "volume.unlock", "volume.unlock_ssh"),
    "volume.unlock_watch",
}
"""The modules that order things: they ask, plan, carry out and ask again, so they need effects.

Every other module outside a room's ``io`` is pure: neither it nor anything that it imports
of this project touches the world.
"""

OUTSIDE = {
    *("subprocess", "socket", "serial", "paramiko", "fabric", "tempfile", "shutil"),
    *("threading", "asyncio", "aiohttp", "termios", "fcntl", "select"),
    *("urllib.request", "http.client"),
}
"""Modules that touch the world."""


def _run(*argv: str) -> None:
    done = subprocess.run(
        argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout


def _python_tool(*argv: str) -> None:
    _run(sys.executable, "-m", *argv)


def test_ruff_check() -> None:
    _python_tool("ruff", "check", *SOURCES)


def test_ruff_format() -> None:
    _python_tool("ruff", "format", "--check", *SOURCES)


def test_mypy() -> None:
    # Outside the tree, so that a fresh clone has the results for the modules that are as before.
    _python_tool("mypy", f"--cache-dir={cache_dir() / 'test-mypy'}", *SOURCES)


def _shell_scripts() -> Iterator[Path]:
    for name in ("scripts", ".ci", "board", "rootfs", "tests", "benchmarks", "docs"):
        for path in sorted((ROOT / name).rglob("*")):
            if path.is_file() and re.match(rb"#!.*\b(ba)?sh\b", _first_line(path)):
                yield path


def _first_line(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.readline(200)


def test_shellcheck() -> None:
    scripts = [str(path.relative_to(ROOT)) for path in _shell_scripts()]
    assert {"scripts/setup", "scripts/test", ".ci/run"} <= set(scripts)
    _run("shellcheck", *scripts)


def imported_names(source: str) -> set[str]:
    """Return the dotted names that a module imports, at any depth of its code."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "a relative import hides which room it is from"
            # "from a import b" may name the module a.b as well as something in a.
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return names


class House:
    """The modules of the package by their names below it, such as ``card.io.inspect``."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self.imports = {name: imported_names(text) for name, text in sources.items()}

    def inside(self, name: str) -> set[str]:
        """Return the modules of this project that a module imports."""
        ours = {one.removeprefix("bootwright.") for one in self.imports[name]}
        return (ours & self.imports.keys()) - {name}

    def reached(self, name: str) -> set[str]:
        """Return a module and all of this project that it imports, directly or not."""
        found, waiting = {name}, [name]
        while waiting:
            new = self.inside(waiting.pop()) - found
            found |= new
            waiting += new
        return found

    def outside(self, name: str) -> set[str]:
        """Return what a module imports itself of the modules that touch the world."""
        return {
            bad
            for bad in OUTSIDE
            for one in self.imports[name]
            if one == bad or one.startswith(f"{bad}.")
        }

    def impurities(self, name: str) -> list[str]:
        """Return why a module is not pure: each effect that it reaches, and where that is."""
        return sorted(
            f"{place}: {what}"
            for place in self.reached(name)
            for what in (*self.outside(place), *(["an io module"] if in_io(place) else []))
        )

    def wrong_rooms(self) -> list[str]:
        """Return each import that runs from a room into one that it may not import from."""
        return sorted(
            f"{name} imports {other}"
            for name in self.imports
            for other in self.inside(name)
            if room(name) != room(other) and room(other) not in ROOMS[room(name)]
        )


def in_io(name: str) -> bool:
    return "io" in name.split(".")


def room(name: str) -> str:
    return name.partition(".")[0]


def _house() -> House:
    package = ROOT / "bootwright"
    return House(
        {
            ".".join(path.relative_to(package).with_suffix("").parts).removesuffix(
                ".__init__"
            ): path.read_text(encoding="utf-8")
            for path in package.rglob("*.py")
            if path.parent != package
        }
    )


def test_every_module_is_in_a_room() -> None:
    assert {room(name) for name in _house().imports} == set(ROOMS)
    loose = {path.name for path in (ROOT / "bootwright").glob("*.py")}
    assert loose == {"__init__.py"}


def test_rooms_import_only_rooms_below_them() -> None:
    assert _house().wrong_rooms() == []


def test_pure_modules_have_no_effects_and_import_none() -> None:
    house = _house()
    found = {
        name: why
        for name in house.imports
        if not in_io(name) and name not in ORDERING and (why := house.impurities(name))
    }
    assert found == {}


def test_no_module_listed_as_orchestrating_is_pure() -> None:
    house = _house()
    assert set(house.imports) >= ORDERING
    assert {name for name in ORDERING if not house.impurities(name)} == set()


def test_one_name_is_one_thing() -> None:
    where: dict[str, list[str]] = {}
    for path in sorted((ROOT / "bootwright").rglob("*.py")):
        for name in _public_types(ast.parse(path.read_text(encoding="utf-8"))):
            where.setdefault(name, []).append(str(path.relative_to(ROOT)))
    assert {name: files for name, files in where.items() if len(files) > 1} == {}


def _public_types(module: ast.Module) -> Iterator[str]:
    """Yield the names of a module's classes and types, such as ``Ask = Callable[[str], str]``."""
    for node in module.body:
        if isinstance(node, ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        else:
            continue
        yield from (name for name in names if re.match("[A-Z].*[a-z]", name))


def test_the_import_rules_themselves() -> None:
    house = House(
        {
            "core.text": "import re, subprocesses",
            "core.io.process": "import json, subprocess",
            "console.screen": "from bootwright.core import text",
            "console.feed": "def f():\n    from bootwright.console import screen, deep",
            "console.deep": "from bootwright.core.io.process import run",
            "rootfs.plan": "from bootwright.console.screen import Line",
            "core.board": "import bootwright.rootfs.plan",
            "card.plan": "from urllib import request\nimport http.client",
        }
    )
    assert house.impurities("console.screen") == []
    assert house.impurities("console.feed") == [
        "core.io.process: an io module",
        "core.io.process: subprocess",
    ]
    assert house.impurities("card.plan") == ["card.plan: http.client", "card.plan: urllib.request"]
    assert house.wrong_rooms() == [
        "core.board imports rootfs.plan",
        "rootfs.plan imports console.screen",
    ]


def _texts() -> list[Path]:
    places = ("bootwright", "board", "rootfs", "templates", "scripts", ".ci", "docs", "tests")
    found = [path for place in places for path in sorted((ROOT / place).rglob("*"))]
    found += [path for path in ROOT.iterdir() if path.suffix in (".md", ".toml", ".py", ".lock")]
    return [path for path in found if path.is_file() and "__pycache__" not in path.parts]


def test_no_todo_and_no_path_of_this_checkout() -> None:
    # Spelt apart, or this file would be the first to be found.
    unwanted = [b"TO" + b"DO", b"FIX" + b"ME", str(ROOT).encode()]
    found = [
        f"{path.relative_to(ROOT)}: {word.decode()}"
        for path in _texts()
        for word in unwanted
        if re.search(rb"(?<!\w)" + re.escape(word) + rb"(?!\w)", path.read_bytes())
    ]
    assert found == []


def test_the_list_of_tools_is_well_formed() -> None:
    tools = parse_tools((ROOT / "scripts" / "tools.tsv").read_text(encoding="utf-8"))
    commands = [tool.command for tool in tools]
    assert len(commands) == len(set(commands))
    assert {"mke2fs", "gpg", "shellcheck"} <= set(commands)


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_lock_files_pin_every_package_by_digest(name: str) -> None:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith((" ", "#"))]
    assert pins
    assert all(re.fullmatch(r"[a-z0-9-]+==[^ ]+ \\", pin) for pin in pins)
    rest = [line.strip() for line in lines if line.startswith(" ")]
    assert all(line.startswith(("--hash=sha256:", "# ")) for line in rest)
