"""The README and the guides: the commands that they show exist, with these options."""

import re
from pathlib import Path

import pytest
from invoke.parser.context import ParserContext

from bootwright.core.paths import checkout
from bootwright.core.program import Program, load_tasks

GUIDES = [checkout() / "README.md", checkout() / "CONTRIBUTING.md"]
GUIDES += sorted((checkout() / "docs").glob("*.md"))

_CALL = re.compile(r"(?<![\w/.-])(?:\.venv/bin/)?inv ((?:[a-z]+))\b([^`#|\n(]*)")
_FLAG = re.compile(r"(?<![\w-])--([a-z][a-z-]+)")


@pytest.fixture(scope="module")
def tasks() -> dict[str, ParserContext]:
    return {context.name or "": context for context in load_tasks(checkout()).to_contexts()}


def commands(text: str) -> list[tuple[str, str]]:
    """Return the task and the rest of each call in code: a line of a block, or within backticks."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    rows = [line.removeprefix("$ ").strip() for block in blocks for line in block.splitlines()]
    lines = [row.removeprefix("sudo ") for row in rows]
    code = [line for line in lines if re.match(r"(\.venv/bin/)?inv ", line)]
    code += re.findall(r"`((?:\.venv/bin/)?inv [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.S))
    return [(found[1], found[2]) for line in code if (found := _CALL.match(line))]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_every_command_in_a_guide_exists(guide: Path, tasks: dict[str, ParserContext]) -> None:
    of_all = {name for one in Program().core_args() for name in one.names}
    for task, rest in commands(guide.read_text(encoding="utf-8")):
        assert task in tasks, f"{guide.name}: inv {task}"
        flags = {flag.removeprefix("--") for flag in tasks[task].flag_names()} | of_all
        flags |= {f"no-{flag}" for flag in flags}
        for option in _FLAG.findall(re.sub(r'"[^"]*"', "", rest)):
            assert option in flags, f"{guide.name}: inv {task} --{option}"


def test_the_readme_names_every_task(tasks: dict[str, ParserContext]) -> None:
    named = {task for task, _ in commands((checkout() / "README.md").read_text(encoding="utf-8"))}
    assert set(tasks) - named == set()


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_every_link_to_a_file_leads_somewhere(guide: Path) -> None:
    text = guide.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in link:
            assert (guide.parent / link).exists(), f"{guide.name}: {link}"


def test_headings_of_the_readme_that_are_linked_to_exist() -> None:
    text = (checkout() / "README.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}
    linked = re.findall(r"\]\(#([^)]+)\)", text)
    assert linked and set(linked) <= anchors
