"""Loading the checks from ``checks/cis-docker/*.toml``, also with the ids of other versions.

Checks have the ids of docker-bench-security 1.6.0. A view is a version of the benchmark: its
recommendations, each with the checks that have the same meaning.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from bootwright.audit.model import BenchmarkCheck
from bootwright.core.errors import InputError
from bootwright.core.toml_model import StrictModel, load_table
from bootwright.hosts.profile import CheckIds, version_key

OURS = "1.6.0"
"""The version of the benchmark that gives the checks their ids."""


class BenchmarkEntry(StrictModel):
    """A recommendation of a version of the benchmark.

    Attributes:
        id: its id in that version.
        title: what it requires, in one line.
        scored: whether that version scores it; ``None`` if that is not known.
        checks: the checks with the same meaning; empty if there is none.
        note: why there is none, or what is different.
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
        name: the name of the document.
        source: where the ids are from.
        partial: only a part of the document is known, from publications of others.
        entry: the recommendations, in the order of the document.
    """

    benchmark: str
    name: str
    source: str
    partial: bool = False
    entry: tuple[BenchmarkEntry, ...]


class _Checks(StrictModel):
    """The content of the file with the checks."""

    benchmark: str
    name: str
    source: str
    check: tuple[BenchmarkCheck, ...]


def benchmarks(root: Path) -> list[str]:
    """Return the known versions of the benchmark, sorted by number."""
    return sorted((path.stem for path in root.glob("*.toml")), key=version_key)


def load_checks(root: Path) -> tuple[BenchmarkCheck, ...]:
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
    """Return the view of a version; the version of the checks has one too.

    Raises:
        InputError: there is no such version, or its file is wrong.
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
