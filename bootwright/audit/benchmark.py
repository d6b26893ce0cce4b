"""The checks as data, ``checks/cis-docker/*.toml``, and how other versions number them.

Checks have the ids of docker-bench-security 1.6.0. A view is another version of the benchmark: its
entries, each with the checks that mean the same.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from bootwright.audit.model import Check
from bootwright.core.errors import InputError
from bootwright.core.toml_model import StrictModel, load_table
from bootwright.hosts.profile import CheckIds, version_key

OURS = "1.6.0"
"""The version whose ids the checks have."""


class BenchmarkEntry(StrictModel):
    """A recommendation of a version of the benchmark.

    Attributes:
        id: in that version.
        title: what it asks for, in one line.
        scored: whether that version scores it; ``None`` where that is not known.
        checks: those that mean the same; none if there is no counterpart.
        note: what became of it, or what is different.
    """

    id: Annotated[str, Field(pattern=r"^[1-8](\.\d{1,2}){1,2}$")]
    title: Annotated[str, Field(min_length=10)]
    scored: bool | None = None
    checks: CheckIds = ()
    note: str = ""


class View(StrictModel):
    """A version of the benchmark.

    Attributes:
        benchmark: the version.
        name: for a person.
        source: where its numbering is known from.
        partial: known from what others published of it only.
        entry: in its order.
    """

    benchmark: str
    name: str
    source: str
    partial: bool = False
    entry: tuple[BenchmarkEntry, ...]


class _Checks(StrictModel):
    """The file of the checks themselves."""

    benchmark: str
    name: str
    source: str
    check: tuple[Check, ...]


def benchmarks(root: Path) -> list[str]:
    """Return the versions that there are, by number."""
    return sorted((path.stem for path in root.glob("*.toml")), key=version_key)


def load_checks(root: Path) -> tuple[Check, ...]:
    """Return every check in docker-bench-security's order, with its ids in other versions.

    Raises:
        InputError: a file cannot be read, or has a wrong key or value.
    """
    aliases: dict[str, dict[str, tuple[str, ...]]] = {}
    for benchmark in benchmarks(root):
        if benchmark == OURS:
            continue
        for entry in load_view(root, benchmark).entry:
            for check in entry.checks:
                known = aliases.setdefault(check, {})
                known[benchmark] = (*known.get(benchmark, ()), entry.id)
    return tuple(
        check.model_copy(update={"aliases": aliases.get(check.id, {})})
        for check in load_table(_Checks, root / f"{OURS}.toml").check
    )


def load_view(root: Path, benchmark: str) -> View:
    """Return a version of the benchmark; that of the checks is one too.

    Raises:
        InputError: there is no such version (names those that exist), or its file is wrong.
    """
    known = benchmarks(root)
    if benchmark not in known:
        raise InputError(f"no benchmark {benchmark!r}; there are: {', '.join(known)}")
    path = root / f"{benchmark}.toml"
    if benchmark != OURS:
        return load_table(View, path)
    ours = load_table(_Checks, path)
    return View(
        benchmark=ours.benchmark,
        name=ours.name,
        source=ours.source,
        entry=tuple(
            BenchmarkEntry(id=check.id, title=check.title, scored=check.scored, checks=(check.id,))
            for check in ours.check
        ),
    )
