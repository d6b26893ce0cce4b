"""The rules of the house, run as tests: linters, types, imports, shell scripts."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootwright.core.paths import checkout
from bootwright.core.tools import parse_tools

ROOT = checkout()
SOURCES = [
    name for name in ("bootwright", "tests", "benchmarks") if list((ROOT / name).rglob("*.py"))
]
SOURCES += ["tasks.py"] if (ROOT / "tasks.py").exists() else []

PURE = (
    *("facts", "plans", "audit", "console", "logs"),
    *("render.py", "model.py", "actions.py", "extents.py", "rootfs_tar.py"),
    *("pki.py", "pki_holdings.py", "profile.py", "profile_doc.py"),
)
"""What decides and never acts, below ``bootwright/``."""

OUTSIDE = {"subprocess", "socket", "fabric", "paramiko", "serial", "urllib.request", "http.client"}
"""Modules that touch the world."""

LONGEST = 400
"""Lines of a module; a longer one does more than one thing."""


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
    _python_tool("mypy", *SOURCES)


def _shell_scripts() -> Iterator[Path]:
    for name in ("scripts", ".ci", "board", "rootfs", "tests", "benchmarks", "docs"):
        for path in sorted((ROOT / name).rglob("*")):
            if path.is_file() and re.match(rb"#!.*\b(ba)?sh\b", _first_line(path)):
                yield path


def _first_line(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.readline(200)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck() -> None:
    scripts = [str(path.relative_to(ROOT)) for path in _shell_scripts()]
    assert {"scripts/setup", "scripts/test", ".ci/run"} <= set(scripts)
    _run("shellcheck", *scripts)


def _pure_modules() -> list[Path]:
    places = [ROOT / "bootwright" / name for name in PURE]
    return [
        path
        for place in places
        if place.exists()
        for path in (sorted(place.rglob("*.py")) if place.is_dir() else [place])
    ]


def forbidden_imports(source: str) -> list[str]:
    """Return what a pure module imports, at any depth, but must not."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # "from a import b" may name the module a.b as well as something in a.
            base = node.module or ""
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
            if node.level:
                names.append("a relative import")
    inside = OUTSIDE | {"bootwright.effects", "a relative import"}
    return sorted(
        {name for name in names for bad in inside if name == bad or name.startswith(f"{bad}.")}
    )


@pytest.mark.parametrize("path", _pure_modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_pure_module_touches_nothing(path: Path) -> None:
    assert forbidden_imports(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import json, subprocess", ["subprocess"]),
        ("import bootwright.core.io.process", ["bootwright.core.io.process"]),
        ("from bootwright import effects", ["bootwright.effects"]),
        ("def f():\n    from socket import socket", ["socket", "socket.socket"]),
        ("from . import x", ["a relative import"]),
        ("import subprocesses\nfrom bootwright.facts import effects", []),
    ],
)
def test_import_rule_itself(source: str, expected: list[str]) -> None:
    assert forbidden_imports(source) == expected


def _texts() -> list[Path]:
    places = ("bootwright", "board", "rootfs", "templates", "scripts", ".ci", "docs", "tests")
    found = [path for place in places for path in sorted((ROOT / place).rglob("*"))]
    found += [path for path in ROOT.iterdir() if path.suffix in (".md", ".toml", ".py", ".lock")]
    return [path for path in found if path.is_file() and "__pycache__" not in path.parts]


def test_nothing_is_left_to_do_and_nothing_names_this_checkout() -> None:
    # Spelt apart, or this file would be the first to be found.
    unwanted = [b"TO" + b"DO", b"FIX" + b"ME", str(ROOT).encode()]
    found = [
        f"{path.relative_to(ROOT)}: {word.decode()}"
        for path in _texts()
        for word in unwanted
        if re.search(rb"(?<!\w)" + re.escape(word) + rb"(?!\w)", path.read_bytes())
    ]
    assert found == []


def test_modules_are_short() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in sorted((ROOT / "bootwright").rglob("*.py"))
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) >= LONGEST
    }
    assert long == {}


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
