"""``waivers.toml``: checks that are not met on purpose, each with a reason and a last day."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from bootwright.audit.model import Waiver
from bootwright.core.errors import InputError
from bootwright.core.toml_model import StrictModel, load_table

WAIVERS_NAME = "waivers.toml"


class Waivers(StrictModel):
    """The content of the file."""

    waiver: tuple[Waiver, ...] = ()


def load_waivers(path: Path, known: Iterable[str]) -> tuple[Waiver, ...]:
    """Return the waivers of a file.

    Args:
        path: the file.
        known: the ids of all checks.

    Raises:
        InputError: the file cannot be read, or a waiver is for an unknown check, or is there twice.
    """
    waivers = load_table(Waivers, path).waiver
    ids = set(known)
    seen: set[tuple[str, str]] = set()
    for waiver in waivers:
        if waiver.check not in ids:
            raise InputError(
                f"{path}: waiver for {waiver.check}: there is no such check; the ids are those of"
                " docker-bench-security 1.6.0"
            )
        for target in waiver.targets or ("",):
            if (waiver.check, target) in seen:
                raise InputError(f"{path}: {waiver.check} is waived twice; keep one of them")
            seen.add((waiver.check, target))
    return waivers


def waiver_of(waivers: Sequence[Waiver], check: str, target: str) -> Waiver | None:
    """Return the waiver for a check of a target; of several, the one that expires last.

    A waiver without targets is for all of them. It is in force to the end of its last day.
    """
    fitting = [
        waiver
        for waiver in waivers
        if waiver.check == check and (not waiver.targets or target in waiver.targets)
    ]
    return max(fitting, key=lambda waiver: waiver.expires, default=None)
